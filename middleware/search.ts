import { setTimeout as delay } from 'node:timers/promises'
import type { Candidate } from '../config/account.js'
import type { Answer } from '../config/provider.js'
import { type Account, roomOn } from '../src/accounts/account.js'
import {
  choose,
  first,
  fit,
  free,
  freeWithoutQuota,
  heldBack,
  isExhausted,
  mayStay,
  StrategyFailed,
  usable,
} from '../src/accounts/selection.js'
import type { Pool } from '../src/pool/pool.js'
import { adaptation } from './auth-injection.js'
import type { Exchange, Outcome, PassedOver } from './exchange.js'
import { failureAnswer, GatewayFailure } from './failure.js'
import { finalAnswer, refusedByAll, type Trouble } from './final-answer.js'
import type { HeldAnswer } from './forward.js'
import { NO_OUTPUT } from './judge.js'
import { heldBackHome, homeOfResources, rememberMade, rememberServed } from './resources.js'
import { homeOf, ownAccounts, pin, pinOf } from './stickiness.js'

/** Why an account may be asked a second time for one request; once for each reason. */
export type Replay = 'refresh' | 'stale' | 'repair'

export interface Refusal {
  readonly account: Account
  readonly answer: HeldAnswer
  /** The upstream's words. */
  readonly reason: string
  /** Whether it speaks of the account's login or rights: the client would take that for its own login. */
  readonly ofLogin: boolean
  /** The answer that the client gets in place of the upstream's refusal. */
  readonly replacement?: Answer | undefined
}

/** The state of one request's attempts so far. */
export class Tries {
  readonly accounts = new Set<Account>()
  /** Tried accounts that this request found cooling or exhausted. */
  readonly cooled = new Set<Account>()
  /** Tries that failed for no fault of an account; `retry.attempts` bounds them. */
  spent = 0
  /** How long the request has waited for accounts to have room; ms. */
  waitedMs = 0
  /** The last trouble of the upstream or the network. */
  trouble: Trouble | undefined
  /** Accounts for which the upstream was in trouble; if another account then serves, the trouble was their own. */
  readonly troubled = new Set<Account>()
  /** Accounts that cannot serve this model or path, and the last answer that said so. */
  readonly refusing = new Set<Account>()
  refusal: Refusal | undefined
  /** Why no upstream of such an account takes a request of this form. */
  declined: Answer | undefined
  /** The last stream that ended well without output, and the accounts that gave one. */
  empty: { readonly account: Account; readonly answer: HeldAnswer } | undefined
  readonly #empty = new Set<Account>()
  #replays = new Set<string>()

  /** Waits until one of these accounts may have room, `mostMs` at most in the whole life of the request. */
  async waitForRoom(busy: readonly Account[], mostMs: number, signal: AbortSignal): Promise<void> {
    const startedAt = performance.now()
    await roomOn(busy, mostMs - this.waitedMs, signal)
    // At least one, so that timers that fire early come to an end.
    this.waitedMs += Math.max(1, performance.now() - startedAt)
  }

