import type { ResolvedConfig } from '../../config/config.js'
import { messageOf, proxyOf, redact, rememberAnswer } from '../../config/index.js'
import type {
  AccountState,
  CallContext,
  PoolAccount,
  Provider,
  Quota,
  Verdict,
} from '../../config/provider.js'
import type { AccountStore } from '../accounts/account-store.js'
import type { Account } from '../accounts/account.js'
import { Accounts } from '../accounts/accounts.js'
import { type Cooldown, type CooldownVerdict, NEW_LOOK_MS } from '../accounts/cooldowns.js'
import type { Pins } from '../accounts/pins.js'
import { Trails } from '../accounts/trails.js'
import { usable } from '../accounts/selection.js'
import { hasEnded, type RefreshOutcome } from '../refresh/refresh.js'
import { type TokenResult, Tokens } from '../refresh/tokens.js'
import type { Events } from '../telemetry/events.js'
import { deadline } from './deadline.js'
import { Facts } from './facts.js'
import { Unauthorized } from './unauthorized.js'

/** The settings in force, as far as the pool goes by them. */
export interface PoolSettings {
  readonly config: ResolvedConfig
  /** By name. */
  readonly providers: ReadonlyMap<string, Provider>
}

export interface PoolOptions {
  readonly settings: () => PoolSettings
  readonly store: AccountStore
  readonly network: { fetch(proxy: string | undefined): typeof globalThis.fetch }
  readonly events: Events
  /** Aborts when the gateway closes. */
  readonly closing: AbortSignal
  readonly now: () => number
}

/** A conversation without a name waits at two marks, and is known by its account and by what was said last. */
const PINS_OF_A_TRAIL = 4
/** As long as OpenAI keeps a response; files and batches live as long, or longer; ms. */
const RESOURCE_IDLE_MS = 30 * 86_400_000

/** A quota poll is given up after this; ms. */
const POLL_MS = 15_000

/**
 * The accounts and everything that is remembered about them, which outlives a reload of the config. Whatever happens to
 * an account is applied here, so that it is saved and told.
 */
export class Pool {
  readonly accounts: Accounts
  readonly tokens: Tokens
  readonly facts: Facts
  /** Conversations. */
  readonly pins: Pins
  /**
   * Opaque values that an account issued. Apart from the conversations: a busy one gets a new value with each answer,
   * and would push all others out.
   */
  readonly issued: Pins
  /** Conversations that have no name. */
  readonly trails: Trails
  /** Accounts of resources, such as files. Apart from the conversations for the same reason as `issued`. */
  readonly resources: Pins
  readonly now: () => number
  readonly settings: () => PoolSettings
  readonly #unauthorized: Unauthorized
  /** The last known state of each account: cooldowns end by the clock, which nothing tells. */
  readonly #states = new WeakMap<Account, AccountState>()
  /** Why each account could not be polled the last time. */
  readonly #pollTrouble = new WeakMap<Account, string | undefined>()

  constructor(private readonly options: PoolOptions) {
    const { settings, store, now } = options
    this.now = now
    this.settings = settings
    this.#unauthorized = new Unauthorized(now)
    this.accounts = new Accounts(store)
    this.tokens = new Tokens({
      provider: (name) => this.#provider(name),
      // A refresh that has begun is not broken off when the gateway closes: its answer would be lost.
      call: (account, timeoutMs) => ({ fetch: this.#fetch(account), signal: deadline(timeoutMs) }),
      settings: () => settings().config.refresh,
      spent: store.spent,
      apply: (account, outcome) => this.#applyRefresh(account, outcome),
      now,
    })
    this.facts = new Facts({
      provider: (name) => this.#provider(name),
      call: (account, timeoutMs) => this.#call(account, timeoutMs),
      applyVerdict: (account, verdict, credential) => this.applyVerdict(account, verdict, credential),
      found: (account) => this.#save(account),
      now,
    })
    this.pins = store.openPins('pin', settings().config.pins, now)
    this.issued = store.openPins('issued', settings().config.pins, now)
    const { max, idleMs } = settings().config.pins
    this.trails = new Trails(store.openPins('trail', { max: max * PINS_OF_A_TRAIL, idleMs }, now))
    this.resources = store.openPins('resource', { max, idleMs: RESOURCE_IDLE_MS }, now)
  }

  #provider(name: string): Provider | undefined {
    return this.settings().providers.get(name)
  }

  #fetch(account: Account): typeof globalThis.fetch {
    const { provider, id, declared } = account
    const { providers } = this.settings().config
    return remembering(
      account,
      this.options.network.fetch(declared.proxy ?? proxyOf(providers[provider], id)),
    )
  }

