import type { OutgoingHttpHeaders } from 'node:http'
import { usageLimitBody } from './codex/errors.js'
import type { WireFault } from './fault.js'

const answer = (status: number, body: unknown, headers: OutgoingHttpHeaders = {}): WireFault => {
  const type = typeof body === 'string' ? 'text/html; charset=UTF-8' : 'application/json'
  return { status, body, headers: { 'content-type': type, ...headers } }
}
const openAiError = (status: number, code: string, message: string, headers?: OutgoingHttpHeaders) =>
  answer(status, { error: { message, type: 'server_error', param: null, code } }, headers)

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

  /** Codex: the quota window is used up. */
  usageLimit: ({
    resetsAt,
    plan,
    now = Date.now(),
  }: { resetsAt?: number; plan?: string; now?: number } = {}) =>
    answer(429, usageLimitBody(plan, resetsAt, now)),
  /** 429 without a quota's end. `retryAfter` as in the header: seconds, or an HTTP date. */
  rateLimited: (retryAfter?: number | string): WireFault =>
    openAiError(
      429,
      'rate_limit_exceeded',
      'Rate limit reached, please try again later.',
      retryAfterHeader(retryAfter),
    ),
  /** 401, as for a token that has ended. */
  unauthorized: (code = 'token_expired'): WireFault =>
    answer(401, {
      error: { message: 'Please try signing in again.', type: null, code, param: null },
      status: 401,
    }),
  /** 402, as for a workspace that does not pay. */
  paymentRequired: (): WireFault => answer(402, { detail: { code: 'deactivated_workspace' } }),
  /** 403, a page that asks whether you are human. */
  challenge: (): WireFault => answer(403, CHALLENGE, { server: 'cloudflare', 'cf-mitigated': 'challenge' }),
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
  /** 400 that says that the account may not use the model. */
  unsupportedModel: (model: string): WireFault =>
    answer(400, { detail: `The '${model}' model is not supported when using Codex with a ChatGPT account.` }),
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
    events: (events) => [...events.slice(0, 1), failedEvent(code, message)],
  }),
  /** A 200 stream whose first event is an error. */
  errorEvent: (code: string, message = code): WireFault => ({
    events: () => [{ type: 'error', error: { type: code, code, message, param: null }, sequence_number: 0 }],
  }),
} as const

const retryAfterHeader = (value: number | string | undefined) =>
  value === undefined ? {} : { 'retry-after': String(value) }

function failedEvent(code: string, message: string): object {
  const response = { id: 'resp_sim_failed', object: 'response', status: 'failed', output: [], usage: null }
  return { type: 'response.failed', sequence_number: 1, response: { ...response, error: { code, message } } }
}

/** `bytes` of text in an event of a kind that clients pass over. */
const bigEvent = (bytes: number): object => ({ type: 'simulator.padding', padding: 'x'.repeat(bytes) })

const CHALLENGE =
  '<!DOCTYPE html><html lang="en-US"><head><title>Just a moment...</title></head><body>' +
  '<noscript>Enable JavaScript and cookies to continue</noscript></body></html>'
const BAD_GATEWAY =
  '<html><head><title>Bad gateway</title></head><body><center><h1>Bad gateway</h1></center></body></html>'
