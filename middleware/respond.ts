import type { IncomingMessage, ServerResponse } from 'node:http'
import type { RequestHandler } from 'express'
import { parseJson } from '../config/index.js'
import type { AnswerForm } from '../config/provider.js'
import type { Pool } from '../src/pool/pool.js'
import { OF_THE_BODY, sendRefusal } from './adapted.js'
import { boundKey } from './auth-injection.js'
import { Delivery, type FromUpstream } from './delivery.js'
import { exchangeOf, type Exchange } from './exchange.js'
import { sendJson } from './failure.js'
import { endStream, type FailureOptions } from './final-answer.js'
import { deliverable, setHeaders } from './headers.js'
import { textOf } from './judge.js'
import { ownAddresses } from './resources.js'

/** Writes the chosen answer to the client: status and headers, then the body byte for byte. */
export function respond(pool: Pool, { onUnexpected }: FailureOptions): RequestHandler {
  return function respond(request, response) {
    const exchange = exchangeOf(request)
    const { outcome, keepAlive } = exchange
    keepAlive?.stop()
    if (!outcome || outcome.kind === 'left') return void response.destroy()
    if (outcome.kind === 'upstream') {
      const inStream = keepAlive?.begun && outcome.answer.status >= 400
      if (inStream) return void tellRefusal(exchange, outcome, response)
      const { answer } = outcome
      if (answer.status >= 400 && answer.form?.refusal)
        return void refuse(exchange, outcome, response).catch(onUnexpected)
      return deliver(exchange, outcome, response, pool, onUnexpected)
    }
    if (keepAlive?.begun) return endStream(exchange, response, outcome.answer)
    sendJson(response, outcome.answer)
  }
}

/** Tells an upstream's refusal of the request itself, once the head of a stream has been sent. */
async function tellRefusal(
  exchange: Exchange,
  { answer, account, release }: FromUpstream,
  response: ServerResponse,
): Promise<void> {
  exchange.servedBy = account
  const text = await textOf(answer)
  release()
  answer.discard()
  const body = parseJson(text) ?? { error: { message: text } }
  endStream(exchange, response, {
    status: answer.status,
    body: answer.form?.refusal?.(answer.status, body) ?? body,
  })
}

/** Sends an upstream's refusal in the shape that an adapted request's client reads. */
async function refuse(exchange: Exchange, outcome: FromUpstream, response: ServerResponse): Promise<void> {
  exchange.servedBy = outcome.account
  outcome.release()
  await sendRefusal(response, outcome.answer, exchange.provider.hiddenHeaders)
}

function deliver(
  exchange: Exchange,
  outcome: FromUpstream,
  response: ServerResponse,
  pool: Pool,
  onUnexpected: (error: Error) => void,
): void {
  exchange.servedBy = outcome.account
  try {
    if (!exchange.keepAlive?.begun) writeHead(exchange, outcome, response, pool)
  } catch (error) {
    outcome.release()
    outcome.answer.discard()
    throw error
  }
  new Delivery(exchange, outcome, response, pool, onUnexpected).start()
}

function writeHead(exchange: Exchange, outcome: FromUpstream, response: ServerResponse, pool: Pool): void {
  const { answer, account } = outcome
  const upstream = answer.response
  rememberBoundHeaders(exchange, outcome, pool)
  const { provider } = exchange
  const pools = provider.poolHeaders?.(upstream.headers, pool.forAnswers(account.provider), pool.now())
  const addresses = ownAddresses(exchange, response.req, upstream.headers)
  // Node ends the connection without a byte where trailers are announced and cannot be sent.
  const trailer = isChunked(answer.status, upstream, response.req) ? {} : { trailer: undefined }
  const replaced = { ...pools, ...addresses, ...trailer, ...(answer.form && headersOf(answer.form)) }
  const headers = deliverable(upstream.rawHeaders, provider.hiddenHeaders, replaced)
  setHeaders(response, headers)
  // The status of a whole answer is known at its end.
  if (answer.form?.kind !== 'whole') response.writeHead(answer.status, upstream.statusMessage)
}

const headersOf = ({ kind }: AnswerForm) =>
  kind === 'whole' ? OF_THE_BODY : { ...OF_THE_BODY, 'content-type': 'text/event-stream; charset=utf-8' }

/** Whether Node sends the body in chunks, behind which trailers can stand (RFC 9110 §6.5.1). */
function isChunked(
  status: number,
  upstream: IncomingMessage,
  { method, httpVersion }: IncomingMessage,
): boolean {
  const hasBody = method !== 'HEAD' && status !== 204 && status !== 304
  return hasBody && httpVersion === '1.1' && upstream.headers['content-length'] === undefined
}

function rememberBoundHeaders(exchange: Exchange, { answer, account }: FromUpstream, pool: Pool): void {
  for (const name of exchange.provider.boundHeaders ?? []) {
    const value = answer.response.headers[name]
    if (typeof value === 'string') pool.issued.set(boundKey(exchange, name, value), account.key)
  }
}
