import type { Candidate } from '../config/account.js'
import type { Account } from '../src/accounts/account.js'
import {
  choose,
  first,
  fit,
  free,
  freeWithoutQuota,
  heldBack,
  mayStay,
  StrategyFailed,
  usable,
} from '../src/accounts/selection.js'
import type { Pool } from '../src/pool/pool.js'
import { adaptation } from './auth-injection.js'
import type { Exchange, PassedOver } from './exchange.js'
import { GatewayFailure } from './failure.js'
import { heldBackHome, homeOfResources } from './resources.js'
import { homeOf, ownAccounts, pinOf } from './stickiness.js'
import type { Tries } from './tries.js'

/** How often a waiting request looks whether another request's probe has ended; ms. */
const PROBE_LOOK_MS = 200

/** The accounts that one request can be sent to, and the choice among them. */
export class Candidates {
  /** All of the route's provider. */
  readonly all: readonly Account[]
  /** The accounts that could ever serve the request. */
  #able: readonly Account[]
  #refitted = false

  constructor(
    private readonly exchange: Exchange,
    private readonly pool: Pool,
    private readonly tries: Tries,
  ) {
    this.all = pool.accounts.of(exchange.route.providerName)
    this.#able = this.#fit()
  }

  #fit(declining?: ReadonlySet<Account>): readonly Account[] {
    const { provider } = this.exchange
    return this.#atHome(this.#owned(fit(this.all, provider, this.exchange, declining)), declining)
  }

  /** Once an account does not take the request's form, all others of its kind are left out, asked or not. */
  refit(): void {
    if (this.#refitted) return
    this.#refitted = true
    const declines = (account: Account) => 'refusal' in (adaptation(this.exchange, account) ?? {})
    this.#able = this.#fit(new Set(this.#able.filter(declines)))
  }

  /** The accounts to choose from; the conversation's own alone while no other one can read the request. */
  get fitting(): readonly Account[] {
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
    const home = homeOfResources(exchange, this.all, pool.resources)
    exchange.home = home
    if (!home) return fitting
    if (fitting.includes(home.account)) return [home.account]
    if (declining?.has(home.account)) return []
    // An account that is kept for what no other one can serve: this is such a request.
    const others = new Set(this.all.filter((account) => account !== home.account))
    const needed = fit(this.all, exchange.provider, exchange, others)
    if (needed.length === 0) throw heldBackHome(home)
    return needed
  }

  /** A request that changes an account goes to its owner's account only. */
  #owned(fitting: Account[]): Account[] {
    const { conversation } = this.exchange
    if (!conversation?.ownerOnly) return fitting
    const own = fitting.filter((account) => ownAccounts(conversation, this.all).includes(account))
    if (own.length > 0) return own
    const message =
      'this request would change an account, and the account of your own login is not in the pool'
    throw new GatewayFailure(403, 'not_your_account', message)
  }

  /** The account to ask now; keeps the reasons for `explain`. */
  pick(now: number): Pick {
    const { exchange, tries, pool } = this
    const { model } = exchange
    const fitting = this.fitting
    const asked = (exchange.usesQuota ? free : freeWithoutQuota)(fitting, tries.accounts, model, now)
    const mayWait = tries.waitedMs < exchange.route.retry.waitForSlotMs
    const able = mayWait ? asked : asked.filter(({ hasRoom }) => hasRoom)
    const home = homeOf(exchange, able, pool, this.all)
    const stays = home && (!exchange.usesQuota || mayStay(home.account, able, model, now))
    const offered = this.#first(able, now)
    const picked = stays ? withRoom(home) : this.#choose(offered, now)
    const { account, by, candidates = [] } = picked
    // A waiting request polls; only its last empty pick is kept.
    if (!account && exchange.picks.at(-1)?.account === undefined) exchange.picks.pop()
    // An account that the conversation stays on was compared with no other.
    const others = stays
      ? []
      : passedOver({ all: this.all, fitting, offered, tried: tries.accounts, model, now })
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
  nextLook(now: number): number {
    const { model } = this.exchange
    const looks = usable(this.fitting).flatMap((account) =>
      account.unavailable(model, now) === 'probing'
        ? now + PROBE_LOOK_MS
        : (account.availableAt(now, model) ?? []),
    )
    return looks.length > 0 ? Math.min(...looks) : Infinity
  }
}

/** An account, or those on which the request has to wait for room; neither if none is left. */
export interface Pick {
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
  if (offered.length === all.length && all.every(({ hasRoom }) => hasRoom)) return []
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
