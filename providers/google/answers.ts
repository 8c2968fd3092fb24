import type { Answer, Exhaustion, Failure } from '../../config/provider.js'
import { exhaustedOnes, sentenceIn } from '../http.js'

const TYPE = 'type.googleapis.com/google.rpc'
/** The Gemini CLI takes an error for a limit only under this domain. */
const DOMAIN = 'cloudcode-pa.googleapis.com'
/** A longer delay ends the Gemini CLI's run instead of making it wait. */
const LONGEST_WAIT_S = 300

const STATUS: Readonly<Record<number, string>> = {
  400: 'INVALID_ARGUMENT',
  403: 'PERMISSION_DENIED',
  404: 'NOT_FOUND',
  429: 'RESOURCE_EXHAUSTED',
  500: 'INTERNAL',
  503: 'UNAVAILABLE',
  504: 'DEADLINE_EXCEEDED',
}

/** Failures that waiting does not end. On a 403 the Gemini CLI stops at once and shows the message. */
const FINAL = new Set(['login_required', 'no_accounts', 'accounts_disabled', 'accounts_refused'])

/** A failure of the gateway's own as google.rpc.Status; its `code` is the reason in the details. */
export function googleFailure({ status, code, message, retryAfterMs }: Failure): Answer {
  if (code === 'accounts_cooling') return rateLimited(message, retryAfterMs)
  const shown = FINAL.has(code) ? 403 : status
  return refusal(shown, message, [errorInfo(code, 'codex-pool')])
}

/**
 * A short wait. Without RetryInfo the Gemini CLI gives up at once. The message names no delay, since the client would
 * take one for a lack of capacity.
 */
function rateLimited(message: string, retryAfterMs: number | undefined): Answer {
  const seconds = Math.min(LONGEST_WAIT_S, Math.max(1, Math.ceil((retryAfterMs ?? 5_000) / 1000)))
  return refusal(429, message, [errorInfo('RATE_LIMIT_EXCEEDED', DOMAIN), retryInfo(seconds)])
}

/** On these words the Gemini CLI waits silently until the reset, which may be hours away, or asks again and again. */
const MISLEADING = /exhausted your capacity|capacity exceeded|MODEL_CAPACITY_EXHAUSTED|retry in|limit:\s*0/i

/** Google's own sentence in the reason of a refusal, unless its words would mislead the client. */
function because(reason: string | undefined): string {
  const sentence = sentenceIn(reason)
  return sentence === undefined || MISLEADING.test(sentence) ? '' : ` Google says: "${sentence}"`
}

/** Every account is exhausted. A reset within minutes is answered as a short wait. */
export function googleExhausted(exhaustion: Exhaustion): Answer {
  const { resetsAt, model, reason } = exhaustion
  const now = Date.now()
  const wait = resetsAt === undefined ? undefined : resetsAt - now
  if (wait !== undefined && wait <= LONGEST_WAIT_S * 1000)
    return rateLimited(`${exhaustedOnes(exhaustion)} has reached a limit that ends soon.`, wait)
  const what = model === undefined ? 'its quota' : `its quota for ${model}`
  const metadata = {
    ...(model === undefined ? {} : { model }),
    ...(resetsAt === undefined ? {} : { quotaResetTimeStamp: new Date(resetsAt).toISOString() }),
  }
  const info = errorInfo('QUOTA_EXHAUSTED', DOMAIN, metadata)
  const message = `${exhaustedOnes(exhaustion)} has used up ${what}, or is not served.${because(reason)}`
  if (wait === undefined) return refusal(429, message, [info])
  const seconds = Math.ceil(wait / 1000)
  return refusal(429, `${message} The first one is back at ${metadata.quotaResetTimeStamp}.`, [
    info,
    retryInfo(seconds),
  ])
}

function refusal(status: number, message: string, details: readonly object[]): Answer {
  const name = STATUS[status] ?? (status < 500 ? 'FAILED_PRECONDITION' : 'UNAVAILABLE')
  return { status, body: { error: { code: status, message, status: name, details } } }
}

function errorInfo(reason: string, domain: string, metadata: Record<string, string> = {}): object {
  return { '@type': `${TYPE}.ErrorInfo`, reason, domain, metadata }
}

function retryInfo(seconds: number): object {
  return { '@type': `${TYPE}.RetryInfo`, retryDelay: `${seconds}s` }
}

/** Headers in which Google's clients describe themselves and the request, without the client's own project and key. */
export const googleHeaders: readonly string[] = [
  'x-goog-api-client',
  'x-goog-fieldmask',
  'x-goog-request-params',
  'x-goog-upload-*',
  'x-server-timeout',
]