  mayReplay(account: Account, reason: Replay): boolean {
    const key = `${reason} ${account.key}`
    if (this.#replays.has(key)) return false
    this.#replays.add(key)
    return true
  }

  /** Keeps a stream without output. Returns whether a second account gave one, so that the request itself is the cause. */
  isEmptyAgain(account: Account, answer: HeldAnswer): boolean {
    this.empty?.answer.discard()
    this.empty = { account, answer }
    this.#empty.add(account)
    this.troubled.add(account)
    if (this.#empty.size < 2) return false
    for (const one of this.#empty) this.troubled.delete(one)
    return true
  }

  /** Keeps the answer: if all accounts refuse, the client gets it. */
  refuse(refusal: Refusal): void {
    this.refusing.add(refusal.account)
    this.refusal?.answer.discard()
    this.refusal = refusal
  }
}

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

/** How often a waiting request looks whether another request's probe has ended; ms. */
const PROBE_LOOK_MS = 200

/** One request's search for an account: which one to ask next, and how the search ends. */
export class Search {
  readonly #all: readonly Account[]
  /** The accounts that could ever serve the request. */
  #able: readonly Account[]
  #refitted = false
  readonly #deadline: number

  constructor(
    private readonly exchange: Exchange,
    private readonly pool: Pool,
    readonly tries: Tries = new Tries(),
  ) {
    const { providerName, retry } = exchange.route
    this.#all = pool.accounts.of(providerName)
    this.#able = this.#fit()
    this.#deadline = pool.now() + retry.waitForCooldownMs
  }

  #fit(declining?: ReadonlySet<Account>): readonly Account[] {
    const { provider } = this.exchange
    return this.#atHome(this.#owned(fit(this.#all, provider, this.exchange, declining)), declining)
  }

  /** Once an account does not take the request's form, all others of its kind are left out, asked or not. */
  #refit(): void {
    this.#refitted = true
    const declines = (account: Account) => 'refusal' in (adaptation(this.exchange, account) ?? {})
    this.#able = this.#fit(new Set(this.#able.filter(declines)))
  }

  /** The accounts to choose from; the conversation's own alone while no other one can read the request. */
  get #fitting(): readonly Account[] {
    const { conversation, model } = this.exchange
    if (!conversation?.bound) return this.#able
    const pinned = pinOf(this.exchange, this.pool)
    const home = usable(this.#able).find(({ key }) => key === pinned)
    const canServe =
      home && home.state(this.pool.now(), model) !== 'exhausted' && !this.tries.refusing.has(home)
    return canServe ? [home] : this.#able
  }

  /** A request for things that one account alone has goes to that account, whatever its state: the others know nothing of them. */
  #atHome(fitting: Account[], declining?: ReadonlySet<Account>): Account[] {
    const { exchange, pool } = this
    const home = homeOfResources(exchange, this.#all, pool.resources)
    exchange.home = home
    if (!home) return fitting
    if (fitting.includes(home.account)) return [home.account]
    if (declining?.has(home.account)) return []
    // An account that is kept for what no other one can serve: this is such a request.
    const others = new Set(this.#all.filter((account) => account !== home.account))
    const needed = fit(this.#all, exchange.provider, exchange, others)
    if (needed.length === 0) throw heldBackHome(home)
    return needed
  }

  /** A request that changes an account goes to its owner's account only. */
  #owned(fitting: Account[]): Account[] {
    const { conversation } = this.exchange
    if (!conversation?.ownerOnly) return fitting
    const own = fitting.filter((account) => ownAccounts(conversation, this.#all).includes(account))
    if (own.length > 0) return own
    const message =
      'this request would change an account, and the account of your own login is not in the pool'
    throw new GatewayFailure(403, 'not_your_account', message)
  }

  /** The next account to ask; waits for room on it, and for a cooldown to end, as the route's policy allows. */
  async next(): Promise<Leased | undefined> {
    for (;;) {
      if (this.exchange.signal.aborted) return undefined
      if (this.tries.declined && !this.#refitted) this.#refit()
      // Read the clock once: a cooldown that ends between two reads would be missed.
      const now = this.pool.now()
      const { account, busy } = this.#pick(now)
      // Leased at once: another request that waits would find the same room.
      if (account) return this.lease(account)
      if (busy.length > 0) {
        await this.tries.waitForRoom(busy, this.exchange.route.retry.waitForSlotMs, this.exchange.signal)
        continue
      }
      if (this.#offerAgain(now)) continue
      const wait = this.#nextLook(now) - now
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

  #pick(now: number): Pick {
    const { exchange, tries, pool } = this
    const { model } = exchange
    const fitting = this.#fitting
    const asked = (exchange.usesQuota ? free : freeWithoutQuota)(fitting, tries.accounts, model, now)
    const mayWait = tries.waitedMs < exchange.route.retry.waitForSlotMs
    const able = mayWait ? asked : asked.filter(({ hasRoom }) => hasRoom)
    const home = homeOf(exchange, able, pool, this.#all)
    const stays = home && (!exchange.usesQuota || mayStay(home.account, able, model, now))
    const offered = this.#first(able, now)
    const picked = stays ? withRoom(home) : this.#choose(offered, now)
    const { account, by, candidates = [] } = picked
    // A waiting request polls; only its last empty pick is kept.
    if (!account && exchange.picks.at(-1)?.account === undefined) exchange.picks.pop()
    // An account that the conversation stays on was compared with no other.
    const others = stays
      ? []
      : passedOver({ all: this.#all, fitting, offered, tried: tries.accounts, model, now })
    exchange.picks.push({ account: account?.key, by, at: now, candidates, others })
    return picked
  }

  /** A request that uses no quota goes by the order alone. */
  #first(able: readonly Account[], now: number): Account[] {
    if (this.exchange.usesQuota) return first(able, this.exchange.model, now)
    const lowest = Math.min(...able.map(({ order }) => order))
    return able.filter(({ order }) => order === lowest)
  }

  #choose(first: readonly Account[], now: number): Pick {
    const { exchange, tries } = this
    if (first.length === 0) return { account: undefined, busy: [], by: 'no account is left' }
    const offered = first.filter(({ hasRoom }) => hasRoom)
    if (offered.length === 0) return { account: undefined, busy: first, by: WAITS }
    try {
      const candidates = offered.map((account) => account.candidate(exchange.model, now))
      const account = choose(offered, candidates, exchange.route.strategy, {
        conversation: exchange.conversationKey,
        model: exchange.model,
        route: exchange.prefix,
        attempt: tries.accounts.size + 1,
        now,
      })
      return { account, busy: [], by: exchange.route.strategy.name, candidates }
    } catch (error) {
      if (error instanceof StrategyFailed) throw strategyFailure(error)
      throw error
    }
  }

  /** When to look again: at the end of the nearest cooldown, or soon while a probe runs; ms since 1970. */
  #nextLook(now: number): number {
    const { model } = this.exchange
    const looks = usable(this.#fitting).flatMap((account) =>
      account.unavailable(model, now) === 'probing'
        ? now + PROBE_LOOK_MS
        : (account.availableAt(now, model) ?? []),
    )
    return looks.length > 0 ? Math.min(...looks) : Infinity
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
    if (declined && usable(this.#fitting).length === 0) return { kind: 'own', answer: declined }
    if (refusal?.replacement) {
      refusal.answer.discard()
      return { kind: 'own', answer: refusal.replacement }
    }
    if (refusal && usable(this.#fitting).every((account) => refusing.has(account))) {
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
    const accounts = { fitting: this.#fitting, all: this.#all }
    return { kind: 'own', answer: finalAnswer(this.exchange, accounts, trouble, this.pool.now()) }
  }
}

/** An account, or those on which the request has to wait for room; neither if none is left. */
interface Pick {
  readonly account: Account | undefined
  readonly busy: readonly Account[]
  readonly by: string
  /** What a strategy chose from. */
  readonly candidates?: readonly Candidate[]
}

const WAITS = 'waits: as many requests run as concurrency allows'

function withRoom({ account, by }: { readonly account: Account; readonly by: string }): Pick {
  return account.hasRoom ? { account, busy: [], by } : { account: undefined, busy: [account], by: WAITS }
}

/** The upstream's answer as the final one, after no account gave a better one. */
function passedOn({ account, answer }: { readonly account: Account; readonly answer: HeldAnswer }): Outcome {
  return { kind: 'upstream', answer, account, credential: account.credential, release: () => {} }
}

function strategyFailure(error: StrategyFailed): GatewayFailure {
  const cause = error.cause instanceof Error ? `: ${error.cause.message}` : ''
  return new GatewayFailure(500, 'strategy_failed', `${error.message}${cause}`)
}

/** The accounts that a choice was made from. */
interface Choice {
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

/** Why some accounts were not offered to the strategy; for `explain`. */
function passedOver({ all, fitting, offered, tried, model, now }: Choice): PassedOver[] {
  const [fits, isOffered] = [new Set(fitting), new Set(offered)]
  const lowest = offered[0]?.order
  const others: PassedOver[] = []
  for (const account of all) {
    const { key } = account
    if (isOffered.has(account) && account.hasRoom) continue
    if (!fits.has(account)) others.push({ account: key, why: 'not for this request' })
    else if (tried.has(account)) others.push({ account: key, why: 'tried' })
    else {
      const hindrance = account.unavailable(model, now)
      const until = hindrance === 'exhausted' ? account.resetsAt(now, model) : undefined
      const why = hindrance ?? heldBack(account, model, now, lowest)
      others.push({ account: key, why, until: until ?? account.availableAt(now, model) })
    }
  }
  return others
}
