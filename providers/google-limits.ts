import type { Verdict } from '../config/provider.js'
import { durationMs, waitInMessage } from './duration.js'
import type { GoogleError } from './google-errors.js'
import { text } from './json.js'

export interface LimitContext {
  /** The model asked for: Google's limits count each model on its own. */
  readonly model: string | undefined
  /** `Retry-After`; ms. */
  readonly retryAfterMs?: number | undefined
  /** ms since 1970 */
  readonly now: number
  /** When limits per day end, if the API documents it; ms since 1970. */
  readonly dayEnds?: number | undefined
}

/** The Gemini CLI itself takes a longer delay for the end of a quota, not for a moment's rest. */
const LONG_MS = 300_000
const CAPACITY = /no capacity available|capacity exceeded|exhausted your capacity|MODEL_CAPACITY_EXHAUSTED/i

/** Judges a refusal that is about a limit: which of the many forms it has is all that tells a minute from a day. */
export function limitVerdict(error: GoogleError, context: LimitContext): Verdict {
  const { message, quotaIds } = error
  const model = context.model ?? text(error.metadata.model)
  const reason = (error.reason ?? 'rate_limited').toLowerCase()
  const told = resetOf(error, context.now)
  if (/limit:\s*0(?![\d.])/i.test(message)) return { kind: 'refused', reason: 'no_quota_for_model', model }
  if (isCapacity(error, told)) return { kind: 'unavailable', reason: 'model_capacity' }
  if (quotaIds.some((id) => /PerDay|Daily/i.test(id)) || /\bper day\b|\bdaily\b/i.test(message)) {
    // With a limit per day the API still sends the short delay of its limit per minute.
    const long = told !== undefined && told - context.now >= LONG_MS
    return { kind: 'exhausted', reason, resetsAt: long ? told : (context.dayEnds ?? told), model }
  }
  if (error.reason === 'QUOTA_EXHAUSTED' || error.reason === 'INSUFFICIENT_G1_CREDITS_BALANCE')
    return { kind: 'exhausted', reason, resetsAt: told, model }
  if (told !== undefined && told - context.now > LONG_MS)
    return { kind: 'exhausted', reason, resetsAt: told, model }
  const minute = quotaIds.some((id) => /PerMinute/i.test(id)) ? 60_000 : undefined
  const wait = told === undefined ? undefined : told - context.now
  return { kind: 'cooling', reason, retryAfterMs: wait ?? context.retryAfterMs ?? minute, model }
}

/** Google's own machines are full: no account's fault. The same words with a reset time mean a quota. */
function isCapacity({ reason, message }: GoogleError, told: number | undefined): boolean {
  if (reason !== undefined)
    return reason === 'MODEL_CAPACITY_EXHAUSTED' || reason === 'MODEL_CAPACITY_EXCEEDED'
  return CAPACITY.test(message) && told === undefined
}

/** ms since 1970; the most exact of what is told. */
function resetOf({ metadata, retryDelayMs, message }: GoogleError, now: number): number | undefined {
  const at = Date.parse(text(metadata.quotaResetTimeStamp) ?? '')
  if (!Number.isNaN(at)) return at
  const wait = durationMs(metadata.quotaResetDelay) ?? retryDelayMs ?? waitInMessage(message)
  return wait === undefined ? undefined : now + wait
}