  #call(account: Account, timeoutMs: number): CallContext {
    return { fetch: this.#fetch(account), signal: deadline(timeoutMs, this.options.closing) }
  }

  /** The accounts of a provider as its local answers see them. */
  forAnswers(provider: string): PoolAccount[] {
    const now = this.now()
    return this.accounts.of(provider).map((account) => account.forAnswers(now))
  }

  /** `credential` is the one that the upstream accepted, here and in {@link Pool.observe}. */
  succeeded(account: Account, model: string | undefined, credential: object): void {
    if (!account.holds(credential)) return
    account.succeeded(model, this.now())
    this.#unauthorized.succeeded(account)
    this.#save(account)
  }

  /**
   * Applies a verdict to an account, whatever brings it: an answer, a late failure in a stream, a WebSocket frame, a
   * poll, a discovery. `credential` is the one that the upstream judged: if the account has another login by now, nothing
   * changes.
   * @returns for `unauthorized` what has become of the token, and `fresh` if doubted facts have changed: then the request
   * can be sent to the account again; nothing for all other verdicts
   */
  async applyVerdict(
    account: Account,
    verdict: Verdict,
    credential: object,
  ): Promise<TokenResult | undefined> {
    if (verdict.kind === 'unauthorized') return this.#refuseToken(account, verdict.reason, credential)
    if (!account.holds(credential)) return undefined
    const doubts = verdict.kind === 'refused' && verdict.doubts === 'facts'
    if (doubts && (await this.facts.doubt(account))) return { kind: 'fresh' }
    if (verdict.kind === 'needs-login' && account.credential === credential)
      this.#applyRefresh(account, verdict)
    if (verdict.kind === 'cooling' || verdict.kind === 'exhausted') this.#cool(account, verdict)
    if (verdict.kind === 'refused' && verdict.model !== undefined) this.#cool(account, verdict)
    return undefined
  }

  /**
   * After a 401: refreshes the token. If a fresh one is refused as well, that says nothing about the login, and the
   * account cools down. If most accounts are refused at once, it is the upstream's trouble and no account cools down.
   */
  async #refuseToken(account: Account, reason: string, credential: object): Promise<TokenResult> {
    const result = await this.tokens.replaceRefused(account, credential)
    if (result.kind !== 'refused') return result
    const alike = usable(this.accounts.of(account.provider)).filter(
      ({ inspection }) => inspection.kind === account.inspection.kind,
    )
    const { forMs, most } = this.#unauthorized.refused(account, alike)
    if (most) {
      for (const one of this.#unauthorized.acquit()) this.#save(one)
      return { kind: 'unavailable', reason: `the tokens of most accounts were refused: ${reason}` }
    }
    const ended = forMs >= NEW_LOOK_MS || hasEnded(account, this.now())
    if (ended && !this.tokens.canRefresh(account)) {
      const off = account.inspection.refreshable ? ', and refreshing is turned off' : ''
      this.#applyRefresh(account, { kind: 'needs-login', reason: `the credential was refused${off}` })
      return { kind: 'needs-login' }
    }
    const cooldown = this.#cool(account, { kind: 'cooling', reason }, NEW_LOOK_MS)
    this.#unauthorized.cooled(account, cooldown)
    return result
  }

