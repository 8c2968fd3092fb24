import type { Credits, PoolAccount, QuotaWindow } from '../../config/provider.js'

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
