import {
  CredentialRejected,
  type CallContext,
  type Credential,
  type Provider,
} from '../../config/provider.js'
import type { ResolvedConfig } from '../../config/config.js'
import type { Account } from './account.js'
import { readCredential, writeCredential } from './credential-file.js'
import { lockCredential } from './credential-lock.js'
import { Backoff, lostAfterSending } from './refresh-trouble.js'

export type TokenResult =
  | { readonly kind: 'fresh' }
  /** Only the user can help; the account says why. */
  | { readonly kind: 'needs-login' }
  /** Not now; the token may be had later. */
  | { readonly kind: 'unavailable'; readonly reason: string }

/** Remembers refresh tokens that were presented, by fingerprint, over restarts. */
export interface SpentLogins {
  has(login: string): boolean
  add(login: string): void
}

export interface TokensOptions {
  readonly provider: (name: string) => Provider | undefined
  readonly call: (provider: string, timeoutMs: number) => CallContext
  readonly settings: () => ResolvedConfig['refresh']
  readonly spent: SpentLogins
  readonly onRefresh: (account: Account, outcome: string) => void
  readonly now: () => number
}

/**
 * Keeps access tokens fresh. A refresh token may be single use, and presenting a spent one can revoke the login, so:
 * one refresh per account at a time, over all processes (a lock file); what somebody else wrote is adopted; a new pair
 * is on disk before it is used; a token that was presented once is never presented again.
 */
export class Tokens {
  #flights = new Map<Account, Promise<TokenResult>>()
  #backoff: Backoff
  #lifetimes = new WeakMap<Account, number>()

  constructor(private readonly options: TokensOptions) {
    this.#backoff = new Backoff(options.now)
  }

