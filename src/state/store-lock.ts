import { readFile, rm, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { performance } from 'node:perf_hooks'
import { acquireLock, type Lock, LockHeldError } from './lock.js'

/** The process that has a store open. */
export interface Holder {
  readonly pid: number
  readonly host: string
  /** ISO 8601 */
  readonly startedAt: string
}

export class StoreLockedError extends Error {
  readonly code = 'database_locked'
  constructor(
    readonly file: string,
    /** `undefined` if it left no note. */
    readonly holder: Holder | undefined,
  ) {
    const who = holder
      ? `process ${holder.pid} on ${holder.host}, running since ${holder.startedAt}`
      : 'another process'
    super(
      `${file} is in use by ${who}. Stop it, or name another path by "database" or PROXY_DB_PATH. ` +
        `If no such process runs, remove the folder ${file}.lock`,
    )
    this.name = 'StoreLockedError'
  }
}

/** Well above the longest time a store keeps the loop busy (0.2 s for 75,000 lines), so that no living one loses it. */
const STALE_MS = 5000

/**
 * Locks a store. The lock of a holder that was killed is taken over: at once if we can see that its process is gone, else 5 s later.
 * @param onLost see `onCompromised` of {@link acquireLock}
 * @throws {StoreLockedError} within about a second if the holder is alive
 */
export async function lockStore(file: string, onLost: (reason: Error) => void): Promise<Lock> {
  const note = `${file}.lock.json`
  const lock = await waitForDead(file, note, onLost)
  const holder = {
    pid: process.pid,
    host: hostname(),
    startedAt: new Date(performance.timeOrigin).toISOString(),
  }
  // A disk too full for the note does not take the lock away; the holder then cannot be named.
  await writeFile(note, `${JSON.stringify(holder)}\n`, { mode: 0o600 }).catch(() => {})
  let released = false
  return {
    get compromised() {
      return lock.compromised
    },
    async release() {
      // The note may be another's by now.
      if (released || lock.compromised) return
      released = true
      await rm(note, { force: true }).catch(() => {})
      await lock.release()
    },
    holds: () => lock.holds(),
  }
}

async function waitForDead(
  file: string,
  note: string,
  onCompromised: (reason: Error) => void,
): Promise<Lock> {
  const waitMs = STALE_MS + 2000
  try {
    return await acquireLock(file, { staleMs: STALE_MS, waitMs, onlyForDead: true, onCompromised })
  } catch (error) {
    if (!(error instanceof LockHeldError)) throw error
    throw new StoreLockedError(file, await readHolder(note))
  }
}

async function readHolder(note: string): Promise<Holder | undefined> {
  try {
    return JSON.parse(await readFile(note, 'utf8')) as Holder
  } catch {
    return undefined
  }
}
