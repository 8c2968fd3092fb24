import { durationMs, waitInMessage } from '../http.js'
import { type Fields, fields, jsonIn, number, objects, text, time } from '../json.js'
import { shortWord } from '../tokens.js'

/** An error of Google's APIs (google.rpc.Status and its details). */
export interface GoogleError {
  /** The HTTP status that the error itself names; inside a stream it is the only one. */
  readonly code: number | undefined
  /** Its name, such as `RESOURCE_EXHAUSTED`. */
  readonly status: string | undefined
  readonly message: string
  /** `ErrorInfo.reason`, such as `QUOTA_EXHAUSTED`, or the older `errors[0].reason`, such as `rateLimitExceeded`. */
  readonly reason: string | undefined
  readonly metadata: Fields
  /** When the limit ends: the most exact of the fields that tell it; ms since 1970. */
  readonly resetsAt: number | undefined
  /** `QuotaFailure` and the older `quota_limit`: names such as `GenerateRequestsPerDayPerProjectPerModel-FreeTier`. */
  readonly quotaIds: readonly string[]
  /** The limit is 0: the plan has nothing of this model. */
  readonly noQuota: boolean
  /** The first address of `Help`. */
  readonly link: string | undefined
}

/** Longer messages are reports; their end is not read. */
const LONGEST_MESSAGE = 4_096

/**
 * Reads an error wherever Google and its clients' libraries put it: `{"error":{…}}`, the list `[{"error":{…}}]` of the
 * streaming methods, an event of a stream, Code Assist's `{"response":{"error":{…}}}`, a bare google.rpc.Status,
 * `{"error":"…"}`, or one of these as JSON in the message of another. Times are told relative to `now`, ms since 1970.
 */
export function googleError(payload: unknown, now: number = Date.now()): GoogleError | undefined {
  const error = errorIn(payload)
  if (!error) return undefined
  const message = (text(error.message) ?? '').slice(0, LONGEST_MESSAGE)
  const inner = jsonIn(error.message)
  const innerError = inner === undefined ? undefined : googleError(inner, now)
  if (innerError) return innerError
  const details = objects(error.details)
  const detail = (type: string) => details.find((it) => text(it['@type'])?.endsWith(`google.rpc.${type}`))
  const info = detail('ErrorInfo')
  const metadata = fields(info?.metadata) ?? {}
  const violations = objects(detail('QuotaFailure')?.violations)
  const status = shortWord(error.status)
  return {
    code: httpStatus(error.code ?? number(error.status), status) ?? statusSaid(message),
    status,
    message,
    reason: shortWord(info?.reason) ?? shortWord(objects(error.errors)[0]?.reason),
    metadata,
    resetsAt: resetOf(metadata, delayIn(details.find(hasDelay) ?? error), message, now),
    quotaIds: [
      ...violations.flatMap(({ quotaId }) => text(quotaId) ?? []),
      ...(text(metadata.quota_limit)?.split(',') ?? []),
    ],
    noQuota:
      /limit:\s*0(?![\d.])/i.test(message) || violations.some(({ quotaValue }) => number(quotaValue) === 0),
    link: text(objects(detail('Help')?.links)[0]?.url),
  }
}

function errorIn(payload: unknown): Fields | undefined {
  if (Array.isArray(payload)) return payload.map(errorIn).find((error) => error !== undefined)
  const body = fields(payload)
  if (!body) return undefined
  const error = body.error ?? fields(body.response)?.error ?? objects(body.errors)[0]
  if (fields(error)) return fields(error)
  const told = text(error) ?? text(body.detail)
  if (told !== undefined)
    return { ...body, message: text(body.error_description) ?? text(body.message) ?? told }
  return isStatus(body) ? body : undefined
}

/** A bare google.rpc.Status, as the final `error` of an operation, or an error of another program's own. */
function isStatus({ code, status, type, message }: Fields): boolean {
  const tells = number(code) ?? number(status) ?? statusNamed(status)
  return text(message) !== undefined && (tells !== undefined || type === 'error')
}

