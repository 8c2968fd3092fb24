import type { OutgoingHttpHeaders } from 'node:http'
import { unreadable, type UnreadableWording, usageLimitBody } from './codex/errors.js'
import { Pause, type WireFault } from './fault.js'
import { field, text } from './json.js'

/** A refusal of your own wording. `faults.refusal({ status: 429, word: 'usage_limit_reached', in: 'type' })` */
export interface RefusalScript {
  /** @default 429 */
  status?: number
  /** The word that names the reason, such as `usage_limit_reached`. */
  word: string
  /** The fields that hold the word. @default ['code'] */
  in?: 'code' | 'type' | 'reason' | 'detail' | readonly ('code' | 'type' | 'reason' | 'detail')[]
  /** @default the word */
  message?: string
  /** Fields beside the word, such as `resets_at`, `resets_in_seconds`, `plan_type`. @default none */
  more?: object
  /** Puts the fields into the body itself, without an `error` around them. @default false */
  flat?: boolean
  headers?: OutgoingHttpHeaders
}

/** How a refusal is told inside a 200 stream, over HTTP or, with `frame`, over a WebSocket. */
export interface InStream {
  /** The event that tells it. @default 'error' */
  as?: 'error' | 'response.failed'
  /** The field of an `error` event that holds the status; `false` leaves it out. @default 'status' */
  statusField?: 'status' | 'status_code' | false
  /** Puts the fields of the error beside the event's `type`. @default false */
  flat?: boolean
  /** Puts the refusal's headers into the event, as the real one does over a WebSocket. @default true */
  headers?: boolean
  /**
   * Sends the events that come before any output first, with so many bytes of instructions in `response.created` and
   * `response.in_progress`: the real ones repeat instructions and tools there. @default nothing comes first
   */
  preludeBytes?: number
  /** Sends so many events of the answer first, for an error that comes late. @default 0 */
  after?: number
  /** Pause between the events that come first and the refusal; the head is sent before it. ms. @default 0 */
  afterMs?: number
}

const answer = (status: number, body: unknown, headers: OutgoingHttpHeaders = {}): WireFault => {
  const type = typeof body === 'string' ? 'text/html; charset=UTF-8' : 'application/json'
  return { status, body, headers: { 'content-type': type, ...headers } }
}
const openAiError = (status: number, code: string, message: string, headers?: OutgoingHttpHeaders) =>
  answer(status, { error: { message, type: 'server_error', param: null, code } }, headers)
const retryAfterHeader = (value: number | string | undefined) =>
  value === undefined ? {} : { 'retry-after': String(value) }

