import type { IncomingHttpHeaders } from 'node:http'
import { statusNamed } from '../google/errors.js'
import { durationMs, header, retryAfterMs, waitInMessage } from '../http.js'
import { type Fields, fields, list, number, parseJson, text } from '../json.js'

/** An upstream's refusal, read alike from an answer, an event of a stream and a message of a WebSocket. */
export interface UpstreamError {
  /** The answer's status, or else the one inside the error. */
  readonly status: number | undefined
  /** The answer's headers, and those inside a message; lower-case names. */
  readonly headers: IncomingHttpHeaders
  /** An HTML page came instead of JSON. */
  readonly page: boolean
  /** Every `code`, `reason` and `type` in it, in one spelling: `usage_limit_reached`. */
  readonly words: readonly string[]
  /** The first of `words`, for people and records. */
  readonly code: string | undefined
  /** All of its texts for people; the innermost first. */
  readonly message: string
  /** The first text that is a sentence; `undefined` if there is none. */
  readonly sentence: string | undefined
  readonly plan: string | undefined
  /** ms since 1970 */
  readonly resetsAt: number | undefined
  /** How long it asks to wait; ms. */
  readonly waitMs: number | undefined
  /** The id of the limit that was reached, where it is told. */
  readonly limit: string | undefined
}

export interface Carrier {
  readonly status?: number
  readonly headers?: IncomingHttpHeaders
  readonly page?: boolean
  /** ms since 1970 */
  readonly now: number
}

/** Reads an error in any of its forms: nested or flat, with `error`, `detail`, a list of details, or JSON in a text. */
export function upstreamError(payload: unknown, carrier: Carrier): UpstreamError {
  const { page = false, now } = carrier
  const layers = layersOf(payload)
  const all = (names: readonly string[]) =>
    layers.flatMap((layer) => names.flatMap((name) => (layer[name] === undefined ? [] : [layer[name]])))
  const carried = all(['headers']).map(headersFrom)
  const headers = Object.assign({}, ...carried, carrier.headers) as IncomingHttpHeaders
  const words = all(['code', 'error_code', 'reason', 'type', 'error', 'detail', 'message']).flatMap(
    (one) => wordOf(one) ?? [],
  )
  const texts = textsOf(layers)
  const message = texts.join('\n').slice(0, 4_096)
  const wait = waitInHeaders(headers, now) ?? waitFrom(all) ?? waitIn(message)
  return {
    status: carrier.status ?? all(STATUSES).map(statusOf).find(Boolean),
    headers,
    page,
    words,
    code: words[0],
    message,
    sentence: texts.find(isSentence)?.slice(0, 4_096),
    plan: all(['plan_type']).map(text).find(Boolean) ?? header(headers, 'x-codex-plan-type'),
    resetsAt: resetFrom(all, now) ?? timeIn(message, now),
    waitMs: wait,
    limit:
      header(headers, 'x-codex-active-limit') ??
      all(['limit_id', 'metered_feature', 'metered_limit_name']).map(text).find(Boolean),
  }
}

const STATUSES = [
  'status',
  'status_code',
  'statusCode',
  'http_status',
  'httpStatus',
  'http_status_code',
  'code',
]

/** Fields in which an upstream, or a gateway in front of it, nests its error. */
const WRAPPERS =
  'error last_error inner_error cause detail details errors status_details incomplete_details response body data metadata raw message'.split(
    ' ',
  )

/** The nested objects of an error, the innermost first, since it says most. */
function layersOf(payload: unknown, depth = 0): Fields[] {
  // Bounds the work on foreign data; no real error nests deeper.
  if (depth > 5) return []
  const one = fields(payload) ?? fields(parseJson(payload))
  if (!one)
    return list(payload)
      .slice(0, 8)
      .flatMap((item) => layersOf(item, depth + 1))
  return [...WRAPPERS.flatMap((name) => layersOf(one[name], depth + 1)), one]
}

