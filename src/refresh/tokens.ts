import type { ResolvedConfig } from '../../config/config.js'
import type { CallContext, Provider } from '../../config/provider.js'
import type { SpentLogins } from '../accounts/account-store.js'
import type { Account } from '../accounts/account.js'
import { Backoff, lostAfterSending } from './backoff.js'
import { LoginLocks } from './login-lock.js'
import { type LoginContext, needsReconciling, reconcile } from './login.js'
import { hasEnded, NotAttempted, refresh, type RefreshOutcome } from './refresh.js'

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
  /** Applies an outcome to the account, saves it and tells it. */
  readonly apply: (account: Account, outcome: RefreshOutcome) => void
  readonly now: () => number
}

/**
 * Keeps access tokens fresh. A refresh token may be single use, and presenting a spent one can revoke the login. So
 * there is one refresh per account at a time, over all processes (a lock file); a login that somebody else wrote is
 * adopted; a new pair is on disk before it is used; a refresh token is never presented twice.
 */
export class Tokens {
  #refreshes = new Map<Account, Promise<TokenResult>>()
  #reconciliations = new Map<Account, Promise<void>>()
  #locks = new LoginLocks()
  #backoff: Backoff
  /** How long the account's tokens live, by this machine's clock; ms. */
  #lifetimes = new WeakMap<Account, number>()
  /** Credentials that the upstream refused although they had not ended. */
  #refused = new WeakSet<object>()

  constructor(private readonly options: TokensOptions) {
    this.#backoff = new Backoff(options.now)
  }

  /** Makes sure that the token has not ended by its own expiry. Waits for a refresh only if it has. */
  async ready(account: Account): Promise<TokenResult> {
    if (account.loginNeeded) return { kind: 'needs-login' }
    const skewed = (this.#lifetimes.get(account) ?? 1) <= 0
    // A clock that runs ahead ends every token at once. Then only a refusal by the upstream counts.
    if (!hasEnded(account, this.options.now()) || skewed || !this.#canRefresh(account))
      return { kind: 'fresh' }
    return this.refresh(account)
  }

  /** After a 401 to `refused`: makes sure that the account has another credential. */
  async replaceRefused(account: Account, refused: object): Promise<TokenResult> {
    if (account.credential !== refused) return { kind: 'fresh' }
    this.#refused.add(refused)
    if (this.#canRefresh(account)) return this.refresh(account)
    const off = account.inspection.refreshable && !this.options.settings().enabled
    const reason = off
      ? 'the access token was refused, and refreshing is turned off'
      : 'the credential was refused'
    return this.#end(account, { kind: 'needs-login', reason })
  }

  /** When the background should refresh the token; ms since 1970, `undefined` for never. */
  dueAt(account: Account): number | undefined {
    const { expiresAt } = account.inspection
    if (account.loginNeeded || expiresAt === undefined || !this.#canRefresh(account)) return undefined
    // An account whose refresh hangs must not keep the others from theirs.
    if (this.#refreshes.has(account)) return undefined
    const lifetime = this.#lifetimes.get(account) ?? Infinity
    if (lifetime <= 0) return undefined
    // A token that lives for less than the lead would otherwise be refreshed again and again.
    const lead = Math.min(this.options.settings().leadMs, lifetime / 2)
    return Math.max(expiresAt - lead, this.#backoff.retryAt(account))
  }

  /** Refreshes now. Calls that come while a refresh runs wait for that one. */
  refresh(account: Account): Promise<TokenResult> {
    const running = this.#refreshes.get(account)
    if (running) return running
    const started = this.#refresh(account).finally(() => this.#refreshes.delete(account))
    this.#refreshes.set(account, started)
    return started
  }

  /**
   * Adopts a login that was refreshed elsewhere, and writes what the disk has refused so far. Calls no token endpoint.
   * Never rejects: the next call does what this one cannot.
   */
  async reconcile(account: Account): Promise<void> {
    const provider = this.options.provider(account.provider)
    if (!provider || this.#refreshes.has(account) || this.#reconciliations.has(account)) return
    const work = this.#reconcile(account, { provider, spent: this.options.spent })
      .catch(() => {})
      .finally(() => this.#reconciliations.delete(account))
    this.#reconciliations.set(account, work)
    return work
  }

  async #reconcile(account: Account, context: LoginContext): Promise<void> {
    if (!(await needsReconciling(account, context))) return
    await this.#locks.under(account, { ...context, dead: true, onLost: () => {} }, async () => {
      const kind = await reconcile(account, context)
      if (kind) this.options.apply(account, { kind })
    })
  }

  /** Ends when no refresh runs: a new pair that arrives must still reach the disk. */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.#refreshes.values(), ...this.#reconciliations.values()])
    await this.#locks.retain([])
  }

  /** Releases the locks of accounts that are no longer in the pool. */
  retain(accounts: readonly Account[]): Promise<void> {
    return this.#locks.retain(accounts)
  }

  #canRefresh(account: Account): boolean {
    const provider = this.options.provider(account.provider)
    return Boolean(provider?.refresh && account.inspection.refreshable && this.options.settings().enabled)
  }

  async #refresh(account: Account): Promise<TokenResult> {
    if (this.#backoff.blocks(account))
      return { kind: 'unavailable', reason: 'a token refresh failed a moment ago' }
    const { call, settings, spent, now } = this.options
    const provider = this.options.provider(account.provider)!
    const dead = hasEnded(account, now()) || this.#refused.has(account.credential)
    const onLost = () => this.options.apply(account, { kind: 'failed', reason: 'lock lost while refreshing' })
    try {
      const outcome = await this.#locks.under(account, { provider, dead, onLost }, (locks) => {
        const context = call(account.provider, settings().timeoutMs)
        return refresh(account, { provider, context, spent, holds: () => locks.holds(), dead, now })
      })
      return this.#end(account, outcome)
    } catch (error) {
      return this.#fail(account, error as Error)
    }
  }

  #end(account: Account, outcome: RefreshOutcome): TokenResult {
    if (outcome.kind !== 'needs-login') this.#backoff.clear(account)
    if ('lifetimeMs' in outcome && outcome.lifetimeMs !== undefined)
      this.#lifetimes.set(account, outcome.lifetimeMs)
    this.options.apply(account, outcome)
    return { kind: outcome.kind === 'needs-login' ? 'needs-login' : 'fresh' }
  }

  #fail(account: Account, error: Error): TokenResult {
    const called = !(error instanceof NotAttempted)
    // If the answer was lost, the refresh token may be spent: the old access token is used to its end first.
    const notBefore = called && lostAfterSending(error) ? (account.inspection.expiresAt ?? 0) : 0
    this.#backoff.failed(account, { called, notBefore })
    this.options.apply(account, { kind: 'failed', reason: error.message })
    return { kind: 'unavailable', reason: `token refresh failed: ${error.message}` }
  }
}