/** Faults in the exact form of the real upstreams, for `sim.fail({ with: … })`. Times in ms since 1970. */
export const faults = {
  /** The connection is destroyed after so many events. */
  cut: (after = 2): WireFault => ({ ending: 'cut', after }),
  /** The answer ends cleanly after so many events, without the last one. */
  end: (after = 2): WireFault => ({ ending: 'end', after }),
  /** Nothing more comes after so many events. */
  stall: (after = 2): WireFault => ({ ending: 'stall', after }),
  /** Every event comes late. */
  slow: (pauseMs: number): WireFault => ({ pauseMs }),
  /** A WebSocket is closed with this code after so many events. */
  close: (code: number, reason = '', after = 0): WireFault => ({
    ending: 'end',
    after,
    close: { code, reason },
  }),
  /** One more event, of so many bytes, before the last one. */
  big: (bytes: number): WireFault => ({
    events: (events) => [...events.slice(0, -1), bigEvent(bytes), ...events.slice(-1)],
  }),
  /** The answer is compressed, whatever the client accepts. */
  gzip: (): WireFault => ({ gzip: true }),
  /** The answer has this `Content-Type`, or none: a proxy in between has changed it. */
  contentType: (value?: string): WireFault => ({ headers: { 'content-type': value } }),
  /** 200 with a page of the network in place of the answer. */
  page: (): WireFault => answer(200, '<!DOCTYPE html><html><head><title>Sign in</title></head></html>'),
  /** 200 with plain JSON in place of a stream. */
  json: (body: object = { ok: true }): WireFault => answer(200, body),

  /** Codex: the quota window is used up. */
  usageLimit: ({
    resetsAt,
    plan,
    now = Date.now(),
  }: { resetsAt?: number; plan?: string; now?: number } = {}) =>
    answer(429, usageLimitBody(plan, resetsAt, now)),
  /** Codex: the quota of one model is used up, and the account's own is not. */
  modelLimit: ({
    id = 'codex_bengalfox',
    name = 'GPT-5.3-Codex-Spark',
    resetsAt = Date.now() + 3_600_000,
  } = {}) =>
    answer(429, usageLimitBody('pro', resetsAt, Date.now()), {
      'x-codex-active-limit': id,
      'x-codex-primary-used-percent': '100',
      [`x-${id.replaceAll('_', '-')}-primary-used-percent`]: '100',
      [`x-${id.replaceAll('_', '-')}-limit-name`]: name,
    }),
  /** 429 without a quota's end. `retryAfter` as in the header: seconds, or an HTTP date. */
  rateLimited: (retryAfter?: number | string): WireFault =>
    openAiError(
      429,
      'rate_limit_exceeded',
      'Rate limit reached, please try again later.',
      retryAfterHeader(retryAfter),
    ),
  /** 401, as for a token that has ended. With `until` in the rule: good tokens that are refused for a while. */
  unauthorized: (code = 'token_expired'): WireFault =>
    answer(401, {
      error: { message: 'Please try signing in again.', type: null, code, param: null },
      status: 401,
    }),
  /** 402, as for a workspace that does not pay. */
  paymentRequired: (): WireFault => answer(402, { detail: { code: 'deactivated_workspace' } }),
  /** 403, as for an account that may not do this. */
  forbidden: (): WireFault => answer(403, { detail: 'You are not a member of this workspace.' }),
  /** 403, a page that asks whether you are human. */
  challenge: (): WireFault => answer(403, CHALLENGE, { server: 'cloudflare', 'cf-mitigated': 'challenge' }),
  /** 404, on a path that exists for other accounts. */
  notFound: (): WireFault => answer(404, { detail: 'Not Found' }),
  /** 5xx in JSON. */
  serverError: (status = 500, retryAfter?: number): WireFault =>
    openAiError(
      status,
      'server_error',
      'An error occurred while processing your request.',
      retryAfterHeader(retryAfter),
    ),
  /** 5xx as a page of the network in between. */
  badGateway: (status = 502): WireFault => answer(status, BAD_GATEWAY, { server: 'cloudflare' }),
  /** 503 that says that the model, not the account, is in trouble. */
  overloaded: (): WireFault => openAiError(503, 'server_is_overloaded', 'The model is currently overloaded.'),
  /** 503 in the words that the Codex CLI shows as they are. */
  atCapacity: (): WireFault =>
    openAiError(503, 'model_at_capacity', 'Selected model is at capacity. Please try a different model.'),
  /** 400 that says that the account may not use the model. */
  unsupportedModel: (model: string): WireFault =>
    answer(400, { detail: `The '${model}' model is not supported when using Codex with a ChatGPT account.` }),
  /** 400: the request holds encrypted content that the account cannot read. */
  unreadable: (wording: UnreadableWording = 'content'): WireFault => {
    const { body } = unreadable(wording, 'rs_sim_1', 'gAAAAABsimulated=')
    return answer(400, body)
  },
  /** A WebSocket that has been open for as long as one may be; the client is to open another. */
  connectionLimit: (): WireFault =>
    answer(400, {
      error: {
        message:
          'Responses websocket connection limit reached (60 minutes). Create a new websocket connection.',
        type: 'invalid_request_error',
        param: null,
        code: 'websocket_connection_limit_reached',
      },
    }),
  /** A 200 stream that fails right after `response.created`. */
  failed: (code: string, message = code): WireFault => ({
    events: (events) => [...events.slice(0, 1), failedEvent({ code, message })],
  }),
  /** A 200 stream whose first event is an error. */
  errorEvent: (code: string, message = code): WireFault => ({
    events: () => [{ type: 'error', error: { type: code, code, message, param: null }, sequence_number: 0 }],
  }),
  /** A refusal in any of the forms in which the fields of errors are seen. */
  refusal: ({
    status = 429,
    word,
    in: fields = 'code',
    message = word,
    more,
    flat,
    headers,
  }: RefusalScript) => {
    const named = Object.fromEntries([fields].flat().map((name) => [name, word]))
    const error = { message, ...named, ...more }
    return answer(status, flat ? error : { error }, headers)
  },
  /** Any refusal, told inside a 200 stream: as its first event, after a prelude, or late. */
  inStream: (refusal: WireFault, how: InStream = {}): WireFault => ({
    events: (events) => {
      const pause = how.afterMs === undefined ? [] : [new Pause(how.afterMs)]
      return [...before(events, how), ...pause, toldBy(refusal, how)]
    },
  }),
} as const

/** The events that a stream brings before a refusal. */
function before(events: readonly object[], { preludeBytes, after = 0 }: InStream): readonly object[] {
  if (preludeBytes === undefined) return events.slice(0, after)
  const end = events.findIndex((event) => text(event, 'type') === 'response.in_progress') + 1
  return events.slice(0, Math.max(end, after)).map((event) => {
    const response = field(event, 'response')
    if (text(event, 'type') === 'response.completed' || typeof response !== 'object') return event
    return { ...event, response: { ...response, instructions: 'x'.repeat(Math.ceil(preludeBytes / 2)) } }
  })
}

function toldBy({ status, body, headers = {} }: WireFault, how: InStream): object {
  const message = text(body, 'detail') ?? text(body, 'message') ?? `status ${status}`
  const nested = field(body, 'error') ?? field(body, 'detail')
  const error = typeof nested === 'object' ? nested : { message, ...(typeof body === 'object' ? body : {}) }
  if (how.as === 'response.failed') return failedEvent({ ...error })
  const { 'content-type': _, ...told } = headers
  return {
    type: 'error',
    ...(how.statusField === false ? {} : { [how.statusField ?? 'status']: status }),
    ...(how.flat ? { ...error, type: 'error' } : { error }),
    ...((how.headers ?? true) ? { headers: told } : {}),
  }
}

function failedEvent(error: object): object {
  const response = { id: 'resp_sim_failed', object: 'response', status: 'failed', output: [], usage: null }
  return { type: 'response.failed', sequence_number: 1, response: { ...response, error } }
}

/** `bytes` of text in an event of a kind that clients pass over. */
const bigEvent = (bytes: number): object => ({ type: 'simulator.padding', padding: 'x'.repeat(bytes) })

const CHALLENGE =
  '<!DOCTYPE html><html lang="en-US"><head><title>Just a moment...</title></head><body>' +
  '<noscript>Enable JavaScript and cookies to continue</noscript></body></html>'
const BAD_GATEWAY =
  '<html><head><title>Bad gateway</title></head><body><center><h1>Bad gateway</h1></center></body></html>'
