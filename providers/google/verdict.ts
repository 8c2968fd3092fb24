import type { ClientRequest, Provider, UpstreamAnswer, Verdict } from '../../config/provider.js'
import { isPage, statusVerdict, waitIn } from '../http.js'
import { fields, parseJson, text } from '../json.js'
import { googleError, type GoogleError, sentenceOf } from './errors.js'
import { isOutput, withoutSignatures } from './generation.js'
import { resourcesIn } from './resources.js'

export interface GoogleVerdicts {
  readonly model: (request: ClientRequest) => string | undefined
  /** Errors that say something about this provider's own kind of account. */
  readonly accountVerdict: (error: GoogleError, model: string | undefined) => Verdict | undefined
  /** When limits per day end, if the API documents it; both in ms since 1970. */
  readonly dayEnds?: (now: number) => number
}

/** A refusal, whatever carries it. */
interface Refusal {
  /** An event of a stream has no head: the status is the error's own. */
  readonly answer: UpstreamAnswer
  readonly request: ClientRequest | undefined
  readonly options: GoogleVerdicts
  /** ms since 1970 */
  readonly now: number
}

/** How both providers judge an error, whether it is an answer's status and body or an event of a stream. */
export function googleVerdicts(
  options: GoogleVerdicts,
): Required<Pick<Provider, 'classify' | 'classifyEvent'>> {
  return {
    classify(answer, request) {
      if (answer.status < 400) return { kind: 'pass' }
      const refusal = { answer, request, options, now: Date.now() }
      const error = googleError(answer.json() ?? eventIn(answer.body), refusal.now)
      if (!error) return bareVerdict(answer, options.model(request))
      return ofLogin(errorVerdict({ ...error, code: error.code ?? answer.status }, refusal), error)
    },
    classifyEvent(event, request) {
      const now = Date.now()
      const error = googleError(event, now)
      if (!error) return isOutput(event) ? 'output' : undefined
      return ofLogin(errorVerdict(error, { answer: EVENT, request, options, now }), error)
    },
  }
}

/** Marks a refusal that a client would take for one of its own login. */
function ofLogin(verdict: Verdict, { code }: GoogleError): Verdict {
  return (code === 401 || code === 403) && verdict.kind !== 'pass' ? { ...verdict, ofLogin: true } : verdict
}

/** An error in a stream that names no code is the upstream's trouble, since the request had been accepted. */
const EVENT: UpstreamAnswer = { status: 500, headers: {}, body: '', json: () => undefined }

/** The first event of a refusal that is written as a stream. */
function eventIn(body: string): unknown {
  const start = /^data:/m.exec(body)
  return start ? parseJson(body.slice(start.index + 5).split('\n', 1)[0]) : undefined
}

/** Judges a refusal without an error that can be read. */
function bareVerdict(answer: UpstreamAnswer, model: string | undefined): Verdict {
  const { status } = answer
  if (status === 429 && isPage(answer))
    return { kind: 'unavailable', reason: 'challenge_page', retryAfterMs: waitIn(answer.headers) }
  if (status === 429)
    return { kind: 'cooling', reason: 'rate_limited', retryAfterMs: waitIn(answer.headers), model }
  return byStatus(status, answer, model)
}

/** "Corrupted thought signature.", "Thought signature is not valid." */
const SIGNATURE = /thought[ _]?signature/i

function errorVerdict(error: GoogleError, refusal: Refusal): Verdict {
  const { answer, request, options } = refusal
  const status = error.code ?? answer.status
  const model = (request && options.model(request)) ?? text(error.metadata.model)
  const own = options.accountVerdict(error, model) ?? planVerdict(error, model)
  if (own) return own
  if (isLimit(error, answer)) return limitVerdict(error, model, refusal)
  if (request && isAnothers(error, status, request))
    return { kind: 'refused', reason: reasonOf('of_another_account', error) }
  if (status === 400 && SIGNATURE.test(error.message)) {
    const body = withoutSignatures(fields(request?.json()) ?? {})
    if (body) return { kind: 'repair', reason: 'thought_signature', body }
  }
  // The path takes no API keys, whichever is sent.
  if (status === 401 && error.reason === 'CREDENTIALS_MISSING')
    return { kind: 'refused', reason: reasonOf('credentials_missing', error) }
  const verdict = byStatus(status, answer, model)
  return verdict.kind === 'refused' || verdict.kind === 'exhausted'
    ? { ...verdict, reason: reasonOf(verdict.reason, error) }
    : verdict
}

