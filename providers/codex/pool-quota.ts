import type {
  Answer,
  ClientRequest,
  Credits,
  PoolAccount,
  Provider,
  QuotaWindow,
} from '../../config/provider.js'
import { header } from '../http.js'
import { fields } from '../json.js'
import { personOf } from './credentials.js'
import { COMMON, groupsOf, idOf, limitOf, modelOf, NAMES, quotaFromHeaders } from './quota.js'
import { bearerOf } from './requests.js'

/** A window of the pool, as `wham/usage` writes it. Codex rejects the whole body unless all four are whole numbers. */
interface UsageWindow {
  readonly used_percent: number
  readonly limit_window_seconds: number
  readonly reset_after_seconds: number
  readonly reset_at: number
}

/** The pool's quota, as the client gets it in `wham/usage`, in headers and in messages. */
interface PoolQuota {
  readonly primary: UsageWindow | null
  readonly secondary: UsageWindow | null
  readonly credits: PoolCredits | null
}

/**
 * The accounts whose quota the pool draws on, now or after a reset. An exhausted account counts with its 100 percent:
 * without it, the pool would look fresher with every account that runs dry.
 */
function members(accounts: readonly PoolAccount[]): PoolAccount[] {
  return accounts.filter(
    ({ state, order }) => state !== 'needs-login' && state !== 'disabled' && order !== Infinity,
  )
}

/** The pool's quota; of the limits that count one model with `model`, else of those that count all. */
function poolQuota(accounts: readonly PoolAccount[], now: number, model?: string): PoolQuota {
  const windows = accounts.flatMap(({ quota }) => quota.windows.filter((window) => window.model === model))
  const [primary = null, secondary = null] = poolWindows(windows, now)
  return { primary, secondary, credits: poolCredits(accounts) }
}

/**
 * Windows are added up by their length, the shorter one first: `primary` means 5 hours on one plan and 7 days on
 * another. Of more than two lengths, the two that most accounts have are told.
 */
function poolWindows(windows: readonly QuotaWindow[], now: number): UsageWindow[] {
  const byLength = new Map<number, Known[]>()
  for (const window of windows.flatMap((one) => known(one, now)))
    byLength.set(window.lengthMinutes, [...(byLength.get(window.lengthMinutes) ?? []), window])
  const common = [...byLength.values()].sort((a, b) => b.length - a.length).slice(0, 2)
  return common
    .sort((a, b) => a[0]!.lengthMinutes - b[0]!.lengthMinutes)
    .map((windows) => aggregate(windows, now))
}

interface Known {
  readonly usedPercent: number
  readonly lengthMinutes: number
  readonly resetsAt: number
}

/** Codex has no form for a window of unknown length, use or end, so such a window is left out. */
function known({ usedPercent, lengthMinutes, resetsAt }: QuotaWindow, now: number): Known[] {
  if (usedPercent === undefined || lengthMinutes === undefined) return []
  return resetsAt === undefined || resetsAt <= now ? [] : [{ usedPercent, lengthMinutes, resetsAt }]
}

/** The mean use of the accounts' windows, and the first of their resets. */
function aggregate(windows: readonly Known[], now: number): UsageWindow {
  const used = windows.reduce((sum, { usedPercent }) => sum + usedPercent, 0) / windows.length
  const reset = Math.min(...windows.map(({ resetsAt }) => resetsAt))
  return {
    used_percent: Math.round(used),
    limit_window_seconds: windows[0]!.lengthMinutes * 60,
    reset_after_seconds: Math.ceil((reset - now) / 1000),
    reset_at: Math.ceil(reset / 1000),
  }
}

interface PoolCredits {
  readonly has_credits: boolean
  readonly unlimited: boolean
  readonly balance: string | null
  readonly approx_local_messages: null
  readonly approx_cloud_messages: null
}

/** The credits of all accounts that tell theirs. The balance is their sum, or null if one of them is unknown. */
function poolCredits(accounts: readonly PoolAccount[]): PoolCredits | null {
  const told = accounts.flatMap(({ quota }): Credits[] => (quota.credits ? [quota.credits] : []))
  if (told.length === 0) return null
  const sum = told.reduce((total, { balance }) => total + (balance === undefined ? NaN : Number(balance)), 0)
  return {
    has_credits: told.some(({ hasCredits }) => hasCredits),
    unlimited: told.some(({ unlimited }) => unlimited),
    balance: Number.isNaN(sum) ? null : String(Math.round(sum * 100) / 100),
    approx_local_messages: null,
    approx_cloud_messages: null,
  }
}