  /** `longestMs` bounds a cooldown whose length the upstream does not tell. */
  #cool(account: Account, verdict: CooldownVerdict, longestMs?: number): Cooldown {
    if (verdict.kind === 'exhausted' && verdict.plan) account.windows.plan = verdict.plan
    const cooldown = account.cool(verdict, this.now(), longestMs)
    this.#save(account)
    const { kind, reason, until } = cooldown
    this.options.events.emit('cooldown', { account: account.key, kind, reason, until, model: verdict.model })
    return cooldown
  }

  #applyRefresh(account: Account, told: RefreshOutcome): void {
    const outcome = 'reason' in told ? { ...told, reason: redact(told.reason) } : told
    if (outcome.kind === 'needs-login') account.loginNeeded = { reason: outcome.reason, since: this.now() }
    this.#save(account)
    this.options.events.emit('refreshOutcome', { account: account.key, outcome })
  }

  #save(account: Account): void {
    this.options.store.saveAccount(account)
    this.noteState(account)
  }

  /** Tells the state of an account if it has changed. */
  noteState(account: Account): void {
    const from = this.#states.get(account)
    const to = account.state(this.now())
    this.#states.set(account, to)
    if (from !== undefined && from !== to)
      this.options.events.emit('state', { account: account.key, from, to })
  }

  /** Only the user disables and enables an account. @returns whether there is an account of this id */
  setDisabled(id: string, disabled: boolean): boolean {
    const account = this.accounts.all().find((candidate) => candidate.id === id)
    if (!account) return false
    account.disabled = disabled
    this.#save(account)
    return true
  }

  /** After a restart or a reload: lets every account be looked at again. */
  doubtAll(): void {
    for (const account of this.accounts.all()) {
      account.doubt()
      this.#save(account)
    }
  }

  /** The user asks for a new look: whatever stands against an account is dropped, but for the user's own `disabled`. */
  retry(account: Account): void {
    account.forgetLimits()
    this.tokens.forgetTrouble(account)
    this.facts.forgetTrouble(account)
    this.#unauthorized.succeeded(account)
    this.#save(account)
    void this.tokens.reconcile(account)
    void this.pollQuota(account).catch(() => {})
  }

  /** Quota as an answer or a poll tells it. */
  observe(account: Account, quota: Quota, source: 'headers' | 'poll', credential: object): void {
    if (!account.holds(credential)) return
    account.observe(quota, source, this.now())
    this.#save(account)
  }

  /** Asks the upstream for an account's quota, if it can be asked. */
  async pollQuota(account: Account): Promise<void> {
    const provider = this.#provider(account.provider)
    if (!provider?.pollQuota || (await this.#whyNotReady(account)) !== undefined) return
    const { credential } = account
    const polled = provider.pollQuota(account.forProvider(), this.#call(account, POLL_MS))
    const quota = await polled.catch((error: unknown) => {
      this.#tellPoll(account, redact(messageOf(error)))
      throw error
    })
    this.#tellPoll(account, undefined)
    if (quota) this.observe(account, quota, 'poll', credential)
  }

  /** Told once, and not at every poll. */
  #tellPoll(account: Account, trouble: string | undefined): void {
    if (this.#pollTrouble.get(account) === trouble || this.options.closing.aborted) return
    this.#pollTrouble.set(account, trouble)
    this.options.events.emit('poll', { account: account.key, trouble })
  }

  /**
   * Redeems the account's reset credit that expires soonest, and lets the account be asked again.
   * @throws with the reason if that is not possible
   */
  async redeem(account: Account): Promise<void> {
    const provider = this.#provider(account.provider)
    if (!provider?.redeem) throw new Error(`accounts of ${account.provider} have no reset credits`)
    const reason = await this.#whyNotReady(account)
    if (reason !== undefined) throw new Error(reason)
    const { credential } = account
    const quota = await provider.redeem(account.forProvider(), this.#call(account, POLL_MS))
    account.redeemed()
    if (quota) this.observe(account, quota, 'poll', credential)
    this.#save(account)
    if (!quota) await this.pollQuota(account).catch(() => {})
  }

  /** Why the upstream cannot be called with the account's credential. */
  async #whyNotReady(account: Account): Promise<string | undefined> {
    const token = await this.tokens.ready(account)
    if (token.kind === 'unavailable') return token.reason
    if (token.kind !== 'fresh') return account.loginNeeded?.reason ?? 'its token was refused'
    return this.facts.ready(account)
  }
}

/** A call that fails may quote new tokens of its answer, which no file has yet. */
function remembering(account: Account, ask: typeof globalThis.fetch): typeof globalThis.fetch {
  return async (...call) => {
    const response = await ask(...call)
    // A body that breaks off breaks off for the caller, too.
    const text = await response
      .clone()
      .text()
      .catch(() => '')
    rememberAnswer(account, text)
    return response
  }
}