const TEXTS = ['message', 'msg', 'detail', 'error', 'error_description', 'description', 'title']

function textsOf(layers: readonly Fields[]): string[] {
  return layers.flatMap((layer) => TEXTS.flatMap((name) => text(layer[name]) ?? []))
}

/** Whether a text is meant for people: not JSON, not a page, not a code. */
function isSentence(given: string): boolean {
  return !/^\s*[{[<]/.test(given) && /\w\s+\w/.test(given)
}

/** Event types that carry an error. They are no reason. */
const EVENTS = /^(error|response\.(failed|error|created|in_progress|queued|completed|done|incomplete))$/

/** A code is shown to people and stored, so only a short word counts: an upstream may repeat the request there. */
function wordOf(value: unknown): string | undefined {
  const given = text(value)?.trim()
  if (given === undefined || EVENTS.test(given) || !/^[a-z][\w.-]{1,63}$/i.test(given)) return undefined
  return given.toLowerCase().replaceAll('-', '_')
}

function statusOf(value: unknown): number | undefined {
  const status = number(value) ?? statusNamed(value) ?? 0
  return Number.isInteger(status) && status >= 400 && status <= 599 ? status : undefined
}

function headersFrom(value: unknown): IncomingHttpHeaders {
  const entries = Object.entries(fields(value) ?? {}).flatMap(([name, given]) => {
    const one: unknown = Array.isArray(given) ? given[0] : given
    return typeof one === 'string' || typeof one === 'number' || typeof one === 'boolean'
      ? [[name.toLowerCase().replaceAll('_', '-'), String(one)]]
      : []
  })
  return Object.fromEntries(entries) as IncomingHttpHeaders
}

type All = (names: readonly string[]) => unknown[]

const RESETS_AT = [
  'resets_at',
  'reset_at',
  'resetsAt',
  'resetAt',
  'reset_time',
  'resetTime',
  'resets_at_ms',
  'reset_at_ms',
]
const RESETS_IN = [
  'resets_in_seconds',
  'reset_after_seconds',
  'resets_in',
  'reset_in',
  'resetsIn',
  'resetsInSeconds',
  'resetAfterSeconds',
]
const RESETS_IN_MS = ['resets_in_ms', 'reset_after_ms', 'resetsInMs', 'resetAfterMs']

function resetFrom(all: All, now: number): number | undefined {
  const at = all(RESETS_AT).map((value) => timeOf(value, now))
  const after = all(RESETS_IN).map((value) => distanceOf(value, now))
  const afterMs = all(RESETS_IN_MS).map((value) => distanceOf((number(value) ?? 0) / 1000, now))
  return [...at, ...after, ...afterMs].find((time) => time !== undefined)
}

function waitFrom(all: All): number | undefined {
  const ms = all(['retry_after_ms', 'retryAfterMs', 'wait_ms'])
    .map(number)
    .find((one) => one !== undefined && one > 0)
  if (ms !== undefined) return ms
  const told = all(['retry_after', 'retry_after_seconds', 'retryAfter', 'retry_delay', 'retryDelay'])
  return told.map((value) => distanceOf(value, 0)).find((one) => one !== undefined)
}

/** `Retry-After`; else `retry-after-ms`, and the reset of the limit of which nothing is left (OpenAI, "Rate limits"). */
function waitInHeaders(headers: IncomingHttpHeaders, now: number): number | undefined {
  const ms = number(header(headers, 'retry-after-ms'))
  const wait =
    retryAfterMs(header(headers, 'retry-after'), now) ?? (ms !== undefined && ms > 0 ? ms : undefined)
  if (wait !== undefined) return wait
  const spent = ['requests', 'tokens'].find(
    (what) => header(headers, `x-ratelimit-remaining-${what}`) === '0',
  )
  return durationMs(header(headers, `x-ratelimit-reset-${spent ?? ''}`))
}

/** The last day that `Date` knows; ms. */
const LATEST = 8.64e15

/** A time in seconds or milliseconds since 1970, as an ISO date, or in words; ms since 1970. */
function timeOf(value: unknown, now: number): number | undefined {
  const told = number(value)
  if (told === undefined) {
    const given = text(value) ?? ''
    return dateIn(given) ?? distanceOf(given, now)
  }
  // As seconds since 1970 this would be before 2001, so it is a number of seconds from now.
  if (told > 0 && told < 1e9) return now + told * 1000
  // In seconds, 1e11 is the year 5138; in milliseconds, the year 1973.
  const time = told >= 1e11 ? told : told * 1000
  return told > 0 && time <= LATEST ? time : undefined
}

/** Seconds from now, as a number or in words; ms since 1970. */
function distanceOf(value: unknown, now: number): number | undefined {
  const seconds = number(value)
  const ms = seconds === undefined ? durationMs(spelledOut(text(value) ?? '')) : seconds * 1000
  return ms !== undefined && ms > 0 && now + ms <= LATEST ? now + ms : undefined
}

/** "in 2 weeks" and "an hour" as numbers of days and hours. */
function spelledOut(given: string): string {
  return given
    .replace(/^\s*(?:in|after|about) /i, '')
    .replace(/\b(an?|one) (?=(week|day|hour|minute|second)\b)/gi, '1 ')
    .replace(/\b(\d{1,4}) ?(?:w|wks?|weeks?)\b/gi, (_, weeks: string) => `${Number(weeks) * 7} days`)
}

function waitIn(message: string): number | undefined {
  return waitInMessage(spelledOut(message))
}

/** The reset that a message names: "try again at Dec 1st, 2026 9:14 AM UTC", "resets in 3 days 4 hours"; ms since 1970. */
function timeIn(message: string, now: number): number | undefined {
  const hint = /\b(?:again|resets?|until|available|back|renews?)\b(.{0,80})/is.exec(message)?.[1]
  const date = hint === undefined ? undefined : dateIn(hint)
  const wait = waitIn(message)
  return date ?? (wait === undefined ? undefined : now + wait)
}

const ISO = /\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?: ?(?:Z|UTC|GMT|[+-]\d{2}:?\d{2}))?/i
const UNIX = /\b\d{10}(?:\d{3})?\b/
const MONTH = String.raw`(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\.?`
const CLOCK = String.raw`(?:,? (?:at )?\d{1,2}:\d{2}(?::\d{2})?(?: ?[ap]\.?m\.?)?(?: ?\(?(?:UTC|GMT|Z)\)?)?)?`
const WORDS = new RegExp(
  String.raw`${MONTH} \d{1,2}(?:st|nd|rd|th)?,? \d{4}${CLOCK}|\d{1,2}(?:st|nd|rd|th)? ${MONTH},? \d{4}${CLOCK}`,
  'i',
)

/** The first date in a text that names its year. A time of the day alone may be of any time zone, so it tells nothing. */
function dateIn(given: string): number | undefined {
  const unix = UNIX.exec(given)?.[0]
  const found = ISO.exec(given)?.[0] ?? WORDS.exec(given)?.[0]
  if (found === undefined) return unix === undefined ? undefined : timeOf(Number(unix), 0)
  const plain = found
    .replace(/(\d)(?:st|nd|rd|th)\b/i, '$1')
    .replace(/ at /i, ' ')
    .replace(/([ap])\.?m\.?/i, '$1m')
    .replace(/(\d) ?([ap]m)/i, '$1 $2')
    .replace(/[()]/g, '')
  const zoned = /(?:Z|UTC|GMT|[+-]\d{2}:?\d{2})$/i.test(plain.trim())
    ? plain
    : `${plain}${/T\d/i.test(plain) ? 'Z' : ' UTC'}`
  const time = Date.parse(zoned)
  return Number.isNaN(time) ? undefined : time
}
