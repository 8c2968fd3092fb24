import type { ClientRequest, Exhaustion, Provider, Strategy, StrategyContext } from '../../config/provider.js'
import type { Account } from './account.js'

/** A strategy threw, or named an account that it was not offered. */
export class StrategyFailed extends Error {
  constructor(strategy: string, what: string, cause?: unknown) {
    super(`strategy "${strategy}" ${what}`, { cause })
    this.name = 'StrategyFailed'
  }
}

/** The accounts that could ever serve a request: those of its provider that are fit for it. */
export function fit(accounts: readonly Account[], provider: Provider, request: ClientRequest): Account[] {
  const able = accounts.filter((account) => provider.serves?.(account.forProvider(), request) ?? true)
  const members = able.filter((account) => account.inspection.standby === undefined)
  // A user with plan accounts has not agreed to pay per token, even while they cool down.
  return members.length > 0 ? able.filter((account) => account.inspection.standby !== 'when-alone') : able
}

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

/** Those of `fitting` that can be leased now; standbys only if no other account can. */
export function available(
  fitting: readonly Account[],
  tried: ReadonlySet<Account>,
  model: string | undefined,
  now: number,
): Account[] {
  const free = fitting.filter(
    (account) => !tried.has(account) && account.unavailable(model, now) === undefined,
  )
  const members = free.filter((account) => account.inspection.standby === undefined)
  const offered = members.length > 0 ? members : free
  const willing = offered.filter((account) => !account.refuses(model, now))
  return willing.length > 0 ? willing : offered
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
  // A strategy in plain JavaScript may return anything, null too.
  const account = offered.find(({ id }) => id === picked?.id)
  if (!account) throw new StrategyFailed(strategy.name, 'picked an account that it was not offered')
  return account
}

/** Says which accounts are held back and when they are used: some of them cost money per token. */
export function standbyNotices(accounts: readonly Account[]): string[] {
  return accounts.flatMap(({ id, provider, inspection: { standby, kind } }) => {
    const others = accounts.some(
      (other) => other.provider === provider && other.inspection.standby === undefined,
    )
    const what = `${id} (${kind ?? provider})`
    if (standby === 'when-exhausted')
      return [`${what} is used only when no other ${provider} account can serve`]
    if (standby === 'when-alone' && others)
      return [`${what} is not used while there are other ${provider} accounts`]
    return []
  })
}
