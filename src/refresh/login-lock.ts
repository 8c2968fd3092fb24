import type { Provider } from '../../config/provider.js'
import type { Account } from '../accounts/account.js'
import { lockCredential, Locks } from '../credentials/credential-lock.js'
import { LockHeldError } from '../state/lock.js'
import { clientCopiesOf } from './client-copy.js'
import { NotAttempted } from './refresh.js'

export interface LoginLockOptions {
  readonly provider: Provider
  /** Whether to go without a lock where the disk takes none. */
  readonly dead: boolean
  readonly onLost: () => void
}

/** The locks under which logins are renewed and written. */
export class LoginLocks {
  #kept = new Map<Account, Locks>()

  /**
   * Runs `work` under an account's locks. They stay held for as long as its pair is only in memory: another process would
   * read the old one and present its spent token.
   */
  async under<T>(
    account: Account,
    options: LoginLockOptions,
    work: (locks: Locks) => Promise<T>,
  ): Promise<T> {
    const locks = (await this.#takeKept(account)) ?? (await lockLogin(account, options))
    try {
      return await work(locks)
    } finally {
      if (account.unsaved === undefined) await locks.release()
      else this.#kept.set(account, locks)
    }
  }

  async #takeKept(account: Account): Promise<Locks | undefined> {
    const kept = this.#kept.get(account)
    this.#kept.delete(account)
    if (!kept || (await kept.holds())) return kept
    // Taken away while the machine slept.
    await kept.release()
    return undefined
  }

  /** Lets go of what is held for anybody else than these. */
  async retain(accounts: readonly Account[]): Promise<void> {
    for (const [account, locks] of this.#kept) {
      if (accounts.includes(account)) continue
      this.#kept.delete(account)
      await locks.release()
    }
  }
}

/**
 * Keeps everybody else from renewing a login: under the lock of its file, and under that of the client's own copy,
 * which gateways with other pools may share. In this order everywhere, or two would wait for each other.
 * @throws {LockHeldError} when another process does not let go; {NotAttempted} when the disk refuses
 */
async function lockLogin(account: Account, options: LoginLockOptions): Promise<Locks> {
  const { provider, dead, onLost } = options
  const locks = new Locks()
  try {
    await take(account.file, (code) => dead && DISK_REFUSES.has(code))
    const shared = (await clientCopiesOf(account, provider)).filter((twin) => twin.shared)
    // Where no lock can be put, nobody else puts one, and whether the copy can be written is found out later.
    for (const { file } of shared) await take(file, () => true)
    return locks
  } catch (error) {
    await locks.release()
    throw error
  }

  async function take(file: string, doWithout: (code: string) => boolean): Promise<void> {
    try {
      locks.add(await lockCredential(file, onLost))
    } catch (error) {
      const { code = '' } = error as NodeJS.ErrnoException
      if (error instanceof LockHeldError) throw error
      if (!doWithout(code)) throw new NotAttempted((error as Error).message, { cause: error })
    }
  }
}

/** A disk that takes no lock file must not cost a login whose token has ended. */
const DISK_REFUSES = new Set(['ENOSPC', 'EROFS', 'EACCES', 'EPERM', 'EDQUOT'])
