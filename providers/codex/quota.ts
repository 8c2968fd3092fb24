import type { IncomingHttpHeaders } from 'node:http'
import type {
  Answer,
  ClientRequest,
  Credits,
  PoolAccount,
  Provider,
  Quota,
  QuotaWindow,
} from '../../config/provider.js'
import { header, join } from '../http.js'
import { type Fields, fields, number, objects, parseJson, text } from '../json.js'
import { jwtClaims } from '../tokens.js'
import { authHeaders, isApiKey, type ResolvedCodexSettings } from './credentials.js'

/** By position, as the upstream tells them: `primary` is the 5-hour window, or the 7-day one on a plan without it. */
const NAMES = ['primary', 'secondary'] as const
/** The group of headers and windows that counts every model. */
const COMMON = 'codex'

/**
 * One account's quota as the `x-codex-*` headers of an answer tell it. A limit of one model has headers of its own
 * (`x-codex-bengalfox-*`), and for a request to that model the common ones only repeat them.
 */
export function quotaFromHeaders(headers: IncomingHttpHeaders, now: number = Date.now()): Quota | undefined {
  const active = header(headers, 'x-codex-active-limit')
  const own = active === undefined || !isOfOneModel(active, headers)
  const windows = [
    ...(own ? windowsInHeaders(headers, COMMON, now) : []),
    ...groupsOf(headers).flatMap((group) => {
      const model = modelOf(header(headers, `x-${group}-limit-name`))
      const found = model === undefined ? [] : windowsInHeaders(headers, group, now)
      return found.map((window) => ({ ...window, name: `${idOf(group)} ${window.name}`, model }))
    }),
  ]
  const credits = creditsFrom((name) => header(headers, `x-codex-credits-${name.replaceAll('_', '-')}`))
  const plan = header(headers, 'x-codex-plan-type')
  return windows.length > 0 || credits || plan ? { windows, plan, credits } : undefined
}

/** Whether headers tell of a full window of the limit that a refusal is about, and the last reset of those. */
export function fullUntil(headers: IncomingHttpHeaders): {
  readonly full: boolean
  readonly resetsAt: number | undefined
} {
  const full = windowsInHeaders(headers, COMMON, Date.now()).filter(
    ({ usedPercent = 0 }) => usedPercent >= 100,
  )
  const resets = full.flatMap(({ resetsAt }) => resetsAt ?? [])
  return { full: full.length > 0, resetsAt: resets.length > 0 ? Math.max(...resets) : undefined }
}

/** Names of the account's own limit: `premium` was seen on every plan, and a plan may stand for it, too. */
const OF_ACCOUNT =
  /^(codex|premium|standard|default|account|primary|secondary|weekly|daily|five_hour|free|go|plus|pro|prolite|team|business|enterprise|edu|workspace)$/

/** Whether a limit counts one model only: it has headers of its own, or is not one of the account's. */
export function isOfOneModel(limit: string, headers: IncomingHttpHeaders): boolean {
  const id = idOf(limit)
  return id !== COMMON && (groupsOf(headers).some((group) => idOf(group) === id) || !OF_ACCOUNT.test(id))
}

const idOf = (name: string) => name.trim().toLowerCase().replaceAll('-', '_')
/** "GPT-5.3-Codex-Spark" is the display name of the model `gpt-5.3-codex-spark`. */
const modelOf = (limitName: unknown) => text(limitName)?.trim().toLowerCase().replaceAll(' ', '-')

/** The groups of headers for one model each: `codex-bengalfox` of `x-codex-bengalfox-primary-used-percent`. */
function groupsOf(headers: IncomingHttpHeaders): string[] {
  return Object.keys(headers).flatMap((name) => {
    const group = /^x-(.+)-primary-used-percent$/.exec(name)?.[1]
    return group === undefined || group === COMMON ? [] : [group]
  })
}

function windowsInHeaders(headers: IncomingHttpHeaders, group: string, now: number): QuotaWindow[] {
  return windowsFrom(
    (window, name) => header(headers, `x-${group}-${window}-${name.replaceAll('_', '-')}`),
    now,
  )
}

/** One account's quota as a `codex.rate_limits` message of a WebSocket tells it. */
export function quotaFromMessage(message: unknown, now: number = Date.now()): Quota | undefined {
  const body = fields(message)
  if (body?.type !== 'codex.rate_limits') return undefined
  const limits = fields(body.rate_limits)
  const found = windowsFrom((window, name) => fields(limits?.[window])?.[name], now)
  const limit = limitOf(body)
  const model = modelOf(body.limit_name)
  const windows = limit === undefined ? found : model === undefined ? [] : ofModel(found, limit, model)
  return { ...planAndCredits(body), windows: [...windows, ...additional(body, now)] }
}

/** The limit of one model that a message is about; `undefined`: the account's own. */
function limitOf(message: Fields): string | undefined {
  const limit = text(message.metered_limit_name) ?? text(message.limit_name)
  return limit === undefined || !isOfOneModel(limit, {}) ? undefined : idOf(limit)
}

/** One account's quota as the body of `wham/usage` tells it. */
export function quotaFromUsage(payload: unknown, now: number = Date.now()): Quota | undefined {
  const body = fields(payload)
  if (!body) return undefined
  return {
    ...planAndCredits(body),
    windows: [...windowsInBody(body.rate_limit, now), ...additional(body, now)],
  }
}

