import type { UpstreamAnswer, Verdict } from '../../config/provider.js'
import { durationMs, header, isPage, retryAfterMs, statusVerdict, waitInMessage } from '../http.js'
import { type Fields, fields, number, objects, text } from '../json.js'

/** What Google's APIs tell with a refusal (google.rpc.Status and its details). */
export interface GoogleError {
  readonly code: number | undefined
  readonly message: string
  /** `ErrorInfo.reason`, such as `QUOTA_EXHAUSTED`. */
  readonly reason: string | undefined
  readonly metadata: Fields
  /** `RetryInfo.retryDelay`; ms. */
  readonly retryDelayMs: number | undefined
  /** `QuotaFailure` and the older `quota_limit`: names such as `GenerateRequestsPerDayPerProjectPerModel-FreeTier`. */
  readonly quotaIds: readonly string[]
  /** The first address of `Help`. */
  readonly link: string | undefined
}

/** Reads `{"error":{…}}`, the list `[{"error":{…}}]` that streams answer with, or an error event of a stream. */
export function googleError(payload: unknown): GoogleError | undefined {
  const error = fields(fields(Array.isArray(payload) ? payload[0] : payload)?.error)
  if (!error) return undefined
  const details = objects(error.details)
  const detail = (type: string) => details.find((it) => text(it['@type'])?.endsWith(`google.rpc.${type}`))
  const info = detail('ErrorInfo')
  const metadata = fields(info?.metadata) ?? {}
  return {
    code: number(error.code),
    message: text(error.message) ?? '',
    reason: text(info?.reason),
    metadata,
    retryDelayMs: durationMs(detail('RetryInfo')?.retryDelay),
    quotaIds: [
      ...objects(detail('QuotaFailure')?.violations).flatMap(({ quotaId }) => text(quotaId) ?? []),
      ...(text(metadata.quota_limit)?.split(',') ?? []),
    ],
    link: text(objects(detail('Help')?.links)[0]?.url),
  }
}

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

const LIMITS = new Set(['QUOTA_EXHAUSTED', 'RATE_LIMIT_EXCEEDED'])

export interface GoogleContext {
  readonly model: string | undefined
  /** As in {@link LimitContext}. */
  readonly dayEnds?: number | undefined
}

/** Judges what Google's APIs answer alike, with OAuth and with API keys. */
export function googleVerdict(answer: UpstreamAnswer, context: GoogleContext): Verdict {
  const { status } = answer
  const error = googleError(answer.json())
  if (status === 429 || LIMITS.has(error?.reason ?? '')) return limited(answer, error, context)
  // 499 is Google's own cancelling, which its clients try again.
  if (status === 499) return { kind: 'unavailable', reason: 'http_499' }
  if (status === 404 && context.model !== undefined)
    return { kind: 'refused', reason: 'model_not_available', model: context.model }
  const verdict = statusVerdict(answer)
  return verdict.kind === 'refused' ? { ...verdict, model: context.model } : verdict
}

function limited(answer: UpstreamAnswer, error: GoogleError | undefined, context: GoogleContext): Verdict {
  const now = Date.now()
  const wait = retryAfterMs(header(answer.headers, 'retry-after'), now)
  if (error) return limitVerdict(error, { ...context, now, retryAfterMs: wait })
  if (isPage(answer)) return { kind: 'unavailable', reason: 'challenge_page', retryAfterMs: wait }
  return { kind: 'cooling', reason: 'rate_limited', retryAfterMs: wait, model: context.model }
}

const clock = new Intl.DateTimeFormat('en-US', {
  timeZone: 'America/Los_Angeles',
  hourCycle: 'h23',
  hour: 'numeric',
  minute: 'numeric',
  second: 'numeric',
})

const DAY_MS = 86_400_000
const HOUR_MS = 3_600_000

/**
 * The next midnight in California, when the Gemini API's limits per day end (ai.google.dev/gemini-api/docs/rate-limits).
 * Both in ms since 1970.
 */
export function nextPacificMidnight(now: number): number {
  const guess = now - sinceMidnight(now) + DAY_MS
  // Twice a year the day has 23 or 25 hours, and the guess is an hour off.
  const off = sinceMidnight(guess)
  return off > DAY_MS / 2 ? guess + DAY_MS - off : guess - Math.min(off, HOUR_MS)
}

/** What the clock on the wall in California shows; ms. */
function sinceMidnight(now: number): number {
  const parts = clock.formatToParts(now)
  const [hours = 0, minutes = 0, seconds = 0] = parts.flatMap(({ type, value }) =>
    type === 'literal' ? [] : Number(value),
  )
  return ((hours * 60 + minutes) * 60 + seconds) * 1000 + (now % 1000)
}
