import type { ClientRequest, UpstreamAnswer, Verdict } from '../../config/provider.js'
import { sentenceOf } from '../google/errors.js'
import { isPage } from '../http.js'
import { type Fields, fields, objects, text } from '../json.js'
import { isVisibleChoice } from '../openai.js'
import { readable } from './encrypted.js'
import { type UpstreamError, upstreamError } from './errors.js'
import { fullUntil, isOfOneModel } from './quota.js'
import { generates, model } from './requests.js'
import { resourcesIn } from './resources.js'
import { codesSay, type Meaning, namesReason, says, textsSay } from './wordings.js'

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
const OUTPUT = /^(response|image_(generation|edit)|transcript|speech)\./
const FAILURES = new Set(['error', 'response.failed', 'response.error'])
/** An answer may end early for the request's own sake, or because the account is at a limit. */
const ENDS = new Set(['response.completed', 'response.done', 'response.incomplete'])

/** Judges an event of a stream, or a message of a WebSocket. */
export function classifyEvent(payload: unknown, request?: ClientRequest): Verdict | 'output' | undefined {
  const event = fields(payload)
  if (!event) return undefined
  const type = text(event.type)
  if (type === undefined && objects(event.choices).some(isVisibleChoice)) return 'output'
  if (type === undefined ? isError(event) : FAILURES.has(type)) return verdictOnEvent(event, request)
  // An error's own code in place of `error`: `{"type":"usage_limit_reached","resets_at":…}`.
  if (type !== undefined && !type.includes('.') && namesReason(type)) return verdictOnEvent(event, request)
  const shows = type !== undefined && OUTPUT.test(type) && !PRELUDE.test(type)
  if (shows && !ENDS.has(type)) return 'output'
  const verdict = tellsError(event) ? verdictOnEvent(event, request) : undefined
  return verdict && verdict.kind !== 'pass' ? verdict : shows ? 'output' : undefined
}

/** Whether an event without a type is an error: nested, or flat with a status or a code. */
function isError({ error, errors, detail, status, status_code, code, message }: Fields): boolean {
  if ((error ?? errors ?? detail) !== undefined) return true
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

/** The one place that decides what an upstream's refusal means. A code tells more than a status, so codes go first. */
function verdictOn(error: UpstreamError, request: ClientRequest | undefined): Verdict {
  const reason = reasonOf(error)
  const verdict =
    (request && readable(error, request)) ??
    overVerdict(error, reason) ??
    limitVerdict(error, reason, request) ??
    tokenVerdict(error, reason) ??
    accessVerdict(error, reason, request) ??
    troubleVerdict(error, reason)
  if (!verdict || verdict.kind === 'pass') return { kind: 'pass' }
  return isOfLogin(error) ? { ...verdict, ofLogin: true } : verdict
}

/** A stable word, and the upstream's own sentence for people. */
function reasonOf({ code, status, sentence }: UpstreamError, unnamed = 'response_failed'): string {
  const word = code ?? (status === undefined ? unnamed : status === 429 ? 'rate_limited' : `http_${status}`)
  return sentence === undefined ? word : `${word}: ${sentenceOf(sentence)}`
}

/** Whether a client would take the error for one of its own login. */
function isOfLogin(error: UpstreamError): boolean {
  const { status = 0 } = error
  const meanings = ['login over', 'unauthorized', 'forbidden'] as const
  return status === 401 || status === 403 || meanings.some((meaning) => codesSay(error, meaning))
}

/** Verdicts that hold whatever else the error says: the login is over, or the error does not come from the upstream itself. */
function overVerdict(error: UpstreamError, reason: string): Verdict | undefined {
  if (codesSay(error, 'login over')) return { kind: 'needs-login', reason }
  // The network in front challenges an address, not an account: another account would get the same page.
  if (error.page && (error.status === 403 || error.status === 429))
    return { kind: 'unavailable', reason: 'challenge_page', retryAfterMs: error.waitMs }
  return undefined
}

/** Limits and overload. Texts count only where the status does not say that the request itself is wrong. */
function limitVerdict(error: UpstreamError, reason: string, request?: ClientRequest): Verdict | undefined {
  const { status = 0, headers, waitMs: retryAfterMs } = error
  const open = status === 0 || status === 402 || status === 403 || status === 429 || status >= 500
  const means = (meaning: Meaning) => (open ? says(error, meaning) : codesSay(error, meaning))
  if (status === 402 || means('used up')) return exhausted(error, reason, request)
  const tooFast = means('too fast')
  const overloaded = means('overloaded')
  if (tooFast || (status === 429 && !overloaded)) {
    if (fullUntil(headers).full) return exhausted(error, reason, request)
    return { kind: 'cooling', reason, retryAfterMs, model: limitedModel(error, request) }
  }
  return overloaded ? { kind: 'unavailable', reason, retryAfterMs } : undefined
}

/** What the status alone says of the upstream, where no code says more. */
function troubleVerdict({ status = 0, waitMs }: UpstreamError, reason: string): Verdict | undefined {
  const isTrouble = status === 408 || status >= 500
  return isTrouble ? { kind: 'unavailable', reason, retryAfterMs: waitMs } : undefined
}

function tokenVerdict(error: UpstreamError, reason: string): Verdict | undefined {
  const { status } = error
  const refused =
    status === 401 || (status === undefined ? says(error, 'unauthorized') : codesSay(error, 'unauthorized'))
  return refused ? { kind: 'unauthorized', reason } : undefined
}

/** Refusals of a resource of another account, of a model, of a path, or of everything. */
function accessVerdict(error: UpstreamError, reason: string, request?: ClientRequest): Verdict | undefined {
  const { status = 0, code } = error
  const asked = request && model(request)
  const named = request !== undefined && resourcesIn(request).length > 0
  // The texts of an upstream in trouble say that something is not available now.
  const means = (meaning: Meaning) => (status >= 500 ? codesSay(error, meaning) : says(error, meaning))
  // On this code the client sends the whole conversation again, so the code must reach it.
  if (code === 'previous_response_not_found' && status !== 403 && status !== 404)
    return named ? { kind: 'refused', reason } : undefined
  // A code such as `permission_denied` does not say what is denied.
  const deniesThing = (status === 403 || status === 404) && textsSay(error, 'no such thing')
  if (means('no such thing') || (deniesThing && !codesSay(error, 'no such model')))
    return named || generates(request) || status === 403 ? { kind: 'refused', reason } : undefined
  if (means('no such model') && asked !== undefined)
    return { kind: 'refused', reason: 'model_not_available', model: asked }
  const forbidden = status === 0 ? says(error, 'forbidden') : codesSay(error, 'forbidden')
  if (status === 403 || forbidden) return { kind: 'refused', reason, model: asked }
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