function planAndCredits(body: Fields): Omit<Quota, 'windows'> {
  return { plan: text(body.plan_type), credits: creditsFrom((name) => fields(body.credits)?.[name]) }
}

/** The windows of limits that count one model each. */
function additional(body: Fields, now: number): QuotaWindow[] {
  return objects(body.additional_rate_limits).flatMap((limit) => {
    const model = modelOf(limit.limit_name)
    if (model === undefined) return []
    return ofModel(windowsInBody(limit.rate_limit, now), idOf(text(limit.metered_feature) ?? model), model)
  })
}

const ofModel = (windows: readonly QuotaWindow[], limit: string, model: string): QuotaWindow[] =>
  windows.map((window) => ({ ...window, name: `${limit} ${window.name}`, model }))

function windowsInBody(limits: unknown, now: number): QuotaWindow[] {
  return windowsFrom((window, name) => fields(fields(limits)?.[`${window}_window`])?.[name], now)
}

/** Reads both windows. Headers and messages tell a window's length in minutes, `wham/usage` in seconds. */
function windowsFrom(field: (window: string, name: string) => unknown, now: number): QuotaWindow[] {
  return NAMES.flatMap((name) => {
    const told = (suffix: string) => number(field(name, suffix))
    const usedPercent = told('used_percent')
    const seconds = told('limit_window_seconds')
    const minutes = told('window_minutes') ?? (seconds === undefined ? 0 : Math.ceil(seconds / 60))
    const resetsAt = resetFrom(told('reset_at'), told('reset_after_seconds'), now)
    // A plan without this window sends 0 percent of 0 minutes: that is no window, not an empty one.
    if (usedPercent === undefined || (usedPercent === 0 && minutes === 0 && resetsAt === undefined)) return []
    const lengthMinutes = minutes > 0 ? wholeLength(minutes) : undefined
    return [{ name, usedPercent: Math.min(100, Math.max(0, usedPercent)), lengthMinutes, resetsAt }]
  })
}

/** 5 hours, a day, 7 days and 30 days, in minutes. */
const LENGTHS = [300, 1_440, 10_080, 43_200]

/** Some answers tell 299 or 10,079 minutes: the time until the reset, rounded down. */
function wholeLength(minutes: number): number {
  return LENGTHS.find((length) => Math.abs(length - minutes) <= length / 100) ?? minutes
}

/** Unix seconds, or seconds from now; 0 or absent where there is no window. ms since 1970. */
function resetFrom(at: number | undefined, after: number | undefined, now: number): number | undefined {
  if (at !== undefined && at > 0) return at * 1000
  return after !== undefined && after > 0 ? now + after * 1000 : undefined
}

/** Headers spell flags `True` and `1`; a balance is a number or a text that is one. */
function creditsFrom(field: (name: 'has_credits' | 'unlimited' | 'balance') => unknown): Credits | undefined {
  const has = field('has_credits')
  if (typeof has !== 'boolean' && text(has) === undefined) return undefined
  const balance = field('balance')
  return {
    hasCredits: isTrue(has),
    unlimited: isTrue(field('unlimited')),
    balance: number(balance) === undefined ? undefined : String(balance),
  }
}

const isTrue = (value: unknown) => value === true || /^(true|1)$/i.test(text(value) ?? '')

/** Asks `wham/usage`, which only ChatGPT logins have. */
export function pollQuota({ whamBase }: ResolvedCodexSettings): NonNullable<Provider['pollQuota']> {
  return async function pollQuota({ credential, facts }, { fetch, signal }) {
    if (isApiKey(credential)) return undefined
    const own = Object.entries(authHeaders(credential, facts)).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, value] as const],
    )
    const headers = { ...Object.fromEntries(own), accept: 'application/json', 'user-agent': 'codex-pool' }
    const response = await fetch(join(whamBase, '/wham/usage'), { headers, signal, redirect: 'manual' })
    if (response.ok) return quotaFromUsage(parseJson(await response.text()))
    await response.body?.cancel()
    throw new Error(`wham/usage answered ${response.status}`)
  }
}

/** A window of the pool, as `wham/usage` writes it. Codex rejects the whole body unless all four are whole numbers. */
interface UsageWindow {
  readonly used_percent: number
  readonly limit_window_seconds: number
  readonly reset_after_seconds: number
  readonly reset_at: number
}

/** What the pool has left, as the client is told in `wham/usage`, in headers and in messages. */
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
    ({ state, inspection }) =>
      state !== 'needs-login' && state !== 'disabled' && inspection.standby !== 'when-alone',
  )
}

/** What the pool has left; of the limits that count one model with `model`, else of those that count all. */
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
    ...callerOf(request, able),
    rate_limit: primary !== null || spent ? limitFrom(spent, primary, secondary) : null,
    code_review_rate_limit: null,
    additional_rate_limits: poolOfModels(able, now),
    credits,
  }
  return { status: 200, headers: { 'cache-control': 'no-store' }, body }
}

/** The caller, by the headers of the request. Of the pool it tells only a plan that all accounts share. */
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