function byStatus(status: number, answer: UpstreamAnswer, model: string | undefined): Verdict {
  // Google's code for a call that it has cancelled itself; its clients send the request again.
  if (status === 499) return { kind: 'unavailable', reason: 'http_499' }
  if (status === 404 && model !== undefined) return { kind: 'refused', reason: 'model_not_available', model }
  const verdict = statusVerdict({ ...answer, status })
  return verdict.kind === 'refused' ? { ...verdict, model } : verdict
}

/** A stable word, and Google's own sentence for people. */
export function reasonOf(code: string, { message }: GoogleError): string {
  return message === '' ? code : `${code}: ${sentenceOf(message)}`
}

/** Refusals because of the plan, the country or the project: they hold for every request until the user changes that. */
const NOT_SERVED = new Set([
  'ACCESS_NOT_CONFIGURED',
  'API_KEY_ANDROID_APP_BLOCKED',
  'API_KEY_HTTP_REFERRER_BLOCKED',
  'API_KEY_IOS_APP_BLOCKED',
  'API_KEY_IP_ADDRESS_BLOCKED',
  'API_KEY_SERVICE_BLOCKED',
  'BILLING_DISABLED',
  'CONSUMER_INVALID',
  'CONSUMER_SUSPENDED',
  'RESOURCE_PROJECT_INVALID',
  'SERVICE_DISABLED',
  'USER_PROJECT_DENIED',
  'accessNotConfigured',
])
const NOT_SERVED_WORDS =
  /(?:country|region|territory|location) (?:is |are )?not (?:yet )?supported|(?:not available|not supported) in your (?:country|region|location)|free tier is not available|API has not been used in project|project has been (?:denied|suspended|deleted)|has been suspended|billing (?:is|has been|to be|account)|enable billing|without billing|\bdunning\b/i
/** Money that has run out. Google tells it as a limit (429), or as a refusal. */
const OUT_OF_MONEY =
  /prepa(?:y|id)\w* credits?|(?:credits?|prepaid balance) (?:is|are|has|have|have been|has been) (?:depleted|exhausted|used up|run out)|(?:run )?out of credits?|spend(?:ing)? (?:cap|limit)|insufficient (?:credits?|balance|funds)/i
/** The account's plan lacks the model. */
const NOT_IN_PLAN =
  /\bfree (?:quota )?tier|\bpaid (?:quota )?(?:tier|plan)|upgrade (?:your|to a)|\bbilled (?:users|accounts|projects)|(?:in|on|by|with) your (?:current )?(?:plan|subscription)/i

/** A message without the parts in quotes, which may be the prompt's. */
function ownWords({ message }: GoogleError): string {
  return message.replace(/"[^"]*"/g, '""')
}

/**
 * A refusal of the account, or of a model on its plan, without an end that Google tells. The person repairs it at
 * Google, so the account is asked again after a while, and needs no new file.
 */
function planVerdict(error: GoogleError, model: string | undefined): Verdict | undefined {
  const { code = 403, status, reason } = error
  if (code >= 500) return undefined
  const words = ownWords(error)
  if (OUT_OF_MONEY.test(words)) return { kind: 'exhausted', reason: reasonOf('out_of_credits', error) }
  if (NOT_SERVED.has(reason ?? ''))
    return { kind: 'exhausted', reason: reasonOf(reason!.toLowerCase(), error) }
  // A limit names the plan and billing, too: "You exceeded your current quota, please check your plan and billing".
  if (code !== 400 && code !== 402 && code !== 403) return undefined
  if (NOT_SERVED_WORDS.test(words)) return { kind: 'exhausted', reason: reasonOf('not_served', error) }
  if (NOT_IN_PLAN.test(words)) return { kind: 'refused', reason: reasonOf('not_in_plan', error), model }
  // Google's name for a request that is fine, and that the account is not ready for.
  return status === 'FAILED_PRECONDITION'
    ? { kind: 'refused', reason: reasonOf('failed_precondition', error) }
    : undefined
}

