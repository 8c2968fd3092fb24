import type { Account } from '../accounts/account.js'
import { lockCredential } from '../credentials/credential-file.js'
import { type Lock, LockHeldError } from '../state/lock.js'
import { clientCopiesOf } from './client-copy.js'
import type { LoginContext } from './login.js'
import { NotAttempted } from './refresh.js'

export interface LoginLockOptions extends Pick<LoginContext, 'provider'> {
  /** The token has ended, so the work is done even if the disk takes no lock. */
  readonly dead: boolean
  /** Called if the lock is lost while `work` runs. */
  readonly onLost: () => void
}

/** The locks of one login that are held together. */
interface HeldLocks {
  holds(): Promise<boolean>
  release(): Promise<void>
}

/** The locks under which logins are refreshed and written. */
export class LoginLocks {
  #kept = new Map<Account, HeldLocks>()

  /**
   * Runs `work` under an account's locks. They stay held while the new pair is only in memory: another process would
   * read the old pair and present its spent token.
   */
  async under<T>(
    account: Account,
    options: LoginLockOptions,
    work: (locks: HeldLocks) => Promise<T>,
  ): Promise<T> {
    const locks = (await this.#takeKept(account)) ?? (await lockLogin(account, options))
    try {
      return await work(locks)
    } finally {
      if (account.unsaved === undefined) await locks.release()
      else this.#kept.set(account, locks)
    }
  }

  async #takeKept(account: Account): Promise<HeldLocks | undefined> {
    const kept = this.#kept.get(account)
    this.#kept.delete(account)
    if (!kept || (await kept.holds())) return kept
    // Lost while the machine slept.
    await kept.release()
    return undefined
  }

  /** Releases the locks of accounts that are not among `accounts`, the ones in the pool. */
  async retain(accounts: readonly Account[]): Promise<void> {
    for (const [account, locks] of this.#kept) {
      if (accounts.includes(account)) continue
      this.#kept.delete(account)
      await locks.release()
    }
  }
}

/**
 * Locks the account's file, and the client's own copy of the login, which gateways with other pools may share. Always
 * in this order, or two gateways would wait for each other.
 * @throws {LockHeldError} if another process does not release it; {NotAttempted} if the disk refuses
 */
async function lockLogin(account: Account, { provider, dead, onLost }: LoginLockOptions): Promise<HeldLocks> {
  const locks: Lock[] = []
  const release = async () => {
    for (const lock of locks.toReversed()) await lock.release()
  }
  const take = async (file: string, doWithout: (code: string) => boolean) => {
    try {
      locks.push(await lockCredential(file, onLost))
    } catch (error) {
      const { code = '', message } = error as NodeJS.ErrnoException
      if (error instanceof LockHeldError) throw error
      if (!doWithout(code)) throw new NotAttempted(message, { cause: error })
    }
  }
  try {
    await take(account.file, (code) => dead && DISK_REFUSES.has(code))
    const shared = (await clientCopiesOf(account, provider)).filter((copy) => copy.shared)
    // In a folder where this process can write no lock, no other can either. `refresh` checks whether the copy is writable.
    for (const { file } of shared) await take(file, () => true)
  } catch (error) {
    await release()
    throw error
  }
  return {
    async holds() {
      for (const lock of locks) if (!(await lock.holds())) return false
      return true
    },
    release,
  }
}

/** Errors after which a refresh goes on without a lock if the token has ended: the login would be lost for certain. */
const DISK_REFUSES = new Set(['ENOSPC', 'EROFS', 'EACCES', 'EPERM', 'EDQUOT'])
