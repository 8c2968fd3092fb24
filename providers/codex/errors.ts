import type { IncomingHttpHeaders } from 'node:http'
import { statusNamed } from '../google/errors.js'
import { header } from '../http.js'
import { type Fields, fields, jsonIn, list, number, parseJson, text } from '../json.js'
import { resetFrom, timeIn, waitFrom, waitIn, waitInHeaders } from './times.js'

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
  const layers = [...layersOf(payload), ...layersOf(errorInHeader(carrier.headers))]
  const all = (names: readonly string[]) =>
    layers.flatMap((layer) => names.flatMap((name) => (layer[name] === undefined ? [] : [layer[name]])))
  const carried = all(['headers', 'response_headers', 'responseHeaders']).map(headersFrom)
  const headers = Object.assign({}, ...carried, carrier.headers) as IncomingHttpHeaders
  const words = all(CODES).flatMap((one) => wordOf(one) ?? [])
  const texts = textsOf(layers)
  const message = texts.join('\n').slice(0, 4_096)
  const wait = waitInHeaders(headers, now) ?? waitFrom(all) ?? waitIn(message)
  return {
    status: mostTelling([carrier.status, ...all(STATUSES).map(statusOf)]),
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

const CODES = [
  'code',
  'error_code',
  'errorCode',
  'reason',
  'type',
  'error_type',
  'error',
  'detail',
  'message',
]
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

/** Statuses that speak of an account. Gateways in front of an upstream write them into a 400 or a 502 of their own. */
const OF_ACCOUNT: ReadonlySet<number> = new Set([401, 402, 403, 429])

function mostTelling(statuses: readonly (number | undefined)[]): number | undefined {
  const told = statuses.filter((status) => status !== undefined)
  return told.find((status) => OF_ACCOUNT.has(status)) ?? told[0]
}

/** Codex knows a header with the error as JSON in base64. */
function errorInHeader(headers: IncomingHttpHeaders = {}): unknown {
  const told = header(headers, 'x-error-json')
  return told === undefined
    ? undefined
    : parseJson(Buffer.from(told.slice(0, 8_192), 'base64').toString('utf8'))
}

/** The nested objects of an error, the innermost first, since it says most. */
function layersOf(payload: unknown, depth = 0): Fields[] {
  // Bounds the work on foreign data; no real error nests deeper.
  if (depth > 8) return []
  const one = fields(payload) ?? fields(jsonIn(payload))
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
  return !/^\s*[[<]|\{\s*"/.test(given) && /\w\s+\w/.test(given)
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

/** Headers inside a message: an object, a list of pairs, or a list of objects with name and value. */
function headersFrom(value: unknown): IncomingHttpHeaders {
  const pairs: readonly unknown[] = Array.isArray(value)
    ? value.map((one: unknown) => (fields(one) ? [fields(one)?.name, fields(one)?.value] : one))
    : Object.entries(fields(value) ?? {})
  const entries = pairs.flatMap((pair) => {
    const [name, given] = list(pair)
    const one: unknown = Array.isArray(given) ? given[0] : given
    const isPlain = typeof one === 'string' || typeof one === 'number' || typeof one === 'boolean'
    return typeof name === 'string' && isPlain ? [[name.toLowerCase().replaceAll('_', '-'), String(one)]] : []
  })
  return Object.fromEntries(entries) as IncomingHttpHeaders
}
