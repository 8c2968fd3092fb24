import type { ClientRequest, UpstreamAnswer, Verdict } from '../../config/provider.js'
import { sentenceOf } from '../google/errors.js'
import { isPage } from '../http.js'
import { type Fields, fields, text } from '../json.js'
import { readable } from './encrypted.js'
import { type UpstreamError, upstreamError } from './errors.js'
import { fullUntil, isOfOneModel } from './quota.js'
import { generates, model } from './requests.js'

/** Judges an answer by its status and the error in its body. */
export function classify(answer: UpstreamAnswer, request: ClientRequest): Verdict {
  const { status, headers } = answer
  if (status < 400) return { kind: 'pass' }
  const carrier = { status, headers, page: isPage(answer), now: Date.now() }
  return verdictOn(upstreamError(answer.json() ?? { message: answer.body }, carrier), request)
}

/** Events before the output, in which the user sees nothing. */
const PRELUDE =
  /^response\.(created|in_progress|queued|(metadata|rate_limits?|heartbeat|keep[_-]?alive|ping)(\..+)?|codex\..+)$/
const OUTPUT = /^(response|image_(generation|edit))\./
const FAILURES = new Set(['error', 'response.failed', 'response.error'])
/** An answer may end early for the request's own sake, or because the account is at a limit. */
const ENDS = new Set(['response.completed', 'response.done', 'response.incomplete'])

/** Judges an event of a stream, or a message of a WebSocket. */
export function classifyEvent(payload: unknown, request?: ClientRequest): Verdict | 'output' | undefined {
  const event = fields(payload)
  if (!event) return undefined
  const type = text(event.type)
  if (type === undefined ? isError(event) : FAILURES.has(type)) return verdictOnEvent(event, request)
  const shows = type !== undefined && OUTPUT.test(type) && !PRELUDE.test(type)
  if (shows && !ENDS.has(type)) return 'output'
  const verdict = tellsError(event) ? verdictOnEvent(event, request) : undefined
  return verdict && verdict.kind !== 'pass' ? verdict : shows ? 'output' : undefined
}

/** Whether an event without a type is an error: nested, or flat with a status or a code. */
function isError({ error, detail, status, status_code, code, message }: Fields): boolean {
  if ((error ?? detail) !== undefined) return true
  return message !== undefined && (status ?? status_code ?? code) !== undefined
}

/** Whether an event of another type carries an error, such as a `response.created` with the status `failed`. */
function tellsError({ error, response }: Fields): boolean {
  const inner = fields(response)
  return Boolean(error ?? inner?.error ?? fields(inner?.status_details)?.error ?? inner?.incomplete_details)
}

function verdictOnEvent(event: Fields, request: ClientRequest | undefined): Verdict {
  const error = upstreamError(event, { now: Date.now() })
  const { status, words, message } = error
  // Nothing is said against the request, so it may be asked elsewhere.
  if (status === undefined && words.length === 0 && message === '')
    return { kind: 'unavailable', reason: reasonOf(error) }
  return verdictOn(error, request)
}

/** The login is over for good: no refresh brings it back. */
const LOGIN_OVER =
  /^((account|user|workspace|organization|access_token|oauth_token|token|session|login|credential)s?_(is_|was_|has_been_)?(deactivated|deleted|disabled|suspended|banned|terminated|revoked|invalidated)|(deactivated|deleted|disabled|suspended|banned|revoked|invalidated)_(account|user|workspace|organization|token|session|login))$/
const UNAUTHORIZED =
  /^(unauthori[sz]ed|unauthenticated|not_authenticated|authentication_(error|failed|required)|invalid_(api_key|token|access_token|authentication|credentials)|(access_)?token_expired|expired_(access_)?token|missing_(token|authorization))$/
const FORBIDDEN =
  /^(forbidden|permission_(denied|error)|access_denied|insufficient_permissions|not_(a_)?member|invalid_workspace(_selected)?|unsupported_(country|region|country_region_territory))$/
