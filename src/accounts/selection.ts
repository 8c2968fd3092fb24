import { isRecord } from '../../config/index.js'
import type { ClientRequest, Exhaustion, Provider, Strategy, StrategyContext } from '../../config/provider.js'
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
export function fit(accounts: readonly Account[], provider: Provider, request: ClientRequest): Account[] {
  const able = accounts.filter((account) => provider.serves?.(account.forProvider(), request) ?? true)
  const others = accounts.some(isMember)
  const needed = !able.some(isMember)
  return able.filter(({ inspection: { standby } }) => {
    if (standby === 'when-alone') return !others
    return standby !== 'when-needed' || needed
  })
}

/** Whether an account is used like any other, and not held back. */
const isMember = ({ inspection }: Account): boolean => inspection.standby === undefined

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

/**
 * Those of `fitting` that can be leased now and that come first: accounts with quota of their plan, then those whose
 * windows are reported to be full, then those that live on credits, then standbys. If there are none, accounts whose
 * cooldown is doubted.
 */
export function available(
  fitting: readonly Account[],
  tried: ReadonlySet<Account>,
  model: string | undefined,
  now: number,
): Account[] {
  const untried = fitting.filter((account) => !tried.has(account))
  const free = untried.filter((account) => account.unavailable(model, now) === undefined)
  const offered = free.length > 0 ? free : untried.filter((account) => account.mayBeProbed(model, now))
  const first = Math.min(...offered.map((account) => rank(account, model, now)))
  return offered.filter((account) => rank(account, model, now) === first)
}

/** Same, for a request that uses no quota: exhausted accounts serve it as well as others. */
export function availableWithoutQuota(
  fitting: readonly Account[],
  tried: ReadonlySet<Account>,
  model: string | undefined,
  now: number,
): Account[] {
  return fitting.filter((account) => {
    const hindrance = account.unavailable(model, now)
    const free = hindrance === undefined || hindrance === 'exhausted' || isExhausted(account)
    return free && !tried.has(account) && !account.disabled && !account.loginNeeded
  })
}

/** Whether an exhaustion of the account stands, also one that may be probed. */
export function isExhausted(account: Account): boolean {
  return account.cooldowns().some(({ cooldown }) => cooldown.kind === 'exhausted')
}

/** The lower, the earlier an account is offered. An account that refuses the model comes after all of its kind. */
function rank(account: Account, model: string | undefined, now: number): number {
  const standby = account.inspection.standby === undefined ? 0 : 6
  const refuses = account.refuses(model, now) ? 3 : 0
  const reserve = account.reserve(model, now)
  return standby + refuses + (reserve === undefined ? 0 : reserve === 'full' ? 1 : 2)
}

/** Why an account that is free is not offered, for `explain`. */
export function heldBack(account: Account, model: string | undefined, now: number): string {
  if (account.refuses(model, now)) return 'cannot serve this model'
  if (account.inspection.standby !== undefined) return 'held back'
  const reserve = account.reserve(model, now)
  if (reserve === 'full') return 'its quota is reported as used up'
  return reserve === undefined ? 'held back' : 'lives on credits beyond its plan'
}

/** Asks the strategy. `offered` is not empty. */
export function choose(
  offered: readonly Account[],
  strategy: { readonly name: string; readonly pick: Strategy },
  context: StrategyContext,
): Account {
  const candidates = offered.map((account) => account.candidate(context.model, context.now))
  let picked
  try {
    picked = strategy.pick(candidates, context)
  } catch (error) {
    throw new StrategyFailed(strategy.name, 'failed', error)
  }
  if (picked === undefined) return offered[0]!
  // A copy of an account is recognised by its id.
  const account = offered.find(({ id }) => id === picked?.id)
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

/** Says which accounts are held back and when they are used: some of them cost money per token. */
export function standbyNotices(accounts: readonly Account[]): string[] {
  return accounts.flatMap(({ id, provider, inspection: { standby, kind } }) => {
    const others = accounts.some((other) => other.provider === provider && isMember(other))
    const what = `${id} (${kind ?? provider})`
    if (standby === 'when-exhausted')
      return [`${what} is used only when no other ${provider} account can serve`]
    if (standby === 'when-needed' && others)
      return [`${what} is used only for requests that no other ${provider} account can serve`]
    if (standby === 'when-alone' && others)
      return [`${what} is not used while there are other ${provider} accounts`]
    return []
  })
}
