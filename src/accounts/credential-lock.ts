import { basename, dirname, join } from 'node:path'
import { acquireLock, type Lock } from '../state/lock.js'

/** At about 100 ms each this outlasts a token call of another process, and its lock if it was killed. */
const LOCK_TRIES = 200

/**
 * Keeps everybody else from renewing or replacing a credential file. `onCompromised`: the lock was taken away.
 * @throws {LockHeldError} when another process does not let go
 */
export function lockCredential(file: string, onCompromised: () => void): Promise<Lock> {
  const lockfile = join(dirname(file), `.${basename(file, '.json')}.codex-pool.lock`)
  return acquireLock(file, { lockfile, retries: LOCK_TRIES, onCompromised })
}
