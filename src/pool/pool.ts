import type { ResolvedConfig } from '../../config/config.js'
import type { PoolAccount, Provider, Quota, Verdict } from '../../config/provider.js'
import type { Account } from '../accounts/account.js'
import type { Pins } from '../accounts/pins.js'
import type { TokenResult, Tokens } from '../refresh/tokens.js'
import type { Events } from '../telemetry/events.js'
import type { Accounts } from '../accounts/accounts.js'
import type { Facts } from './facts.js'

/** The settings in force, as far as the pool goes by them. */
export interface PoolSettings {
  readonly config: ResolvedConfig
  /** By name. */
  readonly providers: ReadonlyMap<string, Provider>
}

type CooldownVerdict = Extract<Verdict, { kind: 'cooling' | 'exhausted' | 'refused' }>

export interface PoolParts {
  readonly accounts: Accounts
  readonly tokens: Tokens
  readonly facts: Facts
  readonly pins: Pins
  readonly issued: Pins
  readonly events: Events
  readonly save: (account: Account) => void
  readonly now: () => number
}

/** The accounts and everything that is remembered about them. What happens to an account goes through here. */
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

  constructor(private readonly parts: PoolParts) {
    this.accounts = parts.accounts
    this.tokens = parts.tokens
    this.facts = parts.facts
    this.pins = parts.pins
    this.issued = parts.issued
    this.now = parts.now
  }

  /** The accounts of a provider as `answer` and its like see them. */
  forAnswers(provider: string): PoolAccount[] {
    const now = this.now()
    return this.accounts.of(provider).map((account) => account.forAnswers(now))
  }

  succeeded(account: Account, model: string | undefined): void {
    account.succeeded(model, this.now())
    this.parts.save(account)
  }

  /**
   * Applies a verdict to an account, whatever brings it: an answer, a late failure in a stream, a WebSocket frame, a
   * poll, a discovery. This is the only place that does, so that every change is saved and told. `credential` is the
   * one that the upstream judged: if the account has another one by now, nothing changes.
   * @returns for `unauthorized` what has become of the token; nothing for all others
   */
  async applyVerdict(
    account: Account,
    verdict: Verdict,
    credential: object = account.credential,
  ): Promise<TokenResult | undefined> {
    if (verdict.kind === 'unauthorized') return this.tokens.renew(account, credential)
    if (account.credential !== credential) return undefined
    if (verdict.kind === 'needs-login') this.#needLogin(account, verdict.reason)
    if (verdict.kind === 'cooling' || verdict.kind === 'exhausted') this.#cool(account, verdict)
    if (verdict.kind === 'refused' && verdict.model !== undefined) this.#cool(account, verdict)
    return undefined
  }

  #cool(account: Account, verdict: CooldownVerdict): void {
    if (verdict.kind === 'exhausted' && verdict.plan) account.windows.plan = verdict.plan
    const { kind, reason, until } = account.rest(verdict, this.now())
    this.parts.save(account)
    this.parts.events.emit('cooldown', { account: account.key, kind, reason, until, model: verdict.model })
  }

  #needLogin(account: Account, reason: string): void {
    account.loginNeeded = { reason, since: this.now() }
    this.parts.save(account)
    this.parts.events.emit('refresh', { account: account.key, outcome: `needs login: ${reason}` })
  }

  /** @deprecated use {@link Pool.applyVerdict} */
  rest(account: Account, verdict: CooldownVerdict): void {
    void this.applyVerdict(account, verdict)
  }

  /** @deprecated use {@link Pool.applyVerdict} */
  needsLogin(account: Account, reason: string): void {
    void this.applyVerdict(account, { kind: 'needs-login', reason })
  }

  /** The user's word, which nothing else changes. Returns whether there is an account of this id. */
  setDisabled(id: string, disabled: boolean): boolean {
    const account = this.accounts.all().find((candidate) => candidate.id === id)
    if (!account) return false
    account.disabled = disabled
    this.parts.save(account)
    return true
  }

  observe(account: Account, quota: Quota, source: 'headers' | 'poll'): void {
    account.observe(quota, source, this.now())
    this.parts.save(account)
  }
}
