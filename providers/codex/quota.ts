import { randomUUID } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import type {
  CallContext,
  Credits,
  Provider,
  ProviderAccount,
  Quota,
  QuotaWindow,
  ResetCredit,
} from '../../config/provider.js'
import { header, join } from '../http.js'
import { type Fields, fields, number, objects, parseJson, text } from '../json.js'
import { authHeaders, isApiKey, type ResolvedCodexSettings } from './credentials.js'

/** By position, as the upstream tells them: `primary` is the 5-hour window, or the 7-day one on a plan without it. */
export const NAMES = ['primary', 'secondary'] as const
/** The group of headers and windows that counts every model. */
export const COMMON = 'codex'

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

export const idOf = (name: string) => name.trim().toLowerCase().replaceAll('-', '_')
/** "GPT-5.3-Codex-Spark" is the display name of the model `gpt-5.3-codex-spark`. */
export const modelOf = (limitName: unknown) => text(limitName)?.trim().toLowerCase().replaceAll(' ', '-')

/** The groups of headers for one model each: `codex-bengalfox` of `x-codex-bengalfox-primary-used-percent`. */
export function groupsOf(headers: IncomingHttpHeaders): string[] {
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
export function limitOf(message: Fields): string | undefined {
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

/** Tells with the credits how the user wants them spent. */
export function spending({ credits: use }: Pick<ResolvedCodexSettings, 'credits'>) {
  return function spending(quota: Quota | undefined): Quota | undefined {
    return quota?.credits ? { ...quota, credits: { ...quota.credits, use } } : quota
  }
}

/** Asks `wham/usage`, which only ChatGPT logins have, and for the reset credits that it counts. */
export function pollQuota(settings: ResolvedCodexSettings): NonNullable<Provider['pollQuota']> {
  return async function pollQuota(account, context) {
    if (isApiKey(account.credential)) return undefined
    const ask = backend(settings, account, context)
    const body = await ask('/wham/usage')
    const quota = quotaFromUsage(body)
    const count = number(fields(fields(body)?.rate_limit_reset_credits)?.available_count)
    if (!quota || count === undefined) return spending(settings)(quota)
    // Without the list their number is told all the same.
    const listed = count > 0 ? await resetCredits(ask).catch(() => undefined) : []
    const resets = listed ?? Array.from({ length: Math.min(count, 100) }, (_, at) => ({ id: String(at) }))
    return spending(settings)({ ...quota, resets })
  }
}

/** Redeems the reset credit that expires first. */
export function redeem(settings: ResolvedCodexSettings): NonNullable<Provider['redeem']> {
  return async function redeem(account, context) {
    if (isApiKey(account.credential)) throw new Error('an API key has no reset credits')
    const ask = backend(settings, account, context)
    const [first] = await resetCredits(ask)
    if (!first) throw new Error('there is no reset credit')
    const body = { redeem_request_id: randomUUID(), credit_id: first.id }
    const code = text(fields(await ask('/wham/rate-limit-reset-credits/consume', body))?.code)
    if (code !== 'reset')
      throw new Error(REDEEM[code ?? ''] ?? 'the upstream did not say that it was redeemed')
    return pollQuota(settings)(account, context)
  }
}

const REDEEM: Readonly<Record<string, string>> = {
  nothing_to_reset: 'no window has been used, so there is nothing to reset',
  no_credit: 'there is no reset credit',
  already_redeemed: 'this reset credit has been redeemed already',
}

type Ask = (path: string, body?: object) => Promise<unknown>

/** Calls of the account's own at the ChatGPT backend. */
function backend({ whamBase }: ResolvedCodexSettings, account: ProviderAccount, context: CallContext): Ask {
  const { fetch, signal } = context
  const own = Object.entries(authHeaders(account.credential, account.facts)).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, value] as const],
  )
  return async function ask(path, body) {
    const headers = {
      ...Object.fromEntries(own),
      accept: 'application/json',
      'user-agent': 'codex-pool',
      ...(body && { 'content-type': 'application/json' }),
    }
    const init = { headers, signal, redirect: 'manual' as const }
    const sent = body ? { ...init, method: 'POST', body: JSON.stringify(body) } : init
    const response = await fetch(join(whamBase, path), sent)
    if (response.ok) return parseJson(await response.text())
    await response.body?.cancel()
    throw Object.assign(new Error(`${path.slice(1)} answered ${response.status}`), {
      status: response.status,
    })
  }
}

/** The reset credits that can be redeemed, the first to expire first. */
async function resetCredits(ask: Ask): Promise<ResetCredit[]> {
  const answer = fields(await ask('/wham/rate-limit-reset-credits'))
  const credits = objects(answer?.credits).flatMap((credit): ResetCredit[] => {
    const id = text(credit.id)
    const end = Date.parse(text(credit.expires_at) ?? '')
    if (id === undefined || (text(credit.status) ?? 'available') !== 'available') return []
    return [Number.isNaN(end) ? { id } : { id, expiresAt: end }]
  })
  return credits.sort((a, b) => (a.expiresAt ?? Infinity) - (b.expiresAt ?? Infinity))
}
