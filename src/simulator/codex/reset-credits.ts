import { text } from '../json.js'
import type { SimRequest } from '../request.js'
import { type Answer, json } from '../upstream.js'
import type { CodexWindows } from './quota.js'

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
