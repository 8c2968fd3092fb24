import { text } from '../json.js'
import type { SimRequest } from '../request.js'
import { type Answer, json } from '../upstream.js'

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
  /** The credits that are left, as the text that the upstream sends. */
  balance: string
  /** Credits that one request uses up while a window is full. @default 1 */
  perRequest?: number
}

/** A model with a quota of its own. Requests for it use that quota and not the account's. */
export interface ModelLimitOptions {
  model: string
  /** @default 'codex_bengalfox' */
  id?: string
  /** @default the model */
  name?: string
  /** @default 0 % of 300 minutes */
  window?: Partial<CodexWindow>
}

export interface ModelLimit {
  readonly model: string
  readonly id: string
  readonly name: string
  readonly windows: CodexWindows
}

export function openModelLimit(options: ModelLimitOptions, now: number): ModelLimit {
  const { model, id = 'codex_bengalfox', name = model, window } = options
  return { model, id, name, windows: openWindows(window, false, now) }
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
  readonly limitId: string
  readonly modelLimits: readonly ModelLimit[]
}

interface Person {
  readonly userId: string
  readonly accountId: string
  readonly email: string
}

/** Pays for one request: with the windows, or, once one is full, with credits. */
export function spend(windows: CodexWindows, credits: CodexCredits): void {
  if (fullWindow(windows) && credits.hasCredits && !credits.unlimited) {
    const left = Math.max(0, Number(credits.balance) - (credits.perRequest ?? 1))
    credits.balance = String(left)
    credits.hasCredits = left > 0
  }
  for (const window of windowsOf(windows))
    window.usedPercent = Math.min(100, window.usedPercent + window.percentPerRequest)
}

/**
 * The `x-codex-*` headers of a response, with the capital `True` and `False` that the real one sends. For a model with a
 * quota of its own, `x-codex-primary-*` are that quota's, and `x-codex-active-limit` names it.
 */
export function quotaHeaders(account: Reported, now: number, active?: ModelLimit): Record<string, string> {
  const { credits, plan, modelLimits } = account
  const windows = active?.windows ?? account.windows
  return {
    'x-codex-active-limit': active?.id ?? account.limitId,
    'x-codex-plan-type': plan,
    ...windowHeaders('x-codex-primary', windows.primary, now),
    ...windowHeaders('x-codex-secondary', windows.secondary, now),
    ...Object.assign({}, ...modelLimits.map((limit) => limitHeaders(limit, now))),
    'x-codex-primary-over-secondary-limit-percent': '0',
    'x-codex-credits-has-credits': credits.hasCredits ? 'True' : 'False',
    'x-codex-credits-unlimited': credits.unlimited ? 'True' : 'False',
    'x-codex-credits-balance': credits.balance,
  }
}

/** A window that the plan does not have is sent as 0, 0 and an empty reset time. */
function windowHeaders(prefix: string, window: CodexWindow | undefined, now: number) {
  return {
    [`${prefix}-used-percent`]: String(Math.floor(window?.usedPercent ?? 0)),
    [`${prefix}-window-minutes`]: String(window?.windowMinutes ?? 0),
    [`${prefix}-reset-after-seconds`]: String(window ? seconds(window.resetsAt - now) : 0),
    [`${prefix}-reset-at`]: window ? String(seconds(window.resetsAt)) : '',
  }
}

/** `codex_bengalfox` is the family `x-codex-bengalfox-*`. */
function limitHeaders({ id, name, windows }: ModelLimit, now: number) {
  const prefix = `x-${id.replaceAll('_', '-')}`
  return { [`${prefix}-limit-name`]: name, ...windowHeaders(`${prefix}-primary`, windows.primary, now) }
}

/** The body of `GET /wham/usage`. */
export function usageReport(account: Reported & Person, now: number): object {
  for (const { windows } of [account, ...account.modelLimits]) roll(windows, now)
  return {
    user_id: account.userId,
    account_id: account.accountId,
    email: account.email,
    plan_type: account.plan,
    rate_limit: rateLimit(account.windows, now),
    code_review_rate_limit: null,
    additional_rate_limits: additionalLimits(account, now),
    credits: { ...creditsOf(account.credits), approx_local_messages: [0, 0], approx_cloud_messages: [0, 0] },
  }
}