/** What gateways in front of an upstream write in place of a status. */
function statusSaid(message: string): number | undefined {
  if (/^(?:401 )?unauthori[sz]ed\b/i.test(message)) return 401
  return /^(?:403 )?forbidden\b/i.test(message) ? 403 : undefined
}

/** google.rpc.Code by number, with the HTTP status that Google's APIs map each to. */
const CODES: readonly (readonly [name: string, http: number])[] = [
  ['OK', 200],
  ['CANCELLED', 499],
  ['UNKNOWN', 500],
  ['INVALID_ARGUMENT', 400],
  ['DEADLINE_EXCEEDED', 504],
  ['NOT_FOUND', 404],
  ['ALREADY_EXISTS', 409],
  ['PERMISSION_DENIED', 403],
  ['RESOURCE_EXHAUSTED', 429],
  ['FAILED_PRECONDITION', 400],
  ['ABORTED', 409],
  ['OUT_OF_RANGE', 400],
  ['UNIMPLEMENTED', 501],
  ['INTERNAL', 500],
  ['UNAVAILABLE', 503],
  ['DATA_LOSS', 500],
  ['UNAUTHENTICATED', 401],
]

/** The HTTP status for a name of google.rpc.Code, which other upstreams write, too. */
export function statusNamed(name: unknown): number | undefined {
  return CODES.find(([known]) => known === name)?.[1]
}

/** The name is more exact than the number: some layers write 400 or 500 above a RESOURCE_EXHAUSTED. */
function httpStatus(code: unknown, status: string | undefined): number | undefined {
  const named = statusNamed(status)
  const numbered = number(code)
  return named ?? (numbered !== undefined && numbered < CODES.length ? CODES[numbered]?.[1] : numbered)
}

const hasDelay = ({ retryDelay, retry_delay }: Fields): boolean => (retryDelay ?? retry_delay) !== undefined

/** A delay in `RetryInfo`, or beside the message; with or without its `@type`, and in the spellings of other programs. */
function delayIn({ retryDelay, retry_delay, retry_after, retry_after_ms }: Fields): unknown {
  const ms = number(retry_after_ms)
  return retryDelay ?? retry_delay ?? retry_after ?? (ms === undefined ? undefined : `${ms}ms`)
}

function resetOf(metadata: Fields, retryDelay: unknown, message: string, now: number): number | undefined {
  const at = time(text(metadata.quotaResetTimeStamp) ?? text(metadata.quotaResetTime))
  if (at !== undefined && at > now) return at
  const wait = duration(metadata.quotaResetDelay) ?? duration(retryDelay) ?? waitInMessage(message)
  return wait === undefined ? dateIn(message) : now + wait
}

const DATE =
  /\b(?:at|on|until|after) (\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d)?)(?:\.\d{1,9})?(Z| ?UTC|[+-]\d\d:\d\d)/

/** "Your quota resets at 2026-01-01 08:00 UTC." */
function dateIn(message: string): number | undefined {
  const [, day, clock, zone = ''] = DATE.exec(message) ?? []
  return day === undefined ? undefined : time(`${day}T${clock}${zone.replace(/ ?UTC/, 'Z')}`)
}

/** A protobuf Duration: `"3.5s"`, a number of seconds, or `{ seconds, nanos }`. */
function duration(value: unknown): number | undefined {
  const parts = fields(value)
  const seconds = parts ? number(parts.seconds) : number(value)
  return seconds === undefined ? durationMs(value) : durationMs(`${seconds}s`)
}

/** The first sentence of a message, on one line, as people are shown it. */
export function sentenceOf(message: string): string {
  const line = message
    .slice(0, 300)
    .replace(/[\s\p{Cc}]+/gu, ' ')
    .trim()
  const end = line.search(/[.!?] /)
  const sentence = end < 0 ? line : line.slice(0, end + 1)
  return sentence.length > 200 ? `${sentence.slice(0, 199)}…` : sentence
}
