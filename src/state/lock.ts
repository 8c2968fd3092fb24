import { createHash, randomBytes } from 'node:crypto'
import { readFileSync, readlinkSync, rmdirSync, rmSync } from 'node:fs'
import { mkdir, readdir, rm, rmdir, stat, utimes, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join, resolve } from 'node:path'
import { performance } from 'node:perf_hooks'
import { setTimeout as delay } from 'node:timers/promises'

export interface LockOptions {
  /** The folder that is the lock; its parent must exist. @default `PATH.lock` */
  lockfile?: string
  /** A holder whose pid cannot be seen from here, and that shows no sign of life for so long, is dead; ms. @default 10000 */
  staleMs?: number
  /** How long to wait while another process holds it; ms. @default 0 */
  waitMs?: number
  /** Whether to wait for a dead holder only: a sign of life ends the waiting. @default false */
  onlyForDead?: boolean
  /** The lock was taken away: this process was silent for longer than `staleMs`. Stop what the lock protects. */
  onCompromised: (reason: Error) => void
}

export interface Lock {
  /** Whether this process still holds it. Looks at the disk: after a suspension the process cannot know otherwise. */
  holds(): Promise<boolean>
  /** Never rejects; a second call does nothing. */
  release(): Promise<void>
}

export class LockHeldError extends Error {
  readonly code = 'lock_held'
  constructor(readonly lockfile: string) {
    super(`${lockfile} is held by another process`)
    this.name = 'LockHeldError'
  }
}

/** How often a holder shows that it lives; ms. */
const HEARTBEAT_MS = 1000
/** Pause between two tries while another process holds the lock; ms, ±50 % so that two waiting ones do not collide. */
const RETRY_MS = 100

/**
 * Locks a path against other processes, and against a second call in this one. A process that wants the lock puts a
 * claim, a file with a unique name, into the folder. It holds the lock if no other claim is there but those of dead
 * processes.
 *
 * A dead process's claim is removed by its unique name. With one name for all claims, as in proper-lockfile, two
 * processes that find the same dead lock can remove each other's new one, and both hold it. A process counts as dead by
 * its pid, or if that cannot be seen from here, when its claim has not changed while it was watched. Comparing times
 * instead would take a living process with a wrong clock for dead.
 * @throws {LockHeldError} when the waiting is over
 */
export async function acquireLock(path: string, options: LockOptions): Promise<Lock> {
  const folder = resolve(options.lockfile ?? `${path}.lock`)
  const rivals = new Rivals(folder, options.staleMs ?? 10_000)
  const deadline = performance.now() + (options.waitMs ?? 0)
  for (;;) {
    const claim = await tryClaim(folder, rivals)
    if (claim !== undefined) return hold(claim, folder, options)
    if (performance.now() >= deadline || (options.onlyForDead && rivals.alive))
      throw new LockHeldError(folder)
    await delay(RETRY_MS * (0.5 + Math.random()))
  }
}

/** Two processes that claim at once see each other, since each looks again after its claim. Then both withdraw. */
async function tryClaim(folder: string, rivals: Rivals): Promise<string | undefined> {
  if ((await rivals.look()).living > 0) return undefined
  const claim = join(folder, `${pidSpace()}-${process.pid}-${randomBytes(6).toString('hex')}`)
  if (!(await put(claim, folder))) return undefined
  try {
    const { living, dead } = await rivals.look(claim)
    for (const gone of living > 0 ? [] : dead) await rm(gone, { force: true })
    if (living === 0) return claim
  } catch (error) {
    await withdraw(claim, folder)
    throw error
  }
  await withdraw(claim, folder)
  return undefined
}

/** If the claim cannot be removed, it looks dead to other processes before long. */
async function withdraw(claim: string, folder: string): Promise<void> {
  await rm(claim, { force: true }).catch(() => {})
  await rmdir(folder).catch(() => {})
}

