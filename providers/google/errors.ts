import type { ClientRequest, Provider, UpstreamAnswer, Verdict } from '../../config/provider.js'
import { durationMs, header, isPage, retryAfterMs, statusVerdict, waitInMessage } from '../http.js'
import { type Fields, fields, number, objects, text } from '../json.js'
import { isOutput, withoutSignatures } from './generation.js'

/** An error of Google's APIs (google.rpc.Status and its details). */
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

export interface GoogleVerdicts {
  readonly model: (request: ClientRequest) => string | undefined
  /** Errors that say something about this provider's own kind of account. */
  readonly accountVerdict: (
    error: GoogleError,
    status: number,
    model: string | undefined,
  ) => Verdict | undefined
  /** When limits per day end, if the API documents it; both in ms since 1970. */
  readonly dayEnds?: (now: number) => number
}

/** How both providers judge an error, whether it is an answer's status and body or an event of a stream. */
export function googleVerdicts(
  options: GoogleVerdicts,
): Required<Pick<Provider, 'classify' | 'classifyEvent'>> {
  return {
    classify(answer, request) {
      return answer.status < 400 ? { kind: 'pass' } : verdictOn(answer, request, options)
    },
    classifyEvent(event, request) {
      const error = googleError(event)
      if (!error) return isOutput(event) ? 'output' : undefined
      const answer = { status: error.code ?? 400, headers: {}, body: '', json: () => event }
      return verdictOn(answer, request, options)
    },
  }
}

const LIMITS = new Set(['QUOTA_EXHAUSTED', 'RATE_LIMIT_EXCEEDED'])
/** "Corrupted thought signature.", "Thought signature is not valid." */
const SIGNATURE = /thought[ _]?signature/i

function verdictOn(
  answer: UpstreamAnswer,
  request: ClientRequest | undefined,
  options: GoogleVerdicts,
): Verdict {
  const { status } = answer
  const error = googleError(answer.json())
  const model = request && options.model(request)
  const own = error && options.accountVerdict(error, status, model)
  if (own) return own
  if (status === 400 && SIGNATURE.test(error?.message ?? '')) {
    const body = withoutSignatures(fields(request?.json()) ?? {})
    if (body) return { kind: 'repair', reason: 'thought_signature', body }
  }
  if (status === 429 || LIMITS.has(error?.reason ?? '')) return limitVerdict(answer, error, model, options)
  // Google's code for a call that it has cancelled itself; its clients send the request again.
  if (status === 499) return { kind: 'unavailable', reason: 'http_499' }
  if (status === 404 && model !== undefined) return { kind: 'refused', reason: 'model_not_available', model }
  const verdict = statusVerdict(answer)
  return verdict.kind === 'refused' ? { ...verdict, model } : verdict
}

/** The Gemini CLI takes a longer delay for the end of a quota. */
const LONG_MS = 300_000

/** Tells a limit of a minute from one of a day; Google's limits count each model on its own. */
function limitVerdict(
  answer: UpstreamAnswer,
  error: GoogleError | undefined,
  asked: string | undefined,
  { dayEnds }: GoogleVerdicts,
): Verdict {
  const now = Date.now()
  const headerWait = retryAfterMs(header(answer.headers, 'retry-after'), now)
  if (!error) {
    if (isPage(answer)) return { kind: 'unavailable', reason: 'challenge_page', retryAfterMs: headerWait }
    return { kind: 'cooling', reason: 'rate_limited', retryAfterMs: headerWait, model: asked }
  }
  const { message, quotaIds } = error
  const model = asked ?? text(error.metadata.model)
  const reason = (error.reason ?? 'rate_limited').toLowerCase()
  const resetsAt = resetOf(error, now)
  if (/limit:\s*0(?![\d.])/i.test(message)) return { kind: 'refused', reason: 'no_quota_for_model', model }
  if (isCapacity(error, resetsAt)) return { kind: 'unavailable', reason: 'model_capacity' }
  const wait = resetsAt === undefined ? undefined : resetsAt - now
  if (quotaIds.some((id) => /PerDay|Daily/i.test(id)) || /\bper day\b|\bdaily\b/i.test(message)) {
    // With a limit per day the API still sends the short delay of its limit per minute.
    const isLong = wait !== undefined && wait >= LONG_MS
    return { kind: 'exhausted', reason, resetsAt: isLong ? resetsAt : (dayEnds?.(now) ?? resetsAt), model }
  }
  if (error.reason === 'QUOTA_EXHAUSTED' || error.reason === 'INSUFFICIENT_G1_CREDITS_BALANCE')
    return { kind: 'exhausted', reason, resetsAt, model }
  if (wait !== undefined && wait > LONG_MS) return { kind: 'exhausted', reason, resetsAt, model }
  const minute = quotaIds.some((id) => /PerMinute/i.test(id)) ? 60_000 : undefined
  return { kind: 'cooling', reason, retryAfterMs: wait ?? headerWait ?? minute, model }
}

const CAPACITY = /no capacity available|capacity exceeded|exhausted your capacity|MODEL_CAPACITY_EXHAUSTED/i

/** Google's own machines are full. The same words with a reset time mean the account's quota. */
function isCapacity({ reason, message }: GoogleError, resetsAt: number | undefined): boolean {
  if (reason !== undefined)
    return reason === 'MODEL_CAPACITY_EXHAUSTED' || reason === 'MODEL_CAPACITY_EXCEEDED'
  return CAPACITY.test(message) && resetsAt === undefined
}

/** ms since 1970; the most exact of the fields that tell it. */
function resetOf({ metadata, retryDelayMs, message }: GoogleError, now: number): number | undefined {
  const at = Date.parse(text(metadata.quotaResetTimeStamp) ?? '')
  if (!Number.isNaN(at)) return at
  const wait = durationMs(metadata.quotaResetDelay) ?? retryDelayMs ?? waitInMessage(message)
  return wait === undefined ? undefined : now + wait
}
