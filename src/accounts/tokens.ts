import type { CallContext, Provider } from '../../config/provider.js'
import type { ResolvedConfig } from '../../config/config.js'
import type { Lock } from '../state/lock.js'
import type { Account } from './account.js'
import { lockCredential } from './credential-lock.js'
import { Backoff, lostAfterSending } from './refresh-trouble.js'
import { adopt, hasEnded, renew, write, type Renewed, type SpentLogins } from './renewal.js'

export type TokenResult =
  | { readonly kind: 'fresh' }
  /** Only the user can help; the account says why. */
  | { readonly kind: 'needs-login' }
  /** Not now; the token may be had later. */
  | { readonly kind: 'unavailable'; readonly reason: string }

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
    const skewed = (this.#lifetimes.get(account) ?? 1) <= 0
    // A clock that runs ahead ends every token at once; then only the upstream's word counts.
    if (!hasEnded(account, this.options.now()) || skewed || !this.#canRefresh(account))
      return { kind: 'fresh' }
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
    const lifetime = this.#lifetimes.get(account) ?? Infinity
    if (lifetime <= 0) return undefined
    const lead = Math.min(this.options.settings().leadMs, lifetime / 2)
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

  /** Takes over a login that its owner has renewed elsewhere; calls nobody. */
  async lookAround(account: Account): Promise<void> {
    if (this.#flights.has(account)) return
    const lock = await this.#lock(account)
    try {
      const provider = this.options.provider(account.provider)
      if (provider && (await adopt(account, provider))) this.options.onRefresh(account, 'adopted')
    } finally {
      await lock?.release()
    }
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
    try {
      const lock = await this.#lock(account)
      try {
        return this.#learn(account, await this.#renew(account))
      } finally {
        await lock?.release()
      }
    } catch (error) {
      return this.#trouble(account, error as Error)
    }
  }

  /** A disk that takes no lock file must not cost a login whose token has ended: nobody else can write there either. */
  async #lock(account: Account): Promise<Lock | undefined> {
    try {
      return await lockCredential(account.file, () =>
        this.options.onRefresh(account, 'lock lost while refreshing'),
      )
    } catch (error) {
      const refused = DISK_REFUSES.has((error as NodeJS.ErrnoException).code ?? '')
      if (refused && hasEnded(account, this.options.now())) return undefined
      throw error
    }
  }

  #renew(account: Account): Promise<Renewed> {
    const { provider, call, settings, spent, now } = this.options
    const context = call(account.provider, settings().timeoutMs)
    return renew(account, { provider: provider(account.provider)!, context, spent, now })
  }

  #learn(account: Account, renewed: Renewed): TokenResult {
    if (renewed.kind === 'needs-login') {
      this.#needsLogin(account, renewed.reason)
      return { kind: 'needs-login' }
    }
    if (renewed.lifetimeMs !== undefined) this.#lifetimes.set(account, renewed.lifetimeMs)
    this.#backoff.clear(account)
    this.options.onRefresh(account, renewed.outcome)
    return { kind: 'fresh' }
  }

  /** Tries again to write a pair that is only in memory, since the disk refused it. */
  async save(account: Account): Promise<void> {
    account.unsaved = await write(account, account.credential)
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

const DISK_REFUSES = new Set(['ENOSPC', 'EROFS', 'EACCES', 'EPERM', 'EDQUOT'])
