import type { Item } from './output.js'
import {
  type CodexCredits,
  type CodexWindow,
  type CodexWindows,
  fullWindow,
  type WindowName,
} from './quota.js'

const seconds = (ms: number): number => Math.ceil(ms / 1000)

/** The `x-codex-*` headers of a response, with the capital `True` and `False` that the real one sends. */
export function quotaHeaders(windows: CodexWindows, credits: CodexCredits, plan: string, now: number) {
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
function windowHeaders(
  name: WindowName,
  window: CodexWindow | undefined,
  now: number,
): Record<string, string> {
  return {
    [`x-codex-${name}-used-percent`]: String(Math.floor(window?.usedPercent ?? 0)),
    [`x-codex-${name}-window-minutes`]: String(window?.windowMinutes ?? 0),
    [`x-codex-${name}-reset-after-seconds`]: String(window ? seconds(window.resetsAt - now) : 0),
    [`x-codex-${name}-reset-at`]: window ? String(seconds(window.resetsAt)) : '',
  }
}

/** A window as `GET /wham/usage` shows it. */
export function usageWindow(window: CodexWindow | undefined, now: number) {
  if (!window) return null
  return {
    used_percent: Math.floor(window.usedPercent),
    limit_window_seconds: window.windowMinutes * 60,
    reset_after_seconds: seconds(window.resetsAt - now),
    reset_at: seconds(window.resetsAt),
  }
}

/** The frame that tells over a WebSocket what the headers tell over HTTP. */
export function quotaFrame(windows: CodexWindows, credits: CodexCredits, plan: string, now: number): Item {
  const full = fullWindow(windows) !== undefined
  return {
    type: 'codex.rate_limits',
    plan_type: plan,
    rate_limits: {
      allowed: !full,
      limit_reached: full,
      primary: frameWindow(windows.primary, now),
      secondary: frameWindow(windows.secondary, now),
    },
    code_review_rate_limits: null,
    additional_rate_limits: null,
    credits: { has_credits: credits.hasCredits, unlimited: credits.unlimited, balance: credits.balance },
  }
}

function frameWindow(window: CodexWindow | undefined, now: number) {
  if (!window) return null
  return {
    used_percent: Math.floor(window.usedPercent),
    window_minutes: window.windowMinutes,
    reset_after_seconds: seconds(window.resetsAt - now),
    reset_at: seconds(window.resetsAt),
  }
}
