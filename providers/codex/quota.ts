import type { IncomingHttpHeaders } from 'node:http'
import type { Credits, Provider, Quota, QuotaWindow } from '../../config/provider.js'
import { header, join } from '../http.js'
import { type Fields, fields, number, parseJson, text } from '../json.js'
import { authHeaders, isApiKey } from './credentials.js'
import type { ResolvedCodexSettings } from './credentials.js'

/** By position, as upstream: `primary` may be the 5-hour window or, where there is none, the 7-day one. */
export const NAMES = ['primary', 'secondary'] as const

/** Quota as the `x-codex-*` headers of an answer tell it. */
export function quotaFromHeaders(headers: IncomingHttpHeaders, now: number = Date.now()): Quota | undefined {
  const windows = NAMES.flatMap((name) => {
    const field = (suffix: string) => number(header(headers, `x-codex-${name}-${suffix}`))
    const minutes = field('window-minutes')
    const reset = resetAt(field('reset-at'), field('reset-after-seconds'), now)
    return quotaWindow(name, field('used-percent'), minutes, reset)
  })
  const credits = creditsFromHeaders(headers)
  const plan = header(headers, 'x-codex-plan-type')
  return windows.length > 0 || credits || plan ? { windows, plan, credits } : undefined
}

function creditsFromHeaders(headers: IncomingHttpHeaders): Credits | undefined {
  const flag = (name: string) => header(headers, `x-codex-credits-${name}`)?.toLowerCase()
  const hasCredits = flag('has-credits')
  if (hasCredits === undefined) return undefined
  const balance = header(headers, 'x-codex-credits-balance')
  return { hasCredits: isTrue(hasCredits), unlimited: isTrue(flag('unlimited')), balance }
}

const isTrue = (value: string | undefined) => value === 'true' || value === '1'

/** A plan without the window sends 0 percent of 0 minutes: that is no window, not an empty one. */
export function quotaWindow(
  name: string,
  usedPercent: number | undefined,
  minutes: number | undefined,
  resetsAt: number | undefined,
): QuotaWindow[] {
  if (usedPercent === undefined || (usedPercent === 0 && !minutes && resetsAt === undefined)) return []
  const lengthMinutes = minutes === undefined || minutes <= 0 ? undefined : minutes
  return [{ name, usedPercent: Math.min(100, Math.max(0, usedPercent)), lengthMinutes, resetsAt }]
}

/** Unix seconds, or seconds from now; both are 0 or absent where there is no window. ms since 1970. */
export function resetAt(at: number | undefined, after: number | undefined, now: number): number | undefined {
  if (at !== undefined && at > 0) return at * 1000
  return after !== undefined && after > 0 ? now + after * 1000 : undefined
}

/** Asks `wham/usage`, which only ChatGPT logins have. */
export function pollQuota({ whamBase }: ResolvedCodexSettings): NonNullable<Provider['pollQuota']> {
  return async function pollQuota({ credential, facts }, { fetch, signal }) {
    if (isApiKey(credential)) return undefined
    const sent = Object.entries(authHeaders(credential, facts)).filter(
      (entry): entry is [string, string] => !!entry[1],
    )
    const headers = { ...Object.fromEntries(sent), accept: 'application/json', 'user-agent': 'codex-pool' }
    const response = await fetch(join(whamBase, '/wham/usage'), { headers, signal, redirect: 'manual' })
    if (response.ok) return quotaFromUsage(parseJson(await response.text()))
    await response.body?.cancel()
    throw new Error(`wham/usage answered ${response.status}`)
  }
}

/** Quota as the body of `wham/usage` tells it. */
export function quotaFromUsage(payload: unknown, now: number = Date.now()): Quota | undefined {
  const body = fields(payload)
  if (!body) return undefined
  const limits = fields(body.rate_limit)
  const windows = NAMES.flatMap((name) => {
    const window: Fields = fields(limits?.[`${name}_window`]) ?? {}
    const seconds = number(window.limit_window_seconds)
    const reset = resetAt(number(window.reset_at), number(window.reset_after_seconds), now)
    return quotaWindow(
      name,
      number(window.used_percent),
      seconds === undefined ? undefined : Math.ceil(seconds / 60),
      reset,
    )
  })
  return { windows, plan: text(body.plan_type), credits: creditsFromUsage(fields(body.credits)) }
}

function creditsFromUsage(credits: Fields | undefined): Credits | undefined {
  if (typeof credits?.has_credits !== 'boolean') return undefined
  const balance = number(credits.balance)
  return {
    hasCredits: credits.has_credits,
    unlimited: credits.unlimited === true,
    balance: balance === undefined ? undefined : String(credits.balance),
  }
}
