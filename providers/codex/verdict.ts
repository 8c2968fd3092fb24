import type { IncomingHttpHeaders } from 'node:http'
import type { ClientRequest, UpstreamAnswer, Verdict } from '../../config/provider.js'
import { header, isPage, retryAfterMs, waitInMessage } from '../http.js'
import { fields, list, number } from '../json.js'
import { isOneOf, openAiError, type OpenAiError } from '../openai.js'
import { quotaFromHeaders } from './quota.js'
import { model } from './requests.js'

const USED_UP = new Set([
  'usage_limit_reached',
  'usage_not_included',
  'insufficient_quota',
  'billing_hard_limit_reached',
])
const TOO_FAST = new Set(['rate_limit_exceeded', 'rate_limit_error', 'too_many_requests'])
const OVERLOADED = new Set([
  'server_is_overloaded',
  'slow_down',
  'server_error',
  'internal_server_error',
  'model_at_capacity',
])
/** The workspace or the person is gone: no refresh brings it back. */
const GONE = new Set([
  'deactivated_workspace',
  'account_deactivated',
  'account_suspended',
  'user_deactivated',
])
const NO_SUCH_MODEL = new Set([
  'model_not_found',
  'model_not_available',
  'model_not_supported',
  'unsupported_model',
])
/** "The 'x' model is not supported when using Codex with a ChatGPT account." */
const MODEL_REFUSED =
  /model\b.*(not supported when using|not available|does not exist|not have access|no access to)/i

/** An upstream's error, whatever carried it: an answer, an event of a stream, or a message of a WebSocket. */
interface UpstreamError extends OpenAiError {
  readonly status: number | undefined
  readonly headers: IncomingHttpHeaders
  /** A page for a browser came instead of JSON. */
  readonly page: boolean
}

/** Judges an answer by its status and the error in its body. */
export function classify(answer: UpstreamAnswer, request: ClientRequest): Verdict {
  const { status, headers } = answer
  if (status < 400) return { kind: 'pass' }
  const error = openAiError(answer.json(), Date.now())
  return verdictOn({ ...error, status, headers, page: isPage(answer) }, request)
}

/** Events that come before any output, whatever becomes of the answer. */
const PRELUDE = new Set(['response.created', 'response.in_progress', 'response.queued', 'response.metadata'])

/** Judges an event of a stream, or a message of a WebSocket. */
export function classifyEvent(payload: unknown, request?: ClientRequest): Verdict | 'output' | undefined {
  const event = fields(payload)
  const type = event?.type
  if (type !== 'error' && type !== 'response.failed')
    return typeof type === 'string' && type.startsWith('response.') && !PRELUDE.has(type)
      ? 'output'
      : undefined
  const told = type === 'error' ? (event?.error ?? event) : fields(event?.response)?.error
  const status = number(event?.status)
  return verdictOn({ ...openAiError(told, Date.now()), status, headers: {}, page: false }, request)
}

/** The one place that decides what an upstream's error means. A code says more than a status, so codes go first. */
function verdictOn(error: UpstreamError, request: ClientRequest | undefined): Verdict {
  const { status = 0, headers } = error
  const reason = error.code ?? error.type
  const named = reason ?? (status > 0 ? `http_${status}` : 'response_failed')
  if (isOneOf(error, GONE)) return { kind: 'needs-login', reason: named }
  const repaired = request && foreignReasoning(error) ? withoutReasoning(request.json()) : undefined
  if (repaired) return { kind: 'repair', reason: 'invalid_encrypted_content', body: repaired }
  const wait = retryAfterMs(header(headers, 'retry-after'))
  // A challenge of the network in front counts addresses, not accounts: another account would get it, too.
  if (error.page && (status === 403 || status === 429))
    return { kind: 'unavailable', reason: 'challenge_page', retryAfterMs: wait }
  if (status === 402 || isOneOf(error, USED_UP)) return exhausted(error, named, request)
  if (status === 429 || isOneOf(error, TOO_FAST)) {
    if (fullUntil(headers).full) return exhausted(error, named, request)
    return {
      kind: 'cooling',
      reason: reason ?? 'rate_limited',
      retryAfterMs: wait ?? waitInMessage(error.message),
    }
  }
  if (status === 408 || status >= 500 || isOneOf(error, OVERLOADED))
    return { kind: 'unavailable', reason: error.code ?? named, retryAfterMs: wait }
  if (status === 401) return { kind: 'unauthorized', reason: named }
  const asked = request && model(request)
  if (status === 403) return { kind: 'refused', reason: error.code ?? 'http_403', model: asked }
  const refused = isOneOf(error, NO_SUCH_MODEL) || MODEL_REFUSED.test(error.message ?? '')
  return refused && asked !== undefined
    ? { kind: 'refused', reason: 'model_not_available', model: asked }
    : { kind: 'pass' }
}

/** The quota is used up. A limit with an id of its own counts one model only. */
function exhausted(error: UpstreamError, reason: string, request: ClientRequest | undefined): Verdict {
  const { headers } = error
  const limit = header(headers, 'x-codex-active-limit')
  const wait = retryAfterMs(header(headers, 'retry-after'))
  return {
    kind: 'exhausted',
    reason,
    resetsAt:
      error.resetsAt ?? fullUntil(headers).resetsAt ?? (wait === undefined ? undefined : Date.now() + wait),
    plan: error.plan ?? header(headers, 'x-codex-plan-type'),
    model: limit === undefined || limit === 'codex' || !request ? undefined : model(request),
  }
}

/** Whether headers tell of a full window, and the last reset of those. */
function fullUntil(headers: IncomingHttpHeaders): { full: boolean; resetsAt: number | undefined } {
  const windows = quotaFromHeaders(headers)?.windows ?? []
  const full = windows.filter(({ usedPercent }) => usedPercent !== undefined && usedPercent >= 100)
  const resets = full.flatMap(({ resetsAt }) => resetsAt ?? [])
  return { full: full.length > 0, resetsAt: resets.length > 0 ? Math.max(...resets) : undefined }
}

/** "The encrypted content gAAA… could not be verified", and the like. */
const UNREADABLE =
  /encrypted[ _]content.*(could not be|cannot be|failed to be|is not|not) (verified|decrypted|valid)/i
const FOREIGN = new Set(['invalid_encrypted_content'])

/** Whether the upstream cannot read reasoning that another account wrote. */
function foreignReasoning(error: OpenAiError): boolean {
  return isOneOf(error, FOREIGN) || UNREADABLE.test(error.message ?? '')
}

/** The request without encrypted reasoning; `undefined` if it holds none. The model's words stay. */
function withoutReasoning(payload: unknown): object | undefined {
  const body = fields(payload)
  const input = list(body?.input)
  const kept = input.flatMap((item) => {
    const { encrypted_content, ...rest } = fields(item) ?? {}
    if (encrypted_content === undefined || encrypted_content === null) return [item]
    // A reasoning item is refused without its content; other items keep their other fields.
    return rest.type === 'reasoning' ? [] : [rest]
  })
  const changed = kept.length !== input.length || kept.some((item, index) => item !== input[index])
  return body && changed ? { ...body, input: kept } : undefined
}