const RATES = new Set(['RATE_LIMIT_EXCEEDED', 'rateLimitExceeded', 'userRateLimitExceeded'])
const QUOTAS = new Set([
  'QUOTA_EXHAUSTED',
  'INSUFFICIENT_G1_CREDITS_BALANCE',
  'quotaExceeded',
  'dailyLimitExceeded',
])

const LIMIT_WORDS =
  /quota (?:exceeded|reached)|rate limit|resource (?:has been |is )?exhausted|too many requests/i

function isLimit({ code, reason = '', message }: GoogleError, answer: UpstreamAnswer): boolean {
  if (answer.status === 429 || code === 429 || RATES.has(reason) || QUOTAS.has(reason)) return true
  return (code === undefined || code >= 500) && LIMIT_WORDS.test(message)
}

/** The Gemini CLI takes a longer delay for the end of a quota. */
const LONG_MS = 300_000

/** Tells a limit of a minute from one of a day; Google's limits count each model on its own. */
function limitVerdict(
  error: GoogleError,
  model: string | undefined,
  { answer, options: { dayEnds }, now }: Refusal,
): Verdict {
  const { message, quotaIds, resetsAt } = error
  const reason = reasonOf((error.reason ?? 'rate_limited').toLowerCase(), error)
  if (error.noQuota) return { kind: 'refused', reason: reasonOf('no_quota_for_model', error), model }
  if (isCapacity(error)) return { kind: 'unavailable', reason: 'model_capacity' }
  const wait = resetsAt === undefined ? undefined : resetsAt - now
  if (quotaIds.some((id) => /PerDay|Daily/i.test(id)) || /\bper day\b|\bdaily\b/i.test(message)) {
    // With a limit per day the API still sends the short delay of its limit per minute.
    const isLong = wait !== undefined && wait >= LONG_MS
    return { kind: 'exhausted', reason, resetsAt: isLong ? resetsAt : (dayEnds?.(now) ?? resetsAt), model }
  }
  if (QUOTAS.has(error.reason ?? '') || (wait !== undefined && wait > LONG_MS))
    return { kind: 'exhausted', reason, resetsAt, model }
  const minute = quotaIds.some((id) => /PerMinute/i.test(id)) ? 60_000 : undefined
  return { kind: 'cooling', reason, retryAfterMs: wait ?? waitIn(answer.headers) ?? minute, model }
}

const CAPACITY = /no capacity available|capacity exceeded|exhausted your capacity|MODEL_CAPACITY_EXHAUSTED/i

/** Google's own machines are full. The same words with a reset time mean the account's quota. */
function isCapacity({ reason, message, resetsAt }: GoogleError): boolean {
  if (reason !== undefined)
    return reason === 'MODEL_CAPACITY_EXHAUSTED' || reason === 'MODEL_CAPACITY_EXCEEDED'
  return CAPACITY.test(message) && resetsAt === undefined
}

const MODEL_WORDS = /\bmodels\/[\w.-]+ is not|model [\w."'-]{1,80} (?:is )?not (?:found|available|supported)/i
const RESOURCE_WORDS = /\b(?:file|cached ?content|tuned ?model|store|operation|batch)/i

/** The request names a thing of another account: that account has it, and the model is not refused. */
function isAnothers({ message }: GoogleError, status: number, request: ClientRequest): boolean {
  if (status !== 400 && status !== 403 && status !== 404) return false
  if (MODEL_WORDS.test(message) || (status === 400 && !RESOURCE_WORDS.test(message))) return false
  return resourcesIn(request).length > 0
}
