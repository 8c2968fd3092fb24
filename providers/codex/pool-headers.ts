import type { Provider } from '../../config/provider.js'
import { fields, text } from '../json.js'
import { members, poolCredits, poolWindows, type UsageWindow } from './pool-usage.js'
import { NAMES, quotaFromHeaders } from './quota.js'

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
