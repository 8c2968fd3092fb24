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
  /** A holder whose pid we cannot see, and that shows no sign of life for so long, is dead; ms. @default 10000 */
  staleMs?: number
  /** How long to wait while another holds it; ms. @default 0 */
  waitMs?: number
  /** Pause between two tries; ms, ±50 %. @default 100 */
  retryDelayMs?: number
  /** Whether to wait for a dead holder only: a sign of life ends the waiting. @default false */
  onlyForDead?: boolean
  /** Ends the waiting. */
  signal?: AbortSignal
  /** The lock was taken away: this process was silent for longer than `staleMs`. Stop what it protects. */
  onCompromised: (reason: Error) => void
}

export interface Lock {
  /** Whether it was taken away, as far as is known. */
  readonly compromised: boolean
  /** Whether it is still ours. Looks at the disk: a process that was suspended does not know yet that it lost it. */
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
export const HEARTBEAT_MS = 1000

/**
 * Locks a path against other processes, and against a second call in this one. Everybody who wants the lock puts a
 * claim of a name of its own into the folder, and holds it if then no other claim is there but those of the dead.
 *
 * A claim of the dead is known by its name when it is removed. With one name for all, as proper-lockfile has it, two
 * processes that find the same dead lock can remove each other's new one, and both hold it. And the dead are known by
 * their pid, or where that cannot be seen by watching them; not by comparing their time with ours: a clock that jumps, or
 * a neighbour's that is wrong, would make the living look dead.
 * @throws {LockHeldError} when the waiting is over
 */
export async function acquireLock(path: string, options: LockOptions): Promise<Lock> {
  const { waitMs = 0, retryDelayMs = 100, signal } = options
  const folder = resolve(options.lockfile ?? `${path}.lock`)
  const rivals = new Rivals(folder, options.staleMs ?? 10_000)
  const deadline = performance.now() + waitMs
  for (;;) {
    signal?.throwIfAborted()
    const claim = await tryClaim(folder, rivals)
    if (claim !== undefined) {
      const lock = hold(claim, folder, options)
      if (!signal?.aborted) return lock
      await lock.release()
    }
    if (performance.now() >= deadline || (options.onlyForDead && rivals.alive))
      throw new LockHeldError(folder)
    await delay(retryDelayMs * (0.5 + Math.random()), undefined, { signal })
  }
}

/** Both of two who claim at once see the other, since each looks after it has claimed; then both stand back. */
async function tryClaim(folder: string, rivals: Rivals): Promise<string | undefined> {
  if ((await rivals.look()).living > 0) return undefined
  const claim = join(folder, claimName())
  if (!(await put(claim, folder))) return undefined
  try {
    const { living, dead } = await rivals.look(claim)
    for (const gone of living > 0 ? [] : dead) await rm(gone, { force: true })
    if (living === 0) return claim
  } catch (error) {
    await takeBack(claim, folder)
    throw error
  }
  await takeBack(claim, folder)
  return undefined
}

/** A claim that cannot be removed is dead to the others before long. */
async function takeBack(claim: string, folder: string): Promise<void> {
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
    // Its last holder has just removed the folder.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    return false
  }
}

function hold(claim: string, folder: string, { staleMs = 10_000, onCompromised }: LockOptions): Lock {
  let compromised = false
  let released = false
  let lastBeat = performance.now()
  let beats = Math.floor(Date.now() / 1000)
  const forget = leaveNoClaim(claim, folder)
  const heart = setInterval(async () => {
    const at = performance.now()
    try {
      // Counted, since a clock that stands still would look like death.
      await utimes(claim, ++beats, beats)
      lastBeat = at
    } catch (error) {
      const gone = (error as NodeJS.ErrnoException).code === 'ENOENT'
      // Whoever waits has seen no beat for as long, and takes us for dead.
      if (released || compromised || (!gone && at - lastBeat < staleMs)) return
      compromised = true
      clearInterval(heart)
      forget()
      onCompromised(error as Error)
    }
  }, HEARTBEAT_MS).unref()
  return {
    get compromised() {
      return compromised
    },
    holds: async () => !compromised && !released && (await stat(claim).catch(() => undefined)) !== undefined,
    async release() {
      if (released) return
      released = true
      clearInterval(heart)
      forget()
      await takeBack(claim, folder)
    },
  }
}

/** A name for a claim that nobody else has, and that tells who to look for. */
export function claimName(): string {
  return `${place()}-${process.pid}-${randomBytes(6).toString('hex')}`
}

/**
 * Whether the process behind a claim is known to have ended. Only told of processes that we could see: the pid of one in
 * another container, or on another machine, means nothing here.
 */
export function isGone(name: string): boolean {
  const [where, pid] = name.split('-')
  if (where !== place()) return false
  try {
    process.kill(Number(pid), 0)
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH'
  }
}

let ours: string | undefined

/** Where pids mean the same as here: this boot of this machine, and this container in it. */
function place(): string {
  return (ours ??= createHash('sha256').update(whereabouts()).digest('hex').slice(0, 12))
}

function whereabouts(): string {
  if (process.platform !== 'linux') return hostname()
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8')
    return [hostname(), boot, readlinkSync('/proc/self/ns/pid')].join()
  } catch {
    return randomBytes(12).toString('hex')
  }
}

const claims = new Map<string, string>()

/**
 * Sees to it that a process which ends in the ordinary way leaves no claim on a lock: the next one would wait until it
 * looks dead. Returns what takes that back.
 */
export function leaveNoClaim(claim: string, folder: string): () => void {
  if (claims.size === 0) process.once('exit', removeAll)
  claims.set(claim, folder)
  return () => {
    claims.delete(claim)
    if (claims.size === 0) process.off('exit', removeAll)
  }
}

function removeAll(): void {
  for (const [claim, folder] of claims) {
    try {
      rmSync(claim, { force: true })
      rmdirSync(folder)
    } catch {
      // Somebody else waits in the folder, or the disk refuses; the process ends in any case.
    }
  }
}

/** The claims of others on a lock, and for how long each has shown no sign of life while we watched. */
export class Rivals {
  #seen = new Map<string, { beat: number; since: number }>()
  /** Whether one of them has shown a sign of life since we first looked. */
  alive = false

  constructor(
    private readonly folder: string,
    private readonly staleMs: number,
  ) {}

  async look(ours?: string): Promise<{ living: number; dead: string[] }> {
    const dead: string[] = []
    let living = 0
    for (const name of await present(readdir(this.folder), [])) {
      const claim = join(this.folder, name)
      const beat = claim === ours ? undefined : await present(beatOf(claim), undefined)
      if (beat === undefined) continue
      if (isGone(name) || this.#isDead(claim, beat)) dead.push(claim)
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

const beatOf = async (claim: string): Promise<number> => (await stat(claim)).mtimeMs

/** What cannot be looked at may live: only what is not there counts as gone. */
async function present<T, U>(looking: Promise<T>, gone: U): Promise<T | U> {
  try {
    return await looking
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return gone
    throw error
  }
}
