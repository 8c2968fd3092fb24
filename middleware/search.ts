import { setTimeout as delay } from 'node:timers/promises'
import type { Account } from '../src/accounts/account.js'
import { isExhausted, usable } from '../src/accounts/selection.js'
import type { Pool } from '../src/pool/pool.js'
import { Candidates } from './candidates.js'
import type { Exchange, Outcome } from './exchange.js'
import { failureAnswer } from './failure.js'
import { finalAnswer, refusedByAll } from './final-answer.js'
import type { HeldAnswer } from './forward.js'
import { NO_OUTPUT } from './judge.js'
import { rememberMade, rememberServed } from './resources.js'
import { pin } from './stickiness.js'
import { Tries } from './tries.js'

/** An answer for the client, and the credential that got it. */
interface Answered {
  readonly answer: HeldAnswer
  readonly credential: object
}

/** An account that is held for one attempt. */
export interface Leased {
  readonly account: Account
  /** A second call does nothing. */
  readonly release: () => void
}

/** One request's search for an account: which one to ask next, and how the search ends. */
export class Search {
  readonly #candidates: Candidates
  readonly #deadline: number

  constructor(
    private readonly exchange: Exchange,
    private readonly pool: Pool,
    readonly tries: Tries = new Tries(),
  ) {
    this.#candidates = new Candidates(exchange, pool, tries)
    this.#deadline = pool.now() + exchange.route.retry.waitForCooldownMs
  }

  /** The next account to ask; waits for room on it, and for a cooldown to end, as the route's policy allows. */
  async next(): Promise<Leased | undefined> {
    for (;;) {
      if (this.exchange.signal.aborted) return undefined
      if (this.tries.declined) this.#candidates.refit()
      // Read the clock once: a cooldown that ends between two reads would be missed.
      const now = this.pool.now()
      const { account, busy } = this.#candidates.pick(now)
      // Leased at once: another request that waits would find the same room.
      if (account) return this.lease(account)
      if (busy.length > 0) {
        await this.tries.waitForRoom(busy, this.exchange.route.retry.waitForSlotMs, this.exchange.signal)
        continue
      }
      if (this.#offerAgain(now)) continue
      const wait = this.#candidates.nextLook(now) - now
      if (wait <= 0 || now + wait > this.#deadline) return undefined
      await delay(wait, undefined, { signal: this.exchange.signal }).catch(() => {})
      this.tries.accounts.clear()
    }
  }

  /** Another request's success may have cleared a cooldown before this request begins to wait for its end. */
  #offerAgain(now: number): boolean {
    const { exchange, tries } = this
    if (now >= this.#deadline) return false
    const back = [...tries.cooled].filter((account) => account.unavailable(exchange.model, now) === undefined)
    for (const account of back) {
      tries.cooled.delete(account)
      tries.accounts.delete(account)
    }
    return back.length > 0
  }

  lease(account: Account): Leased {
    this.tries.accounts.add(account)
    return { account, release: account.lease(this.exchange.model, this.pool.now(), this.#probes(account)) }
  }

  /** Whether a success means that the account has quota again. */
  #probes(account: Account): boolean {
    return this.exchange.usesQuota || !isExhausted(account)
  }

  commit(account: Account, { answer, credential }: Answered, release: () => void): Outcome {
    const { exchange, pool } = this
    if (answer.status < 400) {
      if (this.#probes(account)) pool.succeeded(account, exchange.model, credential)
      pin(exchange, account, pool)
      rememberServed(exchange, account, pool.resources)
      rememberMade(exchange, account, answer.made ?? [], pool.resources)
      // The upstream serves this account, so the trouble was of the accounts that met it.
      for (const troubled of this.tries.troubled)
        if (troubled !== account)
          pool
            .applyVerdict(troubled, { kind: 'cooling', reason: 'upstream_errors' }, troubled.credential)
            // A listener of the host app has thrown: the request goes on.
            .catch(() => {})
    }
    const { refusal, empty } = this.tries
    refusal?.answer.discard()
    if (empty?.answer !== answer) empty?.answer.discard()
    return { kind: 'upstream', answer, account, credential, release }
  }

  giveUp(): Outcome {
    const { refusal, refusing, trouble, empty, declined } = this.tries
    const { fitting, all } = this.#candidates
    if (declined && usable(fitting).length === 0) return { kind: 'own', answer: declined }
    if (refusal?.replacement) {
      refusal.answer.discard()
      return { kind: 'own', answer: refusal.replacement }
    }
    if (refusal && usable(fitting).every((account) => refusing.has(account))) {
      if (!refusal.ofLogin) return passedOn(refusal)
      refusal.answer.discard()
      return {
        kind: 'own',
        answer: failureAnswer(refusedByAll(this.exchange, refusal.reason), this.exchange),
      }
    }
    refusal?.answer.discard()
    if (empty && trouble?.reason === NO_OUTPUT) return passedOn(empty)
    empty?.answer.discard()
    return { kind: 'own', answer: finalAnswer(this.exchange, { fitting, all }, trouble, this.pool.now()) }
  }
}

/** The upstream's answer as the final one, after no account gave a better one. */
function passedOn({ account, answer }: { readonly account: Account; readonly answer: HeldAnswer }): Outcome {
  return { kind: 'upstream', answer, account, credential: account.credential, release: () => {} }
}
