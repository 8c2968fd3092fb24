import type { ResolvedConfig } from '../../config/config.js'
import type { CallContext, PoolAccount, Provider, Quota, Verdict } from '../../config/provider.js'
import type { AccountStore } from '../accounts/account-store.js'
import type { Account } from '../accounts/account.js'
import { Accounts } from '../accounts/accounts.js'
import type { Pins } from '../accounts/pins.js'
import type { RefreshOutcome } from '../refresh/refresh.js'
import { type TokenResult, Tokens } from '../refresh/tokens.js'
import type { Events } from '../telemetry/events.js'
import { deadline } from './deadline.js'
import { Facts } from './facts.js'

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

type CooldownVerdict = Extract<Verdict, { kind: 'cooling' | 'exhausted' | 'refused' }>

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
  readonly now: () => number
  readonly settings: () => PoolSettings

  constructor(private readonly options: PoolOptions) {
    const { settings, store, now } = options
    this.now = now
    this.settings = settings
    this.accounts = new Accounts(store)
    this.tokens = new Tokens({
      provider: (name) => this.#provider(name),
      // A refresh that has begun is not broken off when the gateway closes: its answer would be lost.
      call: (name, timeoutMs) => ({ fetch: this.#fetch(name), signal: deadline(timeoutMs) }),
      settings: () => settings().config.refresh,
      spent: store.spent,
      apply: (account, outcome) => this.#applyRefresh(account, outcome),
      now,
    })
    this.facts = new Facts({
      provider: (name) => this.#provider(name),
      call: (name, timeoutMs) => this.#call(name, timeoutMs),
      applyVerdict: (account, verdict, credential) => this.applyVerdict(account, verdict, credential),
      found: (account) => store.saveAccount(account),
      now,
    })
    this.pins = store.openPins('pin', settings().config.pins, now)
    this.issued = store.openPins('issued', settings().config.pins, now)
  }

  #provider(name: string): Provider | undefined {
    return this.settings().providers.get(name)
  }

  #fetch(name: string): typeof globalThis.fetch {
    return this.options.network.fetch(this.settings().config.providers[name]?.proxy)
  }

  #call(name: string, timeoutMs: number): CallContext {
    return { fetch: this.#fetch(name), signal: deadline(timeoutMs, this.options.closing) }
  }

  /** The accounts of a provider as its local answers see them. */
  forAnswers(provider: string): PoolAccount[] {
    const now = this.now()
    return this.accounts.of(provider).map((account) => account.forAnswers(now))
  }

  succeeded(account: Account, model: string | undefined): void {
    account.succeeded(model, this.now())
    this.options.store.saveAccount(account)
  }

  /**
   * Applies a verdict to an account, whatever brings it: an answer, a late failure in a stream, a WebSocket frame, a
   * poll, a discovery. `credential` is the one that the upstream judged: if the account has another one by now, nothing
   * changes.
   * @returns for `unauthorized` what has become of the token; nothing for all others
   */
  async applyVerdict(
    account: Account,
    verdict: Verdict,
    credential: object,
  ): Promise<TokenResult | undefined> {
    if (verdict.kind === 'unauthorized') return this.tokens.replaceRefused(account, credential)
    if (account.credential !== credential) return undefined
    if (verdict.kind === 'needs-login') this.#applyRefresh(account, verdict)
    if (verdict.kind === 'cooling' || verdict.kind === 'exhausted') this.#cool(account, verdict)
    if (verdict.kind === 'refused' && verdict.model !== undefined) this.#cool(account, verdict)
    return undefined
  }

  #cool(account: Account, verdict: CooldownVerdict): void {
    if (verdict.kind === 'exhausted' && verdict.plan) account.windows.plan = verdict.plan
    const { kind, reason, until } = account.cool(verdict, this.now())
    this.options.store.saveAccount(account)
    this.options.events.emit('cooldown', {
      account: account.key,
      kind,
      reason,
      until,
      model: verdict.model,
    })
  }

  #applyRefresh(account: Account, outcome: RefreshOutcome): void {
    if (outcome.kind === 'needs-login') account.loginNeeded = { reason: outcome.reason, since: this.now() }
    this.options.store.saveAccount(account)
    this.options.events.emit('refreshOutcome', { account: account.key, outcome })
  }

  /** Only the user disables and enables an account. @returns whether there is an account of this id */
  setDisabled(id: string, disabled: boolean): boolean {
    const account = this.accounts.all().find((candidate) => candidate.id === id)
    if (!account) return false
    account.disabled = disabled
    this.options.store.saveAccount(account)
    return true
  }

  /** Quota as an answer or a poll tells it. */
  observe(account: Account, quota: Quota, source: 'headers' | 'poll'): void {
    account.observe(quota, source, this.now())
    this.options.store.saveAccount(account)
  }

  /** Asks the upstream for an account's quota, if it can be asked. */
  async pollQuota(account: Account): Promise<void> {
    const provider = this.#provider(account.provider)
    if (!provider?.pollQuota || (await this.tokens.ready(account)).kind !== 'fresh') return
    if ((await this.facts.ready(account)) !== undefined) return
    const call = this.#call(account.provider, POLL_MS)
    const quota = await provider.pollQuota(account.forProvider(), call)
    if (quota) this.observe(account, quota, 'poll')
  }
}
