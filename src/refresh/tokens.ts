import { withoutValuesOf } from '../../config/index.js'
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
  /** There is no newer credential than the one refused; the account cools down. */
  | { readonly kind: 'refused' }

export interface TokensOptions {
  readonly provider: (name: string) => Provider | undefined
  readonly call: (account: Account, timeoutMs: number) => CallContext
  readonly settings: () => ResolvedConfig['refresh']
  readonly spent: SpentLogins
  /** Applies an outcome to the account, saves it and tells it. */
  readonly apply: (account: Account, outcome: RefreshOutcome) => void
  readonly now: () => number
}

/** A token that is refused so soon after it was got has not been revoked: the upstream is in trouble; ms. */
const FRESH_MS = 15 * 60_000

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
  /** When a credential was got in place of a refused one; ms since 1970. */
  #replacements = new WeakMap<object, number>()

  constructor(private readonly options: TokensOptions) {
    this.#backoff = new Backoff(options.now)
  }

  /** Makes sure that the token has not ended by its own expiry. Waits for a refresh only if it has. */
  async ready(account: Account): Promise<TokenResult> {
    if (account.loginNeeded) return { kind: 'needs-login' }
    const skewed = (this.#lifetimes.get(account) ?? 1) <= 0
    // A clock that runs ahead ends every token at once. Then only a refusal by the upstream counts.
    if (!hasEnded(account, this.options.now()) || skewed || !this.canRefresh(account))
      return { kind: 'fresh' }
    return this.refresh(account)
  }

  /**
   * After a 401 to `refused`: makes sure that the account has a newer credential. One that was got a moment ago in this
   * way is not replaced again: backends refuse good tokens for minutes.
   */
  async replaceRefused(account: Account, refused: object): Promise<TokenResult> {
    if (account.credential !== refused) return { kind: 'fresh' }
    const { now } = this.options
    const isReplacement = now() - (this.#replacements.get(refused) ?? -Infinity) < FRESH_MS
    if (isReplacement || !this.canRefresh(account)) return { kind: 'refused' }
    this.#refused.add(refused)
    const result = await this.refresh(account)
    if (result.kind === 'fresh') this.#replacements.set(account.credential, now())
    return result
  }

  /** When the background should refresh the token; ms since 1970, `undefined` for never. */
  dueAt(account: Account): number | undefined {
    const { expiresAt } = account.inspection
    if (account.loginNeeded || expiresAt === undefined || !this.canRefresh(account)) return undefined
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

  /** Lets the account's token be refreshed at once, whatever has failed. */
  forgetTrouble(account: Account): void {
    this.#backoff.clear(account)
    this.#replacements.delete(account.credential)
  }

  /** Releases the locks of accounts that are no longer in the pool. */
  retain(accounts: readonly Account[]): Promise<void> {
    return this.#locks.retain(accounts)
  }

  /** Whether the provider can refresh it, and the settings allow that. */
  canRefresh(account: Account): boolean {
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
        const context = call(account, settings().timeoutMs)
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
    const reason = withoutValuesOf(account.credential, error.message)
    this.options.apply(account, { kind: 'failed', reason })
    return { kind: 'unavailable', reason: `token refresh failed: ${reason}` }
  }
}
