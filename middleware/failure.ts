import type { ServerResponse } from 'node:http'
import type { ErrorRequestHandler } from 'express'
import type { Answer, Failure } from '../config/provider.js'
import { findExchange, type Exchange } from './exchange.js'
import { GatewayFailure } from './gateway-failure.js'

/** Sends an answer of the gateway's own. */
export function send(response: ServerResponse, answer: Answer): void {
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
    send(response, failureAnswer(failure, findExchange(request)))
  }
}
