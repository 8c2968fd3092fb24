import type { IncomingMessage, ServerResponse } from 'node:http'
import type { RequestHandler } from 'express'
import { parseJson } from '../config/index.js'
import type { Verdict } from '../config/provider.js'
import type { Pool } from '../src/pool/pool.js'
import { boundKey } from './auth-injection.js'
import { exchangeOf, type Exchange, type Outcome } from './exchange.js'
import { sendJson } from './failure.js'
import { endStream, type FailureOptions } from './final-answer.js'
import { deliverable, setHeaders } from './headers.js'
import { isOfLogin, textOf } from './judge.js'
import { ownAddresses, rememberMade } from './resources.js'
import { keysOf } from './stickiness.js'
import { usageTap } from './usage-tap.js'

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
      return deliver(exchange, outcome, response, pool, onUnexpected)
    }
    if (keepAlive?.begun) return endStream(exchange, response, outcome.answer)
    // An unread body would be read as the next request of this connection.
    if (!request.complete) response.setHeader('connection', 'close')
    sendJson(response, outcome.answer)
  }
}

type FromUpstream = Extract<Outcome, { kind: 'upstream' }>

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
  endStream(exchange, response, {
    status: answer.status,
    body: parseJson(text) ?? { error: { message: text } },
  })
}

/** Whether a failure speaks of the account's login or rights: the client would take that for its own login. */
function isPrivate({ kind }: Verdict, failure: unknown): boolean {
  if (kind === 'refused') return isOfLogin(200, JSON.stringify(failure))
  return kind === 'unauthorized' || kind === 'needs-login'
}

const NOTHING = Buffer.alloc(0)

/** Middleware of the host app may compress, and then gives the response a `flush`. */
type Flushable = ServerResponse & { flush?: () => void }

function deliver(
  exchange: Exchange,
  outcome: FromUpstream,
  response: Flushable,
  pool: Pool,
  onUnexpected: (error: Error) => void,
): void {
  const { answer, account, credential } = outcome
  const upstream = answer.response
  exchange.servedBy = account
  try {
    if (!exchange.keepAlive?.begun) writeHead(exchange, outcome, response, pool)
  } catch (error) {
    outcome.release()
    answer.discard()
    throw error
  }

  const { provider } = exchange
  const silence = silenceLimit(exchange.route.retry.idleTimeoutMs, () => {
    // A client that does not read holds the upstream back: such a silence is not the upstream's.
    if (response.writableNeedDrain) silence.heard()
    else answer.discard()
  })
  const tap = usageTap(upstream.headers['content-encoding'], provider)
  // Thrown in a listener of a stream, an error would end the process: it costs this one answer.
  const failed = (error: Error) => {
    onUnexpected(error)
    answer.discard()
    response.destroy()
  }
  let finished = false
  // Asynchronous only for a compressed answer: then the client's end waits for it, or its tokens would not be counted.
  const finish = (): Promise<void> | undefined => {
    if (finished) return undefined
    finished = true
    silence.stop()
    outcome.release()
    try {
      const told = tap.end()
      if (told instanceof Promise) return told.then((late) => readEnd(exchange, outcome, late, pool))
      readEnd(exchange, outcome, told, pool)
    } catch (error) {
      failed(error as Error)
    }
    return undefined
  }
  // In front of the metrics' own listener, which reads the usage.
  response.prependOnceListener('close', () => void finish()?.catch(failed))
  // The client must see a broken answer as broken: after a clean end it would not recover.
  answer.onBroken(() => {
    void finish()?.catch(failed)
    if (!response.writableFinished) response.destroy()
  })

  /** Applies a failure that came after output. Returns whether it may reach the client. */
  const mayPass = (failure: unknown): boolean => {
    const verdict = failure === undefined ? undefined : provider.classifyEvent?.(failure, exchange)
    if (typeof verdict !== 'object') return true
    pool.applyVerdict(account, verdict, credential).catch(onUnexpected)
    return !isPrivate(verdict, failure)
  }
  const pass = (chunk: Buffer): void => {
    exchange.firstByteAt ??= Date.now()
    // Cut off, the client asks again, and is served by another account.
    if (!mayPass(tap.write(chunk))) return answer.discard()
    if (!response.write(chunk)) upstream.pause()
    // `compression()` in front would keep events until its block is full.
    response.flush?.()
  }
  const end = async () => {
    await finish()
    passTrailers(upstream, response)
    response.end()
    answer.done()
  }
  for (const chunk of answer.begun) pass(chunk)
  if (answer.ended) return void end().catch(failed)
  // Not `flushHeaders`, which sends header bytes beyond ASCII in another encoding.
  if (answer.begun.length === 0) response.write(NOTHING)
  response.on('drain', () => upstream.resume())
  upstream.on('data', (chunk: Buffer) => {
    silence.heard()
    try {
      pass(chunk)
    } catch (error) {
      failed(error as Error)
    }
  })
  upstream.once('end', () => upstream.complete && void end().catch(failed))
  // The upstream was paused while its answer was held.
  upstream.resume()
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
  const replaced = { ...pools, ...addresses, ...trailer }
  const headers = deliverable(upstream.rawHeaders, provider.hiddenHeaders, replaced)
  setHeaders(response, headers)
  response.writeHead(answer.status, upstream.statusMessage)
}

/** Whether Node sends the body in chunks, behind which trailers can stand (RFC 9110 §6.5.1). */
function isChunked(
  status: number,
  upstream: IncomingMessage,
  { method, httpVersion }: IncomingMessage,
): boolean {
  const hasBody = method !== 'HEAD' && status !== 204 && status !== 304
  return hasBody && httpVersion === '1.1' && upstream.headers['content-length'] === undefined
}

/** Reads the end of an answer: resources that it made, the tokens used, and further ids of its conversation. */
function readEnd(exchange: Exchange, { answer, account }: FromUpstream, payload: unknown, pool: Pool): void {
  const { provider, route } = exchange
  if (answer.status < 400)
    rememberMade(exchange, account, { payload, headers: answer.response.headers }, pool.issued)
  if (payload === undefined) return
  exchange.usage ??= provider.usage?.(payload)
  const aliases = route.sticky ? (provider.aliases?.(payload) ?? []) : []
  for (const key of keysOf(exchange, aliases)) pool.pins.set(key, account.key)
}

function rememberBoundHeaders(exchange: Exchange, { answer, account }: FromUpstream, pool: Pool): void {
  for (const name of exchange.provider.boundHeaders ?? []) {
    const value = answer.response.headers[name]
    if (typeof value === 'string') pool.issued.set(boundKey(exchange, name, value), account.key)
  }
}

/** Calls back after a silence of `ms` between two chunks; there is no limit on the whole. */
function silenceLimit(ms: number, onSilence: () => void): { heard: () => void; stop: () => void } {
  const timer = setTimeout(onSilence, ms)
  return { heard: () => void timer.refresh(), stop: () => clearTimeout(timer) }
}

function passTrailers(upstream: IncomingMessage, response: ServerResponse): void {
  const { rawTrailers } = upstream
  if (rawTrailers.length === 0) return
  const trailers: [string, string][] = []
  const kept = deliverable(rawTrailers)
  for (let i = 0; i < kept.length; i += 2) trailers.push([kept[i]!, kept[i + 1]!])
  response.addTrailers(trailers)
}
