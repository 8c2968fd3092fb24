import { resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { lock } from 'proper-lockfile'

export interface LockOptions {
  /** The folder that is the lock; its parent must exist. @default `PATH.lock` */
  lockfile?: string
  /** A holder that has shown no sign of life for so long is dead; ms, at least 2000. @default 10000 */
  staleMs?: number
  /** Further tries while another holds it. @default 0 */
  retries?: number
  /** Pause between two tries; ms, ±50 %. @default 100 */
  retryDelayMs?: number
  /** Ends the waiting. */
  signal?: AbortSignal
  /** The lock was taken away: this process was silent for longer than `staleMs`. Stop what it protects. */
  onCompromised: (reason: Error) => void
}

export interface Lock {
  /** Whether it was taken away. */
  readonly compromised: boolean
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

/** How often a holder shows that it lives; ms. proper-lockfile allows no less. */
export const HEARTBEAT_MS = 1000

/**
 * Locks a path against other processes, and against a second call in this one.
 * @throws {LockHeldError} when the retries are used up
 */
export async function acquireLock(path: string, options: LockOptions): Promise<Lock> {
  const { retries = 0, retryDelayMs = 100, signal } = options
  const lockfile = resolve(options.lockfile ?? `${path}.lock`)
  for (let attempt = 0; ; attempt += 1) {
    signal?.throwIfAborted()
    const acquired = await tryLock(lockfile, options)
    if (acquired && signal?.aborted) await acquired.release()
    else if (acquired) return acquired
    else if (attempt >= retries) throw new LockHeldError(lockfile)
    // Not by proper-lockfile's own `retries`: they cannot be ended.
    else await delay(retryDelayMs * (0.5 + Math.random()), undefined, { signal })
  }
}

async function tryLock(lockfile: string, options: LockOptions): Promise<Lock | undefined> {
  let compromised = false
  try {
    // proper-lockfile knows its locks by the first argument. Were that the protected path, two locks of this process
    // on one path under different lock files would overwrite each other there, and the first would lose its heartbeat.
    const release = await lock(lockfile, {
      lockfilePath: lockfile,
      realpath: false,
      stale: options.staleMs ?? 10_000,
      update: HEARTBEAT_MS,
      // Without a handler proper-lockfile throws from a timer, which ends the process.
      onCompromised(reason) {
        compromised = true
        options.onCompromised(reason)
      },
    })
    return {
      get compromised() {
        return compromised
      },
      // It rejects when the lock is released or lost already, or the disk refuses. The heartbeat has ended in any case,
      // so the lock ages out.
      release: () => release().catch(() => {}),
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ELOCKED') return undefined
    throw error
  }
}
