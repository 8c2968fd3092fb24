import { isRecord } from '../../config/index.js'
import type { ClientRequest, Exhaustion, Provider, Strategy, StrategyContext } from '../../config/provider.js'
import type { Candidate } from '../../config/account.js'
import type { Account } from './account.js'

/** A strategy threw, or named an account that it was not offered. */
export class StrategyFailed extends Error {
  constructor(strategy: string, what: string, cause?: unknown) {
    super(`strategy "${strategy}" ${what}`, { cause })
    this.name = 'StrategyFailed'
  }
}

/**
 * The accounts that could ever serve a request: those of its provider that are fit for it. A user with plan accounts has
 * not agreed to pay per token for what they can serve, even while they cool down.
 */
export function fit(
  accounts: readonly Account[],
  provider: Provider,
  request: ClientRequest,
  /** Accounts that turned out not to serve it. */
  declining?: ReadonlySet<Account>,
): Account[] {
  const able = accounts.filter(
    (account) => !declining?.has(account) && (provider.serves?.(account.forProvider(), request) ?? true),
  )
  const others = accounts.some(isMember)
  const needed = !able.some(isMember)
  return able.filter((account) => isMember(account) || (account.onlyAlone ? !others : needed))
}

/** Whether an account is used like any other, and not held back. */
const isMember = ({ order }: Account): boolean => order < Infinity

/** Those that a request can be sent on, now or once a cooldown is over. */
export function usable(accounts: readonly Account[]): Account[] {
  return accounts.filter((account) => !account.disabled && !account.loginNeeded)
}

/**
 * When the first of these accounts gets its quota back, and that account's plan. `undefined` unless all the usable ones
 * are exhausted.
 */
export function exhaustionOf(
  accounts: readonly Account[],
  model: string | undefined,
  now: number,
): Exhaustion | undefined {
  const asked = usable(accounts)
  if (asked.length === 0 || asked.some((account) => account.state(now, model) !== 'exhausted'))
    return undefined
  const resets = asked.flatMap((account) => account.resetsAt(now, model) ?? [])
  const resetsAt = resets.length > 0 ? Math.min(...resets) : undefined
  const first = asked.find((account) => account.resetsAt(now, model) === resetsAt)
  const exhausted = first
    ?.cooldowns()
    .find((it) => it.cooldown.kind === 'exhausted' && (it.model === undefined || it.model === model))
  return { resetsAt, plan: first?.plan, model, reason: exhausted?.cooldown.reason }
}

/** Those of `fitting` that can be asked now: all that are free, or, if none is, those whose cooldown is doubted. */
export function free(
  fitting: readonly Account[],
  tried: ReadonlySet<Account>,
  model: string | undefined,
  now: number,
): Account[] {
  const ready = fitting.filter(
    (account) => !tried.has(account) && account.unavailable(model, now) === undefined,
  )
  if (ready.length > 0) return ready
  return fitting.filter((account) => !tried.has(account) && account.mayBeProbed(model, now))
}

/** Same, for a request that uses no quota: exhausted accounts serve it as well as others. */
export function freeWithoutQuota(
  fitting: readonly Account[],
  tried: ReadonlySet<Account>,
  model: string | undefined,
  now: number,
): Account[] {
  return fitting.filter((account) => {
    const hindrance = account.unavailable(model, now)
    const isFree = hindrance === undefined || hindrance === 'exhausted' || isExhausted(account)
    return isFree && !tried.has(account) && !account.disabled && !account.loginNeeded
  })
}

/**
 * Those that come first: the accounts of the lowest order, and of these the ones with quota of their plan beyond their
 * reserve, then those in their reserve, then those whose windows are reported to be full, then those that live on credits.
 * An account that has said that it cannot serve the model comes after all orders.
 */
export function first(accounts: readonly Account[], model: string | undefined, now: number): Account[] {
  let found: Account[] = []
  let [leastRefusal, leastOrder, leastShortage] = [Infinity, Infinity, Infinity]
  for (const account of accounts) {
    const refusal = Number(account.refuses(model, now))
    if (refusal > leastRefusal) continue
    const { order } = account
    if (refusal === leastRefusal && order > leastOrder) continue
    const shortage = shortageRank(account, model, now)
    const isEqual = refusal === leastRefusal && order === leastOrder
    if (isEqual && shortage > leastShortage) continue
    if (!isEqual || shortage < leastShortage) found = []
    ;[leastRefusal, leastOrder, leastShortage] = [refusal, order, shortage]
    found.push(account)
  }
  return found
}

