/** One quota window of a Codex account. All fields may be changed at any time. */
export interface CodexWindow {
  /** 0 to 100. */
  usedPercent: number
  windowMinutes: number
  /** ms since 1970; when it passes, the window starts again at 0. */
  resetsAt: number
  /** Quota that one model request uses up; percent. */
  percentPerRequest: number
}

export type WindowName = 'primary' | 'secondary'

export interface CodexCredits {
  hasCredits: boolean
  unlimited: boolean
  balance: string
}

/** A plan may have one window only. */
export type CodexWindows = { primary: CodexWindow; secondary: CodexWindow | undefined }

const DEFAULTS: Record<WindowName, Omit<CodexWindow, 'resetsAt'>> = {
  primary: { usedPercent: 0, windowMinutes: 300, percentPerRequest: 1 },
  secondary: { usedPercent: 0, windowMinutes: 10_080, percentPerRequest: 0.2 },
}

export function openWindow(name: WindowName, given: Partial<CodexWindow>, now: number): CodexWindow {
  const window = { ...DEFAULTS[name], ...given }
  return { ...window, resetsAt: given.resetsAt ?? now + window.windowMinutes * 60_000 }
}

export function openWindows(
  primary: Partial<CodexWindow> = {},
  secondary: Partial<CodexWindow> | false = {},
  now: number,
): CodexWindows {
  return {
    primary: openWindow('primary', primary, now),
    secondary: secondary === false ? undefined : openWindow('secondary', secondary, now),
  }
}

const windowsOf = ({ primary, secondary }: CodexWindows): CodexWindow[] =>
  secondary ? [primary, secondary] : [primary]

/** Starts windows again whose time has passed. */
export function roll(windows: CodexWindows, now: number): void {
  for (const window of windowsOf(windows)) {
    if (now < window.resetsAt) continue
    window.usedPercent = 0
    window.resetsAt = now + window.windowMinutes * 60_000
  }
}

export function spend(windows: CodexWindows): void {
  for (const window of windowsOf(windows))
    window.usedPercent = Math.min(100, window.usedPercent + window.percentPerRequest)
}

/** The full window with the latest reset, if a window is full. */
export function fullWindow(windows: CodexWindows): CodexWindow | undefined {
  return windowsOf(windows)
    .filter(({ usedPercent }) => usedPercent >= 100)
    .toSorted((a, b) => b.resetsAt - a.resetsAt)[0]
}

const seconds = (ms: number): number => Math.ceil(ms / 1000)

/** The parts of an account that its quota reports show. */
interface Reported {
  readonly windows: CodexWindows
  readonly credits: CodexCredits
  readonly plan: string
}

interface Person {
  readonly userId: string
  readonly accountId: string
  readonly email: string
}

/** The `x-codex-*` headers of a response, with the capital `True` and `False` that the real one sends. */
export function quotaHeaders({ windows, credits, plan }: Reported, now: number): Record<string, string> {
  return {
    'x-codex-active-limit': 'codex',
    'x-codex-plan-type': plan,
    ...windowHeaders('primary', windows.primary, now),
    ...windowHeaders('secondary', windows.secondary, now),
    'x-codex-primary-over-secondary-limit-percent': '0',
    'x-codex-credits-has-credits': credits.hasCredits ? 'True' : 'False',
    'x-codex-credits-unlimited': credits.unlimited ? 'True' : 'False',
    'x-codex-credits-balance': credits.balance,
  }
}

/** A window that the plan does not have is sent as 0, 0 and an empty reset time. */
function windowHeaders(name: WindowName, window: CodexWindow | undefined, now: number) {
  return {
    [`x-codex-${name}-used-percent`]: String(Math.floor(window?.usedPercent ?? 0)),
    [`x-codex-${name}-window-minutes`]: String(window?.windowMinutes ?? 0),
    [`x-codex-${name}-reset-after-seconds`]: String(window ? seconds(window.resetsAt - now) : 0),
    [`x-codex-${name}-reset-at`]: window ? String(seconds(window.resetsAt)) : '',
  }
}

/** The body of `GET /wham/usage`. */
export function usageReport(account: Reported & Person, now: number): object {
  roll(account.windows, now)
  const report = reportOf(account, now, (minutes) => ({ limit_window_seconds: minutes * 60 }))
  const { primary: primary_window, secondary: secondary_window, ...allowed } = report.rate_limits
  return {
    user_id: account.userId,
    account_id: account.accountId,
    email: account.email,
    plan_type: account.plan,
    rate_limit: { ...allowed, primary_window, secondary_window },
    code_review_rate_limit: null,
    additional_rate_limits: null,
    credits: { ...report.credits, approx_local_messages: [0, 0], approx_cloud_messages: [0, 0] },
  }
}

/** The frame that reports over a WebSocket what the headers report over HTTP. */
export function quotaFrame(account: Reported, now: number) {
  const report = reportOf(account, now, (minutes) => ({ window_minutes: minutes }))
  const other = { code_review_rate_limits: null, additional_rate_limits: null }
  return { type: 'codex.rate_limits', plan_type: account.plan, ...report, ...other }
}

function reportOf({ windows, credits }: Reported, now: number, length: (minutes: number) => object) {
  const full = fullWindow(windows) !== undefined
  const shown = (window: CodexWindow | undefined) =>
    window
      ? {
          used_percent: Math.floor(window.usedPercent),
          ...length(window.windowMinutes),
          reset_after_seconds: seconds(window.resetsAt - now),
          reset_at: seconds(window.resetsAt),
        }
      : null
  return {
    rate_limits: {
      allowed: !full,
      limit_reached: full,
      primary: shown(windows.primary),
      secondary: shown(windows.secondary),
    },
    credits: {
      has_credits: credits.hasCredits,
      unlimited: credits.unlimited,
      balance: credits.balance,
    },
  }
}
