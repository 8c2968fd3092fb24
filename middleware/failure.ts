import type { ServerResponse } from 'node:http'
import type { ErrorRequestHandler } from 'express'
import type { Answer, Failure } from '../config/provider.js'
import type { Account } from '../src/accounts/account.js'
import { type Exchange, findExchange } from './exchange.js'
import { GatewayFailure } from './gateway-failure.js'
import type { Tries } from './tries.js'

/** Sends an answer of the gateway's own. */
export function sendJson(response: ServerResponse, answer: Answer): void {
  const body = answer.body === undefined ? '' : JSON.stringify(answer.body)
  if (body !== '') response.setHeader('content-type', 'application/json')
  for (const [name, value] of Object.entries(answer.headers ?? {})) response.setHeader(name, value)
  response.writeHead(answer.status, { 'content-length': Buffer.byteLength(body) }).end(body)
}

/** A failure in the shape that the route's client parses; OpenAI's where no provider has a say. */
export function failureAnswer(failure: Failure, exchange: Exchange | undefined): Answer {
  const answer = inClientsWords(failure, exchange) ?? {
    status: failure.status,
    body: { error: { message: failure.message, type: 'codex_pool_error', code: failure.code } },
  }
  if (failure.retryAfterMs === undefined) return answer
  // Rounded up: a client that comes back a moment early is turned away once more.
  const seconds = Math.max(1, Math.ceil(failure.retryAfterMs / 1000))
  return { ...answer, headers: { ...answer.headers, 'retry-after': String(seconds) } }
}

function inClientsWords(failure: Failure, exchange: Exchange | undefined): Answer | undefined {
  try {
    return exchange?.provider.failure?.(failure, exchange)
  } catch {
    // A provider of the user's own; what was to be said is said all the same.
    return undefined
  }
}

export interface FailureOptions {
  readonly onUnexpected: (error: Error) => void
}

/** The end of the chain for whatever was thrown in it. */
export function answerFailure({ onUnexpected }: FailureOptions): ErrorRequestHandler {
  return function answerFailure(error: Error, request, response, _next) {
    if (!(error instanceof GatewayFailure)) onUnexpected(error)
    if (response.headersSent || response.destroyed) return void response.destroy()
    const failure =
      error instanceof GatewayFailure
        ? error
        : new GatewayFailure(500, 'internal_error', 'the gateway failed; its log says why')
    // A body that is still arriving would be read as the next request of this connection.
    if (!request.complete) response.setHeader('connection', 'close')
    sendJson(response, failureAnswer(failure, findExchange(request)))
  }
}

/** Told to a client that should come back although nobody knows when; ms. */
const SOME_TIME_MS = 5_000

/**
 * What the client hears when no account could serve: the truth about the pool, never one account's limit, never an
 * upstream's 401, never a challenge page. `fitting` are the accounts that could ever serve this request.
 */
export function finalAnswer(
  exchange: Exchange,
  fitting: readonly Account[],
  tries: Tries,
  now: number,
): Answer {
  const { model, provider } = exchange
  const usable = fitting.filter((account) => !account.disabled && !account.loginNeeded)
  if (usable.length === 0) return failureAnswer(noAccount(exchange, fitting), exchange)
  if (tries.trouble) return failureAnswer(upstreamDown(tries), exchange)
  if (usable.every((account) => account.state(now, model) === 'exhausted')) {
    const resets = usable.flatMap((account) => account.resetsAt(now, model) ?? [])
    const resetsAt = resets.length > 0 ? Math.min(...resets) : undefined
    const plan = usable.find((account) => account.resetsAt(now, model) === resetsAt)?.plan
    return provider.exhausted?.({ resetsAt, plan, model }, exchange) ?? { status: 429 }
  }
  // One that is free was busy proving itself, or the body could not be sent again: the next request may well get it.
  const ends = usable.map((account) => account.availableAt(now, model) ?? now)
  const wait = Math.max(Math.min(...ends) - now, 1_000)
  const message = `no account of the pool can take this request now; try again in ${Math.ceil(wait / 1000)} s`
  return failureAnswer(new GatewayFailure(503, 'accounts_cooling', message, wait), exchange)
}

/** Terminal: trying again helps nobody, so it is no 5xx. */
function noAccount(exchange: Exchange, fitting: readonly Account[]): GatewayFailure {
  const { providerName } = exchange.route
  if (fitting.length === 0) {
    const way = 'codex-pool login, codex-pool add FILE, or put a credential file into the pool folder'
    return new GatewayFailure(
      400,
      'no_accounts',
      `the pool has no ${providerName} account for this request: ${way}`,
    )
  }
  if (fitting.every(({ disabled }) => disabled))
    return new GatewayFailure(
      400,
      'accounts_disabled',
      `every ${providerName} account that could serve this is disabled`,
    )
  const why = fitting.map(({ id, loginNeeded }) => `${id}: ${loginNeeded?.reason ?? 'disabled'}`).join('; ')
  const way =
    'Unless it says otherwise: codex-pool login, or log in with the client and put its credential file into the pool folder'
  return new GatewayFailure(
    400,
    'login_required',
    `every ${providerName} account needs a new login (${why}). ${way}`,
  )
}

function upstreamDown({ trouble }: Tries): GatewayFailure {
  const { status, reason, retryAfterMs } = trouble!
  const message = `the upstream cannot be had now (${reason}); this is no limit of an account`
  return new GatewayFailure(status, 'upstream_unavailable', message, retryAfterMs ?? SOME_TIME_MS)
}