/** Those that can be leased now and that come first. */
export function available(...[fitting, tried, model, now]: Parameters<typeof free>): Account[] {
  return first(free(fitting, tried, model, now), model, now)
}

/**
 * Whether a conversation may stay on its account, which is one of `accounts`. An account of a lower order that can serve
 * again does not take it back: the prompt cache is here. An account that is short of quota keeps it only while no other one
 * of its order, or of a lower order, has more.
 */
export function mayStay(
  home: Account,
  accounts: readonly Account[],
  model: string | undefined,
  now: number,
): boolean {
  const refuses = home.refuses(model, now)
  const own = shortageRank(home, model, now)
  if (!refuses && own === 0) return true
  return !accounts.some((account) => {
    if (account.refuses(model, now)) return refuses && shortageRank(account, model, now) < own
    return refuses || (account.order <= home.order && shortageRank(account, model, now) < own)
  })
}

const SHORTAGES = [undefined, 'reserve', 'full', 'credits', 'forbidden-credits'] as const

const shortageRank = (account: Account, model: string | undefined, now: number): number =>
  SHORTAGES.indexOf(account.shortage(model, now))

/** Whether an exhaustion of the account stands, also one that may be probed. */
export function isExhausted(account: Account): boolean {
  return account.cooldowns().some(({ cooldown }) => cooldown.kind === 'exhausted')
}

/** Why an account that is free is not offered, for `explain`. `lowest`: the order of those that are. */
export function heldBack(
  account: Account,
  model: string | undefined,
  now: number,
  lowest: number = account.order,
): string {
  const { order, declared } = account
  if (account.refuses(model, now)) return 'cannot serve this model'
  if (order > lowest) return `passed over: order ${order}`
  if (!account.hasRoom) return `passed over: concurrency ${declared.concurrency}`
  switch (account.shortage(model, now)) {
    case 'reserve':
      return `passed over: reserve of ${declared.reserve} %`
    case 'full':
      return 'its quota is reported as used up'
    case 'credits':
      return 'lives on credits beyond its plan'
    default:
      return 'held back'
  }
}

/** Asks the strategy. `offered` is not empty, and `candidates` are the same accounts. */
export function choose(
  offered: readonly Account[],
  candidates: readonly Candidate[],
  strategy: { readonly name: string; readonly pick: Strategy },
  context: StrategyContext,
): Account {
  let picked
  try {
    picked = strategy.pick(candidates, context)
  } catch (error) {
    throw new StrategyFailed(strategy.name, 'failed', error)
  }
  if (picked === undefined) return offered[0]!
  // A copy of an account is recognised by its id. So is an account of a list that the strategy has sorted.
  const inPlace = offered[candidates.indexOf(picked)]
  const account = inPlace?.id === picked?.id ? inPlace : offered.find(({ id }) => id === picked?.id)
  if (account) return account
  const what = returned(picked, offered)
  throw new StrategyFailed(
    strategy.name,
    `returned ${what}: it must return one of the accounts that it was given, at once, or undefined for the first`,
  )
}

/** A strategy in plain JavaScript may return anything. */
function returned(picked: unknown, offered: readonly Account[]): string {
  if (picked instanceof Promise) {
    picked.catch(() => {})
    return 'a promise'
  }
  if (offered.some(({ id }) => id === picked)) return 'the id of an account'
  return isRecord(picked)
    ? 'an account that it was not offered'
    : picked === null
      ? 'null'
      : `a ${typeof picked}`
}

/** Says which accounts serve only while others cannot: some of them cost money per token. */
export function orderNotices(accounts: readonly Account[]): string[] {
  return accounts.flatMap(({ id, provider, order, onlyAlone, inspection: { kind } }) => {
    const others = accounts.some((other) => other.provider === provider && other.order < order)
    const what = `${id} (${kind ?? provider})`
    if (!others) return []
    if (onlyAlone) return [`${what} is not used while there are other ${provider} accounts`]
    if (order === Infinity)
      return [`${what} is used only for requests that no other ${provider} account can serve`]
    return [
      `${what} has order ${order}: it is used only while no ${provider} account of a lower order can serve`,
    ]
  })
}
