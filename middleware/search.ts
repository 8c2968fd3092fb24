import { setTimeout as delay } from 'node:timers/promises'
import type { Account } from '../src/accounts/account.js'
import { available, choose, fit, StrategyFailed } from '../src/accounts/selection.js'
import type { Pool } from '../src/pool/pool.js'
import type { Exchange, HeldAnswer, Outcome, PickRecord } from './exchange.js'
import { finalAnswer } from './failure.js'
import { GatewayFailure } from './gateway-failure.js'
import { Tries } from './tries.js'
import { homeOf, pin } from './stickiness.js'

/** How often a request that may wait looks whether another one's probe has ended; ms. */
const PROBE_LOOK_MS = 200

/** One request's search for an account: whom to ask next, and what is remembered of it. */
export class Search {
  readonly tries = new Tries()
  readonly #all: readonly Account[]
  readonly #fitting: readonly Account[]
  readonly #deadline: number

  constructor(
    private readonly exchange: Exchange,
    private readonly pool: Pool,
  ) {
    const { providerName, retry } = exchange.route
    this.#all = pool.accounts.of(providerName)
    this.#fitting = this.#owned(fit(this.#all, exchange.provider, exchange))
    this.#deadline = pool.now() + retry.waitForCooldownMs
  }

  /** What changes an account is for its owner alone. */
  #owned(fitting: Account[]): Account[] {
    const { conversation } = this.exchange
    if (!conversation?.ownerOnly) return fitting
    const own = fitting.filter(
      ({ inspection }) => inspection.identity !== undefined && inspection.identity === conversation.owner,
    )
    if (own.length > 0) return own
    const message =
      'this request would change an account, and the account of your own login is not in the pool'
    throw new GatewayFailure(403, 'not_your_account', message)
  }

  /** The next account to ask; waits for a cooldown to end if the route's policy allows it. */
  async next(): Promise<Account | undefined> {
    for (;;) {
      if (this.exchange.signal.aborted) return undefined
      // One look at the clock: a rest that ended between two of them would be neither over nor waited for.
      const now = this.pool.now()
      const account = this.#pick(now)
      if (account) return account
      if (this.#anyIsBack(now)) continue
      const wait = this.#nextLook(now) - now
      if (wait <= 0 || now + wait > this.#deadline) return undefined
      await delay(wait, undefined, { signal: this.exchange.signal }).catch(() => {})
      this.tries.accounts.clear()
    }
  }

  /** Another request's success may have ended a rest before this one began to wait for it. */
  #anyIsBack(now: number): boolean {
    const { exchange, tries } = this
    if (now >= this.#deadline) return false
    const back = [...tries.rested].filter((account) => account.unavailable(exchange.model, now) === undefined)
    for (const account of back) {
      tries.rested.delete(account)
      tries.accounts.delete(account)
    }
    return back.length > 0
  }

  #pick(now: number): Account | undefined {
    const { exchange, tries } = this
    const offered = available(this.#fitting, tries.accounts, exchange.model, now)
    const { account, by } = this.#choose(offered, now)
    const { accounts: tried } = tries
    const choice = { chosen: account, all: this.#all, fitting: this.#fitting, offered, tried }
    const others = passedOver({ ...choice, model: exchange.model, now })
    // Who waits looks again and again.
    if (!account && exchange.picks.at(-1)?.account === undefined) exchange.picks.pop()
    exchange.picks.push({ account: account?.key, by, others })
    return account
  }

  #choose(offered: readonly Account[], now: number): { account: Account | undefined; by: string } {
    const { exchange, pool, tries } = this
    if (offered.length === 0) return { account: undefined, by: 'nobody is left' }
    const home = homeOf(exchange, offered, pool.pins)
    if (home) return home
    try {
      const account = choose(offered, exchange.route.strategy, {
        conversation: exchange.conversationKey,
        model: exchange.model,
        route: exchange.prefix,
        attempt: tries.accounts.size + 1,
        now,
      })
      return { account, by: exchange.route.strategy.name }
    } catch (error) {
      if (error instanceof StrategyFailed) throw strategyFailure(error)
      throw error
    }
  }

  /** When it is worth looking again: the nearest rest ends, or a probe may have; ms since 1970. */
  #nextLook(now: number): number {
    const { model } = this.exchange
    const waiting = this.#fitting.filter((account) => !account.disabled && !account.loginNeeded)
    const looks = waiting.flatMap((account) =>
      account.unavailable(model, now) === 'probing'
        ? now + PROBE_LOOK_MS
        : (account.availableAt(now, model) ?? []),
    )
    return looks.length > 0 ? Math.min(...looks) : Infinity
  }

  lease(account: Account): () => void {
    this.tries.accounts.add(account)
    return account.lease(this.exchange.model, this.pool.now())
  }

  commit(account: Account, answer: HeldAnswer, release: () => void): Outcome {
    const { exchange, pool } = this
    if (answer.status < 400) {
      pool.succeeded(account, exchange.model)
      pin(exchange, account, pool.pins)
      // The upstream is well, so their trouble is their own: they rest, but softly.
      for (const troubled of this.tries.troubled)
        if (troubled !== account) pool.rest(troubled, { kind: 'cooling', reason: 'upstream_errors' })
    }
    this.tries.refusal?.answer.discard()
    return { kind: 'upstream', answer, account, release }
  }

  giveUp(): Outcome {
    const { refusal, refusing } = this.tries
    const usable = this.#fitting.filter((account) => !account.disabled && !account.loginNeeded)
    if (refusal && usable.every((account) => refusing.has(account)))
      return { kind: 'upstream', ...refusal, release: () => {} }
    refusal?.answer.discard()
    return { kind: 'own', answer: finalAnswer(this.exchange, this.#fitting, this.tries, this.pool.now()) }
  }
}

function strategyFailure(error: StrategyFailed): GatewayFailure {
  const cause = error.cause instanceof Error ? `: ${error.cause.message}` : ''
  return new GatewayFailure(500, 'strategy_failed', `${error.message}${cause}`)
}

/** What an account was chosen from. */
export interface Choice {
  readonly chosen: Account | undefined
  /** All of the route's provider. */
  readonly all: readonly Account[]
  /** Those that could ever serve the request. */
  readonly fitting: readonly Account[]
  /** Those that could be asked now. */
  readonly offered: readonly Account[]
  readonly tried: ReadonlySet<Account>
  readonly model: string | undefined
  readonly now: number
}

/** Why the others were not asked; for `explain`. */
export function passedOver(choice: Choice): PickRecord['others'] {
  return choice.all
    .filter((account) => account !== choice.chosen)
    .map((account) => ({ account: account.key, why: whyNot(account, choice) }))
}

function whyNot(account: Account, { fitting, offered, tried, model, now }: Choice): string {
  if (offered.includes(account)) return 'not chosen'
  if (!fitting.includes(account)) return 'not for this request'
  if (tried.has(account)) return 'tried'
  const state = account.unavailable(model, now)
  if (state !== undefined) return state
  return account.refuses(model, now) ? 'cannot serve this model' : 'held back'
}
