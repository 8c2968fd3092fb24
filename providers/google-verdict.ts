import type { UpstreamAnswer, Verdict } from '../config/provider.js'
import { googleError, type GoogleError } from './google-errors.js'
import { limitVerdict } from './google-limits.js'
import { header } from './header.js'
import { retryAfterMs } from './retry-after.js'
import { isPage, statusVerdict } from './status-verdict.js'

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