async function put(claim: string, folder: string): Promise<boolean> {
  try {
    await mkdir(folder, { mode: 0o700 })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  try {
    await writeFile(claim, '', { flag: 'wx', mode: 0o600 })
    return true
  } catch (error) {
    // The last holder has removed the folder since.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    return false
  }
}

function hold(claim: string, folder: string, { staleMs = 10_000, onCompromised }: LockOptions): Lock {
  let compromised = false
  let released = false
  let lastBeat = performance.now()
  let beats = Math.floor(Date.now() / 1000)
  removeAtExit(claim, folder)
  const heart = setInterval(async () => {
    const at = performance.now()
    try {
      // A counter, not the time: a clock that stands still would look like death.
      await utimes(claim, ++beats, beats)
      lastBeat = at
    } catch (error) {
      const gone = (error as NodeJS.ErrnoException).code === 'ENOENT'
      // Waiting processes have seen no beat for as long as this one could not write one.
      if (released || compromised || (!gone && at - lastBeat < staleMs)) return
      compromised = true
      clearInterval(heart)
      keepAtExit(claim)
      onCompromised(error as Error)
    }
  }, HEARTBEAT_MS).unref()
  return {
    holds: async () => !compromised && !released && (await stat(claim).catch(() => undefined)) !== undefined,
    async release() {
      if (released) return
      released = true
      clearInterval(heart)
      keepAtExit(claim)
      await withdraw(claim, folder)
    },
  }
}

/**
 * Whether the process behind a claim is known to have ended. A pid of another machine or of another container means
 * nothing here.
 */
function hasEnded(claim: string): boolean {
  const [space, pid] = claim.split('-')
  if (space !== pidSpace()) return false
  try {
    process.kill(Number(pid), 0)
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH'
  }
}

let ownSpace: string | undefined

/** Names where a pid means the same as here: this boot of this machine, and this container in it. */
function pidSpace(): string {
  return (ownSpace ??= createHash('sha256').update(spaceName()).digest('hex').slice(0, 12))
}

function spaceName(): string {
  if (process.platform !== 'linux') return hostname()
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8')
    return [hostname(), boot, readlinkSync('/proc/self/ns/pid')].join()
  } catch {
    return randomBytes(12).toString('hex')
  }
}

const claims = new Map<string, string>()

/** A process that ends without a release removes its claim: else the next one waits until the claim looks dead. */
function removeAtExit(claim: string, folder: string): void {
  if (claims.size === 0) process.once('exit', removeAll)
  claims.set(claim, folder)
}

function keepAtExit(claim: string): void {
  claims.delete(claim)
  if (claims.size === 0) process.off('exit', removeAll)
}

function removeAll(): void {
  for (const [claim, folder] of claims) {
    try {
      rmSync(claim, { force: true })
      rmdirSync(folder)
    } catch {
      // Another process waits in the folder, or the disk refuses. This process ends in any case.
    }
  }
}

/** The claims of others on a lock, and for how long each has shown no sign of life while it was watched. */
class Rivals {
  #seen = new Map<string, { beat: number; since: number }>()
  /** Whether one of them has shown a sign of life since the first look. */
  alive = false

  constructor(
    private readonly folder: string,
    private readonly staleMs: number,
  ) {}

  async look(ours?: string): Promise<{ living: number; dead: string[] }> {
    const dead: string[] = []
    let living = 0
    for (const name of await unlessMissing(readdir(this.folder), [])) {
      const claim = join(this.folder, name)
      const beat = claim === ours ? undefined : (await unlessMissing(stat(claim), undefined))?.mtimeMs
      if (beat === undefined) continue
      if (hasEnded(name) || this.#isDead(claim, beat)) dead.push(claim)
      else living++
    }
    return { living, dead }
  }

  #isDead(claim: string, beat: number): boolean {
    const now = performance.now()
    const seen = this.#seen.get(claim)
    if (seen?.beat === beat) return now - seen.since >= this.staleMs
    if (seen) this.alive = true
    this.#seen.set(claim, { beat, since: now })
    return false
  }
}

/** Only a missing file counts as gone: the holder of one that cannot be read may live. */
async function unlessMissing<T, U>(reading: Promise<T>, missing: U): Promise<T | U> {
  try {
    return await reading
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return missing
    throw error
  }
}
