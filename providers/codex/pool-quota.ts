import type {
  Answer,
  ClientRequest,
  Credits,
  PoolAccount,
  Provider,
  QuotaWindow,
} from '../../config/provider.js'
import { header } from '../http.js'
import { fields, text } from '../json.js'
import { jwtClaims } from '../tokens.js'
import { NAMES, quotaFromHeaders } from './quota.js'

/** A window of the pool, as the body of `wham/usage` writes it. All four are whole numbers, or Codex rejects the body. */
export interface UsageWindow {
  readonly used_percent: number
  readonly limit_window_seconds: number
  readonly reset_after_seconds: number
  readonly reset_at: number
}

interface Known {
  readonly usedPercent: number
  readonly lengthMinutes: number
  readonly resetsAt: number
}

/**
 * Those whose quota the pool draws on, now or after a reset. One that is exhausted counts with its 100 percent: left
 * out, the pool would look fresher with every account that runs dry.
 */
export function members(accounts: readonly PoolAccount[]): PoolAccount[] {
  return accounts.filter(
    ({ state, inspection }) =>
      state !== 'needs-login' && state !== 'disabled' && inspection.standby !== 'when-alone',
  )
}

/**
 * The pool's windows, the shorter one first. Windows are put together by their length, since the same position means
 * 5 hours on one plan and 7 days on another; if there are more than two lengths, the two that most accounts have.
 */
export function poolWindows(accounts: readonly PoolAccount[], now: number): (UsageWindow | null)[] {
  const byLength = new Map<number, Known[]>()
  for (const window of accounts.flatMap(({ quota }) =>
    quota.windows.flatMap((window) => known(window, now)),
  )) {
    byLength.set(window.lengthMinutes, [...(byLength.get(window.lengthMinutes) ?? []), window])
  }
  const common = [...byLength.values()].sort((a, b) => b.length - a.length).slice(0, 2)
  const [primary = null, secondary = null] = common
    .sort((a, b) => a[0]!.lengthMinutes - b[0]!.lengthMinutes)
    .map((windows) => aggregate(windows, now))
  return [primary, secondary]
}

/** The client has no word for a window of unknown length, use or end, so such a one is left out. */
function known({ model, usedPercent, lengthMinutes, resetsAt }: QuotaWindow, now: number): Known[] {
  if (model !== undefined || usedPercent === undefined || lengthMinutes === undefined) return []
  return resetsAt === undefined || resetsAt <= now ? [] : [{ usedPercent, lengthMinutes, resetsAt }]
}

/** How much of what the accounts have together is used, and when the first of them gets some back. */
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

/** Credits of all accounts that tell of theirs; a sum only if all of those are numbers. */
export function poolCredits(accounts: readonly PoolAccount[]): object | null {
  const known = accounts.flatMap(({ quota }): Credits[] => (quota.credits ? [quota.credits] : []))
  if (known.length === 0) return null
  const sum = known.reduce((total, { balance }) => total + (balance === undefined ? NaN : Number(balance)), 0)
  return {
    has_credits: known.some(({ hasCredits }) => hasCredits),
    unlimited: known.some(({ unlimited }) => unlimited),
    balance: Number.isNaN(sum) ? null : String(Math.round(sum * 100) / 100),
    approx_local_messages: null,
    approx_cloud_messages: null,
  }
}

/** The windows and credits of `wham/usage` in the headers of an answer. Without any that are known they stay. */
export const poolHeaders: NonNullable<Provider['poolHeaders']> = (headers, accounts, now) => {
  const able = members(accounts)
  if (able.length < 2 || !quotaFromHeaders(headers, now)) return {}
  const windows = poolWindows(able, now)
  if (windows.every((window) => window === null)) return {}
  const credits = fields(poolCredits(able))
  return Object.fromEntries([
    ...NAMES.flatMap((name, index) => windowHeaders(name, windows[index] ?? undefined)),
    ['x-codex-credits-has-credits', flag(credits?.has_credits)],
    ['x-codex-credits-unlimited', flag(credits?.unlimited)],
    ['x-codex-credits-balance', text(credits?.balance)],
  ])
}

function windowHeaders(name: string, window: UsageWindow | undefined): [string, string | undefined][] {
  const minutes = window && Math.round(window.limit_window_seconds / 60)
  const values = {
    'used-percent': window?.used_percent,
    'window-minutes': minutes,
    'reset-after-seconds': window?.reset_after_seconds,
    'reset-at': window?.reset_at,
  }
  return Object.entries(values).map(([field, value]) => [
    `x-codex-${name}-${field}`,
    value === undefined ? undefined : String(value),
  ])
}

/** As the upstream spells it. */
function flag(value: unknown): string | undefined {
  return value === undefined ? undefined : value === true ? 'True' : 'False'
}

/** `wham/usage` for the whole pool: real windows and resets only, under the caller's own names. */
export function usageAnswer(request: ClientRequest, accounts: readonly PoolAccount[], now: number): Answer {
  const able = members(accounts)
  const [primary, secondary] = poolWindows(able, now)
  const spent = able.length > 0 && able.every(({ state }) => state === 'exhausted')
  const known = primary !== null || spent
  const body = {
    ...callerOf(request, able),
    rate_limit: known ? limit(spent, primary, secondary) : null,
    code_review_rate_limit: null,
    additional_rate_limits: null,
    credits: poolCredits(able),
  }
  return { status: 200, headers: { 'cache-control': 'no-store' }, body }
}

function limit(spent: boolean, primary: unknown, secondary: unknown): object {
  return { allowed: !spent, limit_reached: spent, primary_window: primary, secondary_window: secondary }
}

/** Who asks, by the caller's own headers: never anything of a pool account but a plan that all of them share. */
function callerOf({ headers }: ClientRequest, accounts: readonly PoolAccount[]): object {
  const claims = jwtClaims(header(headers, 'authorization')?.replace(/^bearer /i, ''))
  const auth = fields(claims?.['https://api.openai.com/auth'])
  const plans = new Set(accounts.flatMap(({ quota, inspection }) => quota.plan ?? inspection.plan ?? []))
  const shared = plans.size === 1 ? [...plans][0] : undefined
  return {
    user_id: text(auth?.chatgpt_user_id) ?? null,
    account_id: header(headers, 'chatgpt-account-id') ?? null,
    email: text(claims?.email) ?? text(fields(claims?.['https://api.openai.com/profile'])?.email) ?? null,
    plan_type: text(auth?.chatgpt_plan_type) ?? shared ?? 'unknown',
  }
}