/** The pool's windows and credits in the headers of an answer. The account's own stay while no window is known. */
export const poolHeaders: NonNullable<Provider['poolHeaders']> = (headers, accounts, now) => {
  const able = members(accounts)
  if (able.length < 2 || !quotaFromHeaders(headers, now)) return {}
  const ofModels = groupsOf(headers).flatMap((group) => {
    const model = modelOf(header(headers, `x-${group}-limit-name`))
    return model === undefined ? [] : [{ group, pool: poolQuota(able, now, model) }]
  })
  const active = idOf(header(headers, 'x-codex-active-limit') ?? COMMON)
  const common = poolQuota(able, now)
  const told = ofModels.find(({ group }) => idOf(group) === active)?.pool ?? common
  if (told.primary === null) return {}
  const replaced = [{ group: COMMON, pool: told }, ...ofModels].map(({ group, pool }) =>
    windowHeaders(group, pool),
  )
  const credits = {
    'x-codex-credits-has-credits': common.credits?.has_credits,
    'x-codex-credits-unlimited': common.credits?.unlimited,
    'x-codex-credits-balance': common.credits?.balance,
  }
  const all: Record<string, Told> = Object.assign({}, ...replaced, credits)
  return Object.fromEntries(Object.entries(all).map(([name, value]) => [name, spelled(value)]))
}

type Told = string | number | boolean | null | undefined

function windowHeaders(group: string, pool: PoolQuota): Record<string, Told> {
  const fieldsOf = (name: (typeof NAMES)[number]) => {
    const window = pool[name]
    return {
      [`x-${group}-${name}-used-percent`]: window?.used_percent,
      [`x-${group}-${name}-window-minutes`]: window && Math.round(window.limit_window_seconds / 60),
      [`x-${group}-${name}-reset-after-seconds`]: window?.reset_after_seconds,
      [`x-${group}-${name}-reset-at`]: window?.reset_at,
    }
  }
  return { ...fieldsOf('primary'), ...fieldsOf('secondary') }
}

/** As the upstream spells it in a header. */
function spelled(value: Told): string | undefined {
  if (typeof value === 'boolean') return value ? 'True' : 'False'
  return value === null || value === undefined ? undefined : String(value)
}

/** A `codex.rate_limits` message with the pool's quota, so that it agrees with `wham/usage`. */
export function withPoolQuota(message: unknown, accounts: readonly PoolAccount[], now: number): unknown {
  const body = fields(message)
  if (body?.type !== 'codex.rate_limits') return message
  const able = members(accounts)
  const model = limitOf(body) === undefined ? undefined : (modelOf(body.limit_name) ?? '')
  const { primary, secondary, credits } = poolQuota(able, now, model)
  // An account's own numbers under a limit that the pool knows nothing of are better than none.
  const limits =
    model !== undefined && primary === null
      ? body.rate_limits
      : { primary: inMinutes(primary), secondary: inMinutes(secondary) }
  const more =
    body.additional_rate_limits === undefined ? {} : { additional_rate_limits: poolOfModels(able, now) }
  return { ...body, ...more, rate_limits: limits, credits }
}

/** The pool's limits that count one model each, as `wham/usage` tells them; null without any. */
function poolOfModels(accounts: readonly PoolAccount[], now: number): object[] | null {
  const windows = accounts.flatMap(({ quota }) => quota.windows)
  const limits = new Map(windows.flatMap(({ name, model }) => (model === undefined ? [] : [[model, name]])))
  const told = [...limits].flatMap(([model, name]) => {
    const { primary, secondary } = poolQuota(accounts, now, model)
    if (primary === null) return []
    const spent = [primary, secondary].some((window) => window !== null && window.used_percent >= 100)
    return [
      {
        limit_name: model,
        // The window's name is the id of its limit and its place.
        metered_feature: name.replace(/ (primary|secondary)$/, ''),
        rate_limit: limitFrom(spent, primary, secondary),
      },
    ]
  })
  return told.length > 0 ? told : null
}

function limitFrom(spent: boolean, primary: UsageWindow | null, secondary: UsageWindow | null): object {
  return { allowed: !spent, limit_reached: spent, primary_window: primary, secondary_window: secondary }
}

function inMinutes(window: UsageWindow | null): object | null {
  if (window === null) return null
  const { used_percent, limit_window_seconds, reset_at } = window
  return { used_percent, window_minutes: Math.round(limit_window_seconds / 60), reset_at }
}

/** `wham/usage` for the whole pool: real windows and resets only, under the caller's own names. */
export function usageAnswer(request: ClientRequest, accounts: readonly PoolAccount[], now: number): Answer {
  const able = members(accounts)
  const { primary, secondary, credits } = poolQuota(able, now)
  const spent = able.length > 0 && able.every(({ state }) => state === 'exhausted')
  const body = {
    ...namesOf(request, able),
    rate_limit: primary !== null || spent ? limitFrom(spent, primary, secondary) : null,
    code_review_rate_limit: null,
    additional_rate_limits: poolOfModels(able, now),
    credits,
  }
  return { status: 200, headers: { 'cache-control': 'no-store' }, body }
}

/** The caller's own names. Of the pool it tells only a plan that all accounts share. */
function namesOf({ headers }: ClientRequest, accounts: readonly PoolAccount[]): object {
  const { userId, email, plan } = personOf(bearerOf(headers))
  const plans = new Set(accounts.flatMap(({ quota, inspection }) => quota.plan ?? inspection.plan ?? []))
  const shared = plans.size === 1 ? [...plans][0] : undefined
  return {
    user_id: userId ?? null,
    account_id: header(headers, 'chatgpt-account-id') ?? null,
    email: email ?? null,
    plan_type: plan ?? shared ?? 'unknown',
  }
}