function rateLimit(windows: CodexWindows, now: number): object {
  const report = limitsOf(windows, now, (minutes) => ({ limit_window_seconds: minutes * 60 }))
  const { primary: primary_window, secondary: secondary_window, ...allowed } = report
  return { ...allowed, primary_window, secondary_window }
}

const additionalLimits = ({ modelLimits }: Reported, now: number): object[] | null =>
  modelLimits.length === 0
    ? null
    : modelLimits.map(({ id, name, windows }) => ({
        limit_name: name,
        metered_feature: id,
        rate_limit: rateLimit(windows, now),
      }))

/** The quota over a WebSocket; over HTTP, headers report it. */
export function quotaFrame(account: Reported, now: number, active?: ModelLimit) {
  return {
    type: 'codex.rate_limits',
    plan_type: account.plan,
    rate_limits: limitsOf(active?.windows ?? account.windows, now, (minutes) => ({
      window_minutes: minutes,
    })),
    code_review_rate_limits: null,
    additional_rate_limits: additionalLimits(account, now),
    credits: creditsOf(account.credits),
  }
}

function limitsOf(windows: CodexWindows, now: number, length: (minutes: number) => object) {
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
    allowed: !full,
    limit_reached: full,
    primary: shown(windows.primary),
    secondary: shown(windows.secondary),
  }
}

const creditsOf = ({ hasCredits, unlimited, balance }: CodexCredits) => ({
  has_credits: hasCredits,
  unlimited,
  balance,
})

/** A credit that sets an account's windows back to 0 % once. */
export interface ResetCreditOptions {
  /** @default a new one */
  id?: string
  /** ms since 1970. @default 30 days after it was granted */
  expiresAt?: number
  /** ms since 1970. @default now */
  grantedAt?: number
}

export interface ResetCredit {
  readonly id: string
  readonly grantedAt: number
  readonly expiresAt: number
  status: 'available' | 'redeemed'
}

let credits = 0

export function openResetCredit({ id, expiresAt, grantedAt }: ResetCreditOptions, now: number): ResetCredit {
  const granted = grantedAt ?? now
  credits += 1
  return {
    id: id ?? `reset_credit_sim_${credits}`,
    grantedAt: granted,
    expiresAt: expiresAt ?? granted + 30 * 86_400_000,
    status: 'available',
  }
}

interface Holder {
  readonly resetCredits: readonly ResetCredit[]
  readonly windows: CodexWindows
}

export const availableCredits = ({ resetCredits }: Holder, now: number): ResetCredit[] =>
  resetCredits.filter(({ status, expiresAt }) => status === 'available' && now < expiresAt)

/** `GET wham/rate-limit-reset-credits`, in the order in which they were granted. */
export function listResetCredits(account: Holder, now: number): object {
  const iso = (ms: number) => new Date(ms).toISOString()
  const listed = account.resetCredits.map(({ id, status, grantedAt, expiresAt }) => ({
    id,
    reset_type: 'codex_rate_limits',
    status: status === 'available' && now >= expiresAt ? 'expired' : status,
    granted_at: iso(grantedAt),
    expires_at: iso(expiresAt),
    title: 'Full reset (Weekly + 5 hr)',
  }))
  return { credits: listed, available_count: availableCredits(account, now).length }
}

/** `POST wham/rate-limit-reset-credits/consume`: redeems `credit_id`, or the credit that expires first. */
export function consumeResetCredit({ json: body }: SimRequest, account: Holder, now: number): Answer {
  const wanted = text(body, 'credit_id')
  const [credit] = availableCredits(account, now)
    .filter(({ id }) => wanted === undefined || id === wanted)
    .toSorted((a, b) => a.expiresAt - b.expiresAt)
  if (!credit) return json(200, { code: 'no_credit', windows_reset: 0 })
  const { primary, secondary } = account.windows
  const used = [primary, secondary].filter((window) => window && window.usedPercent > 0)
  if (used.length === 0) return json(200, { code: 'nothing_to_reset', windows_reset: 0 })
  credit.status = 'redeemed'
  primary.usedPercent = 0
  if (secondary) secondary.usedPercent = 0
  return json(200, { code: 'reset', windows_reset: used.length })
}
