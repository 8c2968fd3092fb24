import type { ClientRequest, UpstreamAnswer, Verdict } from '../../config/provider.js'
import { isOneOf, openAiError, type OpenAiError } from '../openai.js'
import { header, isPage, retryAfterMs, statusVerdict, waitInMessage } from '../http.js'
import { fields, list, number } from '../json.js'
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

/** Judges an answer by its status, and by the error in it where that tells more. */
export function classify(answer: UpstreamAnswer, request: ClientRequest): Verdict {
  const { status } = answer
  if (status < 400) return { kind: 'pass' }
  const now = Date.now()
  const error = openAiError(answer.json(), now)
  if (status !== 404 && isOneOf(error, GONE))
    return { kind: 'needs-login', reason: error.code ?? error.type! }
  const repaired = status === 400 && foreignReasoning(error) ? withoutReasoning(request.json()) : undefined
  if (repaired) return { kind: 'repair', reason: 'invalid_encrypted_content', body: repaired }
  if (status === 400 || status === 404) return modelVerdict(error, request)
  if (status === 402) return used(answer, error, now, request)
  if (status === 429) return limited(answer, error, now, request)
  const verdict = statusVerdict(answer)
  if (verdict.kind === 'pass') return verdict
  const reason = error.code ?? verdict.reason
  return verdict.kind === 'refused'
    ? { kind: 'refused', reason, model: model(request) }
    : { ...verdict, reason }
}

/** A refusal of the model is one of this account; any other 400 or 404 is the request's own fault. */
function modelVerdict(error: OpenAiError, request: ClientRequest): Verdict {
  if (isOneOf(error, OVERLOADED)) return { kind: 'unavailable', reason: error.code ?? error.type! }
  const asked = model(request)
  const refused = isOneOf(error, NO_SUCH_MODEL) || MODEL_REFUSED.test(error.message ?? '')
  return asked !== undefined && refused
    ? { kind: 'refused', reason: 'model_not_available', model: asked }
    : { kind: 'pass' }
}

function limited(answer: UpstreamAnswer, error: OpenAiError, now: number, request: ClientRequest): Verdict {
  const wait = retryAfterMs(header(answer.headers, 'retry-after'), now)
  // The network in front counts addresses, not accounts: another account would meet the same wall.
  if (isPage(answer)) return { kind: 'unavailable', reason: 'challenge_page', retryAfterMs: wait }
  if (isOneOf(error, USED_UP) || fullUntil(answer, now).full) return used(answer, error, now, request)
  const reason = error.code ?? error.type ?? 'rate_limited'
  return { kind: 'cooling', reason, retryAfterMs: wait ?? waitInMessage(error.message) }
}

/** The quota is used up. A limit with an id of its own counts one model only. */
function used(answer: UpstreamAnswer, error: OpenAiError, now: number, request: ClientRequest): Verdict {
  const limit = header(answer.headers, 'x-codex-active-limit')
  const wait = retryAfterMs(header(answer.headers, 'retry-after'), now)
  return {
    kind: 'exhausted',
    reason: error.code ?? error.type ?? `http_${answer.status}`,
    resetsAt:
      error.resetsAt ?? fullUntil(answer, now).resetsAt ?? (wait === undefined ? undefined : now + wait),
    plan: error.plan ?? header(answer.headers, 'x-codex-plan-type'),
    model: limit === undefined || limit === 'codex' ? undefined : model(request),
  }
}

/** The full windows that the headers tell of; the last of them to end sets the time. */
function fullUntil(answer: UpstreamAnswer, now: number): { full: boolean; resetsAt: number | undefined } {
  const windows = quotaFromHeaders(answer.headers, now)?.windows ?? []
  const full = windows.filter(({ usedPercent }) => usedPercent !== undefined && usedPercent >= 100)
  const resets = full.flatMap(({ resetsAt }) => resetsAt ?? [])
  return { full: full.length > 0, resetsAt: resets.length > 0 ? Math.max(...resets) : undefined }
}

/** Events that come before any output, whatever becomes of the answer. */
const PRELUDE = new Set(['response.created', 'response.in_progress', 'response.queued', 'response.metadata'])

/** Judges the first events of a stream. */
export function classifyEvent(payload: unknown, request?: ClientRequest): Verdict | 'output' | undefined {
  const event = fields(payload)
  const type = event?.type
  if (type === 'response.failed') return eventVerdict(fields(event?.response)?.error, request)
  if (type === 'error') return eventVerdict(event?.error ?? event, request, number(event?.status))
  return typeof type === 'string' && type.startsWith('response.') && !PRELUDE.has(type) ? 'output' : undefined
}

function eventVerdict(payload: unknown, request: ClientRequest | undefined, status?: number): Verdict {
  const error = openAiError(payload, Date.now())
  const reason = error.code ?? error.type ?? 'response_failed'
  const repaired = request && foreignReasoning(error) ? withoutReasoning(request.json()) : undefined
  if (repaired) return { kind: 'repair', reason, body: repaired }
  if (isOneOf(error, USED_UP))
    return { kind: 'exhausted', reason, resetsAt: error.resetsAt, plan: error.plan }
  if (isOneOf(error, GONE)) return { kind: 'needs-login', reason }
  if (isOneOf(error, TOO_FAST)) return { kind: 'cooling', reason, retryAfterMs: waitInMessage(error.message) }
  if (isOneOf(error, OVERLOADED)) return { kind: 'unavailable', reason }
  if (status === 429) return { kind: 'cooling', reason, retryAfterMs: waitInMessage(error.message) }
  if (status === 401) return { kind: 'unauthorized', reason }
  if (request && (status === 400 || status === 404)) return modelVerdict(error, request)
  return status !== undefined && status >= 500 ? { kind: 'unavailable', reason } : { kind: 'pass' }
}

/** "The encrypted content gAAA… could not be verified", and the like. */
const UNREADABLE =
  /encrypted[ _]content.*(could not be|cannot be|failed to be|is not|not) (verified|decrypted|valid)/i

/** Whether the upstream cannot read reasoning that another account wrote. */
export function foreignReasoning({ code, type, message }: OpenAiError): boolean {
  return (
    code === 'invalid_encrypted_content' ||
    type === 'invalid_encrypted_content' ||
    UNREADABLE.test(message ?? '')
  )
}

/** The request without encrypted reasoning; `undefined` if there is none in it. What the model said stays. */
export function withoutReasoning(payload: unknown): object | undefined {
  const body = fields(payload)
  const input = list(body?.input)
  const kept = input.flatMap((item) => {
    const { encrypted_content, ...rest } = fields(item) ?? {}
    if (encrypted_content === undefined || encrypted_content === null) return [item]
    // An item of reasoning is nothing without its content; others keep what they have besides.
    return rest.type === 'reasoning' ? [] : [rest]
  })
  const changed = kept.length !== input.length || kept.some((item, index) => item !== input[index])
  return body && changed ? { ...body, input: kept } : undefined
}
