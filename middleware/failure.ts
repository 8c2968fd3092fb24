import type { ServerResponse } from 'node:http'
import { redact } from '../config/index.js'
import type { Answer, ClientRequest, Failure, Provider } from '../config/provider.js'

/** The gateway answers in place of an upstream. Thrown, or handed to `next`, by any middleware of the chain. */
export class GatewayFailure extends Error implements Failure {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly retryAfterMs?: number | undefined,
  ) {
    super(redact(message))
    this.name = 'GatewayFailure'
  }
}

/** A request whose route is known. */
type Routed = ClientRequest & { readonly provider: Provider }

/** A failure in the shape that the route's client parses; in OpenAI's where the provider has no shape of its own. */
export function failureAnswer(failure: Failure, exchange: Routed | undefined): Answer {
  const answer = ofProvider(failure, exchange) ?? {
    status: failure.status,
    body: { error: { message: failure.message, type: 'codex_pool_error', code: failure.code } },
  }
  if (failure.retryAfterMs === undefined) return answer
  // Rounded up: a client that comes back a moment early is refused once more.
  const seconds = Math.max(1, Math.ceil(failure.retryAfterMs / 1000))
  return { ...answer, headers: { ...answer.headers, 'retry-after': String(seconds) } }
}

function ofProvider(failure: Failure, exchange: Routed | undefined): Answer | undefined {
  try {
    return exchange?.provider.failure?.(failure, exchange)
  } catch {
    // A function of the user's own has failed: the client must hear of the first failure all the same.
    return undefined
  }
}

/** The failure that the client gets for an error in the chain or an upgrade. Tells unexpected errors to `onUnexpected`. */
export function failureOf(error: Error, onUnexpected: (error: Error) => void): GatewayFailure {
  if (error instanceof GatewayFailure) return error
  onUnexpected(error)
  return new GatewayFailure(500, 'internal_error', 'the gateway failed; its log says why')
}

/** Sends an answer of the gateway's own. */
export function sendJson(response: ServerResponse, answer: Answer): void {
  const json = answer.body === undefined ? '' : JSON.stringify(answer.body)
  const isStream = answer.headers?.['content-type'] === 'text/event-stream'
  const body = isStream ? `data: ${json}\n\n` : json
  if (body !== '') response.setHeader('content-type', 'application/json')
  for (const [name, value] of Object.entries(answer.headers ?? {})) response.setHeader(name, value)
  // Such a body will not be read to its end, so its client should stop sending.
  if (Number(response.req.headers['content-length']) > MOST_READ_ON) response.setHeader('connection', 'close')
  response.writeHead(answer.status, { 'content-length': Buffer.byteLength(body) })
  endAnswer(response, body)
}

/** Bytes of a body that are read although its answer has been sent. */
const MOST_READ_ON = 64 * 1024 * 1024
/** The same as nginx's `lingering_time`; ms. */
const READ_ON_MS = 30_000

/** Middleware of the host app may compress, and then gives the response a `flush`. */
export type Flushable = ServerResponse & { flush?: () => void }

/**
 * Ends an answer with its last part. If the request's body is still arriving, that is read and dropped first: many
 * clients read no answer before they have sent everything, and a connection that is closed with unread bytes is reset,
 * which takes the answer with it.
 */
export function endAnswer(response: Flushable, last = ''): void {
  const { req: request } = response
  const { 'content-length': length = '0', 'transfer-encoding': encoding } = request.headers
  const hasBody = encoding !== undefined || Number(length) > 0
  if (!hasBody || request.complete || request.destroyed) {
    response.end(last)
    return
  }
  response.flushHeaders()
  if (last !== '') response.write(last)
  response.flush?.()
  let read = 0
  const stop = () => {
    clearTimeout(timer)
    request.off('data', onData).off('end', stop).off('close', stop)
    response.end(() => request.complete || request.socket.destroySoon())
  }
  const onData = (chunk: Buffer) => {
    read += chunk.length
    if (read > MOST_READ_ON) stop()
  }
  const timer = setTimeout(stop, READ_ON_MS)
  request.unpipe()
  request.on('data', onData).once('end', stop).once('close', stop).resume()
}