  /** A token that has not ended, as far as its own expiry tells. Waits for a refresh only if it has. */
  async ready(account: Account): Promise<TokenResult> {
    if (account.loginNeeded) return { kind: 'needs-login' }
    const { expiresAt } = account.inspection
    if (expiresAt === undefined || expiresAt > this.options.now()) return { kind: 'fresh' }
    if (!this.#canRefresh(account)) return { kind: 'fresh' }
    return this.refresh(account)
  }

  /** After a 401: a newer credential than the one refused. */
  async renew(account: Account, refused: object): Promise<TokenResult> {
    if (account.credential !== refused) return { kind: 'fresh' }
    if (this.#canRefresh(account)) return this.refresh(account)
    const off = account.inspection.refreshable && !this.options.settings().enabled
    this.#needsLogin(
      account,
      off ? 'the access token was refused, and refreshing is turned off' : 'the credential was refused',
    )
    return { kind: 'needs-login' }
  }

  /** How soon the token should be renewed in the background; ms since 1970, `undefined` for never. */
  dueAt(account: Account): number | undefined {
    const { expiresAt } = account.inspection
    if (account.loginNeeded || expiresAt === undefined || !this.#canRefresh(account)) return undefined
    // A token that lives for less than the lead would otherwise be renewed without end.
    const lead = Math.min(this.options.settings().leadMs, (this.#lifetimes.get(account) ?? Infinity) / 2)
    return Math.max(expiresAt - lead, this.#backoff.retryAt(account))
  }

  /** Renews now; whoever asks meanwhile waits for the same flight. */
  refresh(account: Account): Promise<TokenResult> {
    const running = this.#flights.get(account)
    if (running) return running
    const flight = this.#fly(account).finally(() => this.#flights.delete(account))
    this.#flights.set(account, flight)
    return flight
  }

  /** Ends when no refresh is in flight: a pair that arrives must still reach the disk. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#flights.values())
  }

  #canRefresh(account: Account): boolean {
    const provider = this.options.provider(account.provider)
    return Boolean(provider?.refresh && account.inspection.refreshable && this.options.settings().enabled)
  }

  async #fly(account: Account): Promise<TokenResult> {
    if (this.#backoff.retryAt(account) > this.options.now())
      return { kind: 'unavailable', reason: 'a token refresh failed a moment ago' }
    let lock
    try {
      lock = await lockCredential(account.file, () =>
        this.options.onRefresh(account, 'lock lost while refreshing'),
      )
    } catch (error) {
      return this.#trouble(account, error as Error)
    }
    try {
      return await this.#renewLocked(account)
    } catch (error) {
      return this.#trouble(account, error as Error)
    } finally {
      await lock.release()
    }
  }

  async #renewLocked(account: Account): Promise<TokenResult> {
    if (account.unsaved) await this.save(account)
    if ((await this.#adopt(account)) && !this.#ended(account)) return this.#done(account, 'adopted')
    const { login } = account.inspection
    if (login && this.options.spent.has(login)) {
      this.#needsLogin(account, 'its refresh token was used before (is the file an old copy of a login?)')
      return { kind: 'needs-login' }
    }
    const provider = this.options.provider(account.provider)!
    const context = this.options.call(account.provider, this.options.settings().timeoutMs)
    let renewed
    try {
      renewed = await provider.refresh!(account.credential, context)
    } catch (error) {
      if (!(error instanceof CredentialRejected)) throw error
      // Somebody who does not know our lock may have renewed it in the meantime.
      if (await this.#adopt(account)) return this.#done(account, 'adopted')
      this.#needsLogin(account, error.message)
      return { kind: 'needs-login' }
    }
    const inspection = provider.inspect?.(renewed.credential) ?? {}
    if (typeof inspection === 'string')
      throw new Error(`the renewed credential cannot be used: ${inspection}`)
    const expiresAt = renewed.expiresAt ?? inspection.expiresAt
    if (login && inspection.login !== login) this.options.spent.add(login)
    if (expiresAt !== undefined) this.#lifetimes.set(account, expiresAt - this.options.now())
    const unsaved = await this.#write(account, renewed.credential)
    account.replaceCredential(renewed.credential, { ...inspection, expiresAt })
    account.unsaved = unsaved
    return this.#done(account, unsaved ? `refreshed, but not written: ${unsaved}` : 'refreshed')
  }

  /** Takes over what the file says if somebody else has written it. */
  async #adopt(account: Account): Promise<boolean> {
    const read = await readCredential(account.file)
    if ('problem' in read || read.digest === account.digest) return false
    const inspection = this.options.provider(account.provider)?.inspect?.(read.credential) ?? {}
    if (typeof inspection === 'string') return false
    account.replaceCredential(read.credential, inspection, read.digest)
    return true
  }

  /** Tries again to write a pair that is only in memory, since the disk refused it. */
  async save(account: Account): Promise<void> {
    account.unsaved = await this.#write(account, account.credential)
  }

  /** Why the disk refused, if it did. */
  async #write(account: Account, credential: Credential): Promise<string | undefined> {
    try {
      account.digest = await writeCredential(account.file, credential)
      return undefined
    } catch (error) {
      return (error as NodeJS.ErrnoException).code ?? 'write failed'
    }
  }

  #ended(account: Account): boolean {
    const { expiresAt } = account.inspection
    return expiresAt !== undefined && expiresAt <= this.options.now()
  }

  #done(account: Account, outcome: string): TokenResult {
    this.#backoff.clear(account)
    this.options.onRefresh(account, outcome)
    return { kind: 'fresh' }
  }

  #needsLogin(account: Account, reason: string): void {
    account.loginNeeded = { reason, since: this.options.now() }
    this.options.onRefresh(account, `needs login: ${reason}`)
  }

  #trouble(account: Account, error: Error): TokenResult {
    // The answer was lost, so the refresh token may be spent: the old access token is used up first.
    const notBefore = lostAfterSending(error) ? (account.inspection.expiresAt ?? 0) : 0
    this.#backoff.failed(account, notBefore)
    this.options.onRefresh(account, `failed: ${error.message}`)
    return { kind: 'unavailable', reason: `token refresh failed: ${error.message}` }
  }
}
