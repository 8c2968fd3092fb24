import { redact } from '../../config/index.js'
import type { ResolvedConfig } from '../../config/config.js'
import type { CallContext, Provider } from '../../config/provider.js'
import type { SpentLogins } from '../accounts/account-store.js'
import type { Account } from '../accounts/account.js'
import { clientCopiesOf } from './client-copy.js'
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

/**
 * A token that has replaced a refused one, and is refused as well within this time, has not been revoked: the upstream is
 * in trouble; ms.
 */
const AFTER_REFUSAL_MS = 15 * 60_000

/**
 * How long before its end a token is refreshed of which the client has a copy; ms. Codex (0.147, 0.169) refreshes its own
 * copy from 5 minutes before. If both present the refresh token at one time, the issuer ends the login. The two minutes
 * more are for tries after passing trouble.
 */
const COPIED_LEAD_MS = 7 * 60_000

/**
 * Keeps access tokens fresh. A refresh token may be single use, and presenting a spent one can revoke the login. So
 * there is one refresh per account at a time, over all processes (a lock file); a login that another program wrote is
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
  /** Until when a refusal says nothing against a new credential; ms since 1970. */
  #freshUntil = new WeakMap<object, number>()

  constructor(private readonly options: TokensOptions) {
    this.#backoff = new Backoff(options.now)
  }

  /** Makes sure that the token has not ended by its own expiry. Waits for a refresh only if it has. */
  async ready(account: Account): Promise<TokenResult> {
    if (account.loginNeeded) return { kind: 'needs-login' }
    // A token that was refused a moment ago is not sent while its replacement is on the way.
    const running = this.#refused.has(account.credential) && this.#refreshes.get(account)
    if (running) return running
    const skewed = (this.#lifetimes.get(account) ?? 1) <= 0
    // A clock that runs ahead ends every token at once. Then only a refusal by the upstream counts.
    if (!hasEnded(account, this.options.now()) || skewed || !this.canRefresh(account))
      return { kind: 'fresh' }
    return this.refresh(account)
  }

  /**
   * After a 401 to `refused`: makes sure that the account has a newer credential. One that has itself replaced a refused
   * one a moment ago is not replaced again: backends refuse good tokens for minutes.
   */
  async replaceRefused(account: Account, refused: object): Promise<TokenResult> {
    if (account.credential !== refused) return { kind: 'fresh' }
    const { now } = this.options
    const isFresh = now() < (this.#freshUntil.get(refused) ?? 0)
    if (isFresh || !this.canRefresh(account)) return { kind: 'refused' }
    this.#refused.add(refused)
    const result = await this.refresh(account)
    if (result.kind === 'fresh') this.#freshUntil.set(account.credential, now() + AFTER_REFUSAL_MS)
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
    const { leadMs } = this.options.settings()
    const lead = Math.min(account.copied ? Math.max(leadMs, COPIED_LEAD_MS) : leadMs, lifetime / 2)
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
    const copies = await clientCopiesOf(account, context.provider)
    account.copied = copies.length > 0
    if (!needsReconciling(account, copies, context.spent)) return
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
    this.#freshUntil.delete(account.credential)
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
    const reason = redact(error.message)
    this.options.apply(account, { kind: 'failed', reason })
    return { kind: 'unavailable', reason: `token refresh failed: ${reason}` }
  }
}

const FIRST_WAIT_MS = 5_000
/** Upper bound of the wait. An account whose token has ended cannot be used until the next try. */
const LONGEST_WAIT_MS = 60_000

interface Trouble {
  readonly count: number
  readonly retryAt: number
  /** The login whose refresh failed; the wait does not apply to another one. */
  readonly login: string | undefined
  /** Whether the token endpoint was asked at all. */
  readonly called: boolean
}

/** When an account's refresh may be tried again after passing trouble. */
class Backoff {
  #troubles = new WeakMap<Account, Trouble>()

  constructor(private readonly now: () => number) {}

  /** `notBefore` in ms since 1970. */
  failed(account: Account, { called, notBefore }: { called: boolean; notBefore: number }): void {
    const { login } = account.inspection
    const count = (this.#of(account)?.count ?? 0) + 1
    const wait = Math.min(FIRST_WAIT_MS * 2 ** (count - 1), LONGEST_WAIT_MS)
    this.#troubles.set(account, { count, login, called, retryAt: Math.max(this.now() + wait, notBefore) })
  }

  /** When the background may try again; ms since 1970, 0 if nothing failed. */
  retryAt(account: Account): number {
    return this.#of(account)?.retryAt ?? 0
  }

  /** Whether even a request that needs the token must not ask the token endpoint now. */
  blocks(account: Account): boolean {
    const trouble = this.#of(account)
    return trouble !== undefined && trouble.called && trouble.retryAt > this.now()
  }

  clear(account: Account): void {
    this.#troubles.delete(account)
  }

  #of(account: Account): Trouble | undefined {
    const trouble = this.#troubles.get(account)
    return trouble?.login === account.inspection.login ? trouble : undefined
  }
}

/** A call that failed with one of these never reached the token endpoint. */
const NEVER_SENT = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
  // The proxy in between refused the connection.
  'ERR_PROXY',
])
/** Codes of a failed TLS handshake, after which nothing was sent either. */
const HANDSHAKE = /^ERR_TLS_|CERT|^UNABLE_TO_|^EPROTO$/

/** Whether the token endpoint may have taken the refresh token although no answer came. */
function lostAfterSending(error: Error): boolean {
  if (error.name === 'TimeoutError' || error.name === 'AbortError') return true
  const { code = '' } = (error.cause ?? {}) as NodeJS.ErrnoException
  return error instanceof TypeError && !NEVER_SENT.has(code) && !HANDSHAKE.test(code)
}