const USED_UP =
  /^((usage|quota|billing|billing_hard|billing_soft|credits?|spend|spending|budget|plan|daily|weekly|monthly|workspace_\w+_usage)_(limit|cap|control)_(reached|exceeded|hit)|(usage|quota|credits?|workspace_\w+_credits)_(exceeded|exhausted|depleted)|usage_not_included|insufficient_(quota|credits|funds|balance)|out_of_credits|payment_required|billing_not_active)$/
const TOO_FAST =
  /^(rate_limit(_exceeded|_error|_reached|ed)?|ratelimit(ed)?|too_many_(concurrent_)?requests|(requests|tokens|concurrency)_limit_(exceeded|reached)|throttled)$/
const OVERLOADED =
  /^((server|engine|model|service|upstream)_(is_)?(overloaded|busy|at_capacity|capacity_exceeded|error|timeout)|overloaded(_error)?|slow_down|internal(_server)?_error|service_unavailable|temporarily_unavailable|bad_gateway|gateway_timeout|timeout|api_error)$/
const NO_SUCH_MODEL =
  /^(model_(not_(found|available|supported|allowed|enabled)|unavailable|unsupported|access_denied|deprecated)|(unsupported|unknown|no_such)_model)$/
/** A file, a response or the like that another account has. */
const NO_SUCH_THING =
  /^(file|response|previous_response|item|conversation|container|vector_store|upload|batch|cached_content)_(not_found|expired|access_denied)$/

/** The same refusals in texts for people, which count only where no code tells the reason. */
const SAYS_USED_UP =
  /usage limit|current quota|quota (is |has been |was )?(exceeded|exhausted|used up)|out of credits|insufficient (quota|credits|funds)|not included in your plan|(daily|weekly|monthly) limit/i
const SAYS_TOO_FAST = /rate limit|too many (concurrent )?requests/i
const SAYS_OVERLOADED =
  /overloaded|at capacity|(service|server|temporarily) (is )?(currently )?(unavailable|busy)|internal (server )?error|error occurred while processing/i
const SAYS_UNAUTHORIZED =
  /(authentication|access|oauth) token|\bsign(ing)? in again|incorrect api key|^unauthori[sz]ed$/i
const SAYS_NO_MODEL =
  /\bmodel\b.{0,120}(not supported when using|not supported (for|by|on|in) (this|your)|not (yet )?available|does not exist|not have access|no access|not found|not enabled|requires a)|\baccess to (the |this )?model\b/is
const SAYS_NO_THING =
  /\b(file|response|item|conversation|container|vector store|upload|cached content)s?\b.{0,160}\b(not found|not exist|not have access|no access|not accessible|belongs? to|expired|no longer)|\bno (file|response|item|container) found|\b(no|not have|denied|lacks?) access to (the |this |that )?(file|response|item|conversation|container|vector store|upload|cached content)\b/is

/** Whether an error is of the kind that these codes name. Its texts count only if no code tells the reason. */
function says(error: UpstreamError, codes: RegExp, texts?: RegExp): boolean {
  if (error.words.some((word) => codes.test(word))) return true
  return texts !== undefined && !error.words.some(isTelling) && texts.test(error.message)
}

/** Whether a code names a reason, and not just that something is wrong. */
function isTelling(word: string): boolean {
  return !/^(invalid_request(_error)?|bad_request|error|api_error|unknown(_error)?|not_found|upstream_error)$/.test(
    word,
  )
}

/** The one place that decides what an upstream's refusal means. A code tells more than a status, so codes go first. */
function verdictOn(error: UpstreamError, request: ClientRequest | undefined): Verdict {
  const { status = 0 } = error
  const reason = reasonOf(error)
  const repair = request && readable(error, request)
  if (repair) return repair
  if (says(error, LOGIN_OVER)) return { kind: 'needs-login', reason }
  // The network in front challenges an address, not an account: another account would get the same page.
  if (error.page && (status === 403 || status === 429))
    return { kind: 'unavailable', reason: 'challenge_page', retryAfterMs: error.waitMs }
  return limitVerdict(error, reason, request) ?? accessVerdict(error, reason, request) ?? { kind: 'pass' }
}

