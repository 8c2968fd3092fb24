import type { ResolvedConfig } from '../../config/config.js'
import type { CallContext, Provider } from '../../config/provider.js'
import type { SpentLogins } from '../accounts/account-store.js'
import type { Account } from '../accounts/account.js'
import { hasNews, reconcile, type Surroundings } from './adoption.js'
import { LoginLocks } from './login-lock.js'
import { hasEnded, NotAttempted, renew, type Renewed } from './refresh.js'

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
  #upkeep = new Map<Account, Promise<void>>()
  #locks = new LoginLocks()
  #backoff: Backoff
  #lifetimes = new WeakMap<Account, number>()
  /** Credentials that the upstream refused although they have not ended. */
  #refused = new WeakSet<object>()

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
    this.#refused.add(refused)
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
    // One that hangs must not keep the others from their turn.
    if (this.#flights.has(account)) return undefined
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

  /**
   * Takes over a login that its owner has renewed elsewhere, and writes what a disk has refused so far. Calls nobody.
   * Never rejects: what cannot be done now is left for the next time.
   */
  async reconcile(account: Account): Promise<void> {
    const provider = this.options.provider(account.provider)
    if (!provider || this.#flights.has(account) || this.#upkeep.has(account)) return
    const work = this.#lookAfter(account, { provider, spent: this.options.spent })
      .catch(() => {})
      .finally(() => this.#upkeep.delete(account))
    this.#upkeep.set(account, work)
    return work
  }

  async #lookAfter(account: Account, around: Surroundings): Promise<void> {
    if (!(await hasNews(account, around))) return
    await this.#locks.under(account, { ...around, dead: true, onLost: () => {} }, async () => {
      const outcome = await reconcile(account, around)
      if (outcome) this.options.onRefresh(account, outcome)
    })
  }

  /** Ends when no refresh is in flight: a pair that arrives must still reach the disk. */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.#flights.values(), ...this.#upkeep.values()])
    await this.#locks.retain([])
  }

  /** These are all there are. */
  retain(accounts: readonly Account[]): Promise<void> {
    return this.#locks.retain(accounts)
  }

  #canRefresh(account: Account): boolean {
    const provider = this.options.provider(account.provider)
    return Boolean(provider?.refresh && account.inspection.refreshable && this.options.settings().enabled)
  }

  async #fly(account: Account): Promise<TokenResult> {
    if (this.#backoff.blocks(account))
      return { kind: 'unavailable', reason: 'a token refresh failed a moment ago' }
    const provider = this.options.provider(account.provider)!
    const dead = hasEnded(account, this.options.now()) || this.#refused.has(account.credential)
    const onLost = () => this.options.onRefresh(account, 'lock lost while refreshing')
    try {
      return await this.#locks.under(account, { provider, dead, onLost }, async (locks) =>
        this.#learn(account, await this.#renew(account, provider, dead, () => locks.holds())),
      )
    } catch (error) {
      return this.#trouble(account, error as Error)
    }
  }

  #renew(
    account: Account,
    provider: Provider,
    dead: boolean,
    holds: () => Promise<boolean>,
  ): Promise<Renewed> {
    const { call, settings, spent, now } = this.options
    const context = call(account.provider, settings().timeoutMs)
    return renew(account, { provider, context, spent, holds, dead, now })
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

  #needsLogin(account: Account, reason: string): void {
    account.loginNeeded = { reason, since: this.options.now() }
    this.options.onRefresh(account, `needs login: ${reason}`)
  }

  #trouble(account: Account, error: Error): TokenResult {
    const called = !(error instanceof NotAttempted)
    // The answer was lost, so the refresh token may be spent: the old access token is used up first.
    const notBefore = called && lostAfterSending(error) ? (account.inspection.expiresAt ?? 0) : 0
    this.#backoff.failed(account, { called, notBefore })
    this.options.onRefresh(account, `failed: ${error.message}`)
    return { kind: 'unavailable', reason: `token refresh failed: ${error.message}` }
  }
}

const FIRST_WAIT_MS = 5_000
/** A token that has ended is of no use until the next try: no longer than an account can be missed. */
const LONGEST_WAIT_MS = 60_000

interface Trouble {
  readonly count: number
  readonly retryAt: number
  /** The login that had it: another one has none. */
  readonly login: string | undefined
  /** Whether the token endpoint was asked at all. */
  readonly called: boolean
}

/** When an account's refresh may be tried again after passing trouble. */
export class Backoff {
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

  /** Whether even a request that needs it must not ask the token endpoint now. */
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
])
/** Neither did one whose TLS handshake failed. */
const HANDSHAKE = /^ERR_TLS_|CERT|^UNABLE_TO_|^EPROTO$/

/** Whether the token endpoint may have taken the refresh token although no answer came. */
export function lostAfterSending(error: Error): boolean {
  if (error.name === 'TimeoutError' || error.name === 'AbortError') return true
  const { code = '' } = (error.cause ?? {}) as NodeJS.ErrnoException
  return error instanceof TypeError && !NEVER_SENT.has(code) && !HANDSHAKE.test(code)
}
