import { realpath } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { acquireLock, type Lock } from '../state/lock.js'

/**
 * Of a holder on another machine or in another container; one that was killed here is seen at once. Five heartbeats; ms.
 * Less, and a disk that is busy for a moment makes a living holder look dead: the next one would present the same refresh
 * token. More, and requests on a token that has ended wait longer.
 */
const STALE_MS = 5_000

/** Outlasts a token call of another process (10 s), and its lock if it was killed in the middle of it; ms. */
const WAIT_MS = 20_000

/**
 * Keeps everybody else from renewing or replacing a credential file. `onCompromised`: the lock was taken away.
 * Of a link, what it points to is locked, since two pools may have a link to one file.
 * @throws {LockHeldError} when another process does not let go
 */
export async function lockCredential(file: string, onCompromised: () => void): Promise<Lock> {
  const target = await realpath(file).catch(() => file)
  const lockfile = join(dirname(target), `.${basename(target, '.json')}.codex-pool.lock`)
  return acquireLock(target, { lockfile, staleMs: STALE_MS, waitMs: WAIT_MS, onCompromised })
}

/** Several locks that are held together. */
export class Locks {
  #held: Lock[] = []

  add(lock: Lock): void {
    this.#held.push(lock)
  }

  async holds(): Promise<boolean> {
    for (const lock of this.#held) if (!(await lock.holds())) return false
    return true
  }

  async release(): Promise<void> {
    for (const lock of this.#held.reverse()) await lock.release()
  }
}