/** A stable word, and the upstream's own sentence for people. */
function reasonOf({ code, status, sentence }: UpstreamError, unnamed = 'response_failed'): string {
  const word = code ?? (status === undefined ? unnamed : status === 429 ? 'rate_limited' : `http_${status}`)
  return sentence === undefined ? word : `${word}: ${sentenceOf(sentence)}`
}

/** Limits and overload. Texts count only where the status does not say that the request itself is wrong. */
function limitVerdict(error: UpstreamError, reason: string, request?: ClientRequest): Verdict | undefined {
  const { status = 0, headers, waitMs: retryAfterMs } = error
  const open = status === 0 || status === 402 || status === 403 || status === 429 || status >= 500
  const found = (codes: RegExp, texts: RegExp) => says(error, codes, open ? texts : undefined)
  if (status === 402 || found(USED_UP, SAYS_USED_UP)) return exhausted(error, reason, request)
  if (status === 429 || found(TOO_FAST, SAYS_TOO_FAST)) {
    const overloaded = !found(TOO_FAST, SAYS_TOO_FAST) && found(OVERLOADED, SAYS_OVERLOADED)
    if (overloaded) return { kind: 'unavailable', reason, retryAfterMs }
    if (fullUntil(headers).full) return exhausted(error, reason, request)
    return { kind: 'cooling', reason, retryAfterMs, model: limitedModel(error, request) }
  }
  if (status === 408 || status >= 500 || found(OVERLOADED, SAYS_OVERLOADED))
    return { kind: 'unavailable', reason, retryAfterMs }
  return undefined
}

/** Refusals of the token, of a model, or of a resource of another account. */
function accessVerdict(error: UpstreamError, reason: string, request?: ClientRequest): Verdict | undefined {
  const { status = 0 } = error
  const asked = request && model(request)
  if (status === 401 || says(error, UNAUTHORIZED, status === 0 ? SAYS_UNAUTHORIZED : undefined))
    return { kind: 'unauthorized', reason }
  // On this code the client sends the whole conversation again, so the code must reach it.
  if (error.code === 'previous_response_not_found' && status !== 404) return undefined
  // A code such as `permission_denied` does not say what is denied.
  const namesThing = (status === 403 || status === 404) && SAYS_NO_THING.test(error.message)
  if (says(error, NO_SUCH_THING, SAYS_NO_THING) || (namesThing && !says(error, NO_SUCH_MODEL)))
    return generates(request) ? { kind: 'refused', reason } : undefined
  if (says(error, NO_SUCH_MODEL, SAYS_NO_MODEL) && asked !== undefined)
    return { kind: 'refused', reason: 'model_not_available', model: asked }
  if (status === 403 || says(error, FORBIDDEN)) return { kind: 'refused', reason, model: asked }
  // A path of the model API may be missing for one account only.
  return status === 404 && generates(request) ? { kind: 'refused', reason } : undefined
}

function exhausted(error: UpstreamError, reason: string, request?: ClientRequest): Verdict {
  const { plan, resetsAt, waitMs, headers } = error
  return {
    kind: 'exhausted',
    reason,
    resetsAt:
      resetsAt ?? fullUntil(headers).resetsAt ?? (waitMs === undefined ? undefined : Date.now() + waitMs),
    plan,
    model: limitedModel(error, request),
  }
}

/** The model that the limit is for; `undefined` if it is for all. Some limits have an id, some texts name the model. */
function limitedModel(
  { limit, headers, message }: UpstreamError,
  request?: ClientRequest,
): string | undefined {
  const asked = request && model(request)
  if (asked === undefined) return undefined
  if (limit !== undefined) return isOfOneModel(limit, headers) ? asked : undefined
  return message.toLowerCase().includes(asked.toLowerCase()) ? asked : undefined
}
