import type { IncomingMessage, ServerResponse } from 'node:http'
import type { RequestHandler } from 'express'
import type { Pool } from '../src/pool/pool.js'
import { boundKey } from './auth-injection.js'
import { exchangeOf, type Exchange, type Outcome } from './exchange.js'
import { sendJson } from './failure.js'
import { deliverable } from './headers.js'
import { ownAddresses, rememberMade } from './resources.js'
import { keysOf } from './stickiness.js'
import { type Heard, usageTap } from './usage-tap.js'

/** Writes the chosen answer to the client: status and headers, then the body byte for byte. */
export function respond(pool: Pool): RequestHandler {
  return function respond(request, response) {
    const exchange = exchangeOf(request)
    const { outcome } = exchange
    if (!outcome || outcome.kind === 'left') return void response.destroy()
    if (outcome.kind === 'upstream') return deliver(exchange, outcome, response, pool)
    // An unread body would be read as the next request of this connection.
    if (!request.complete) response.setHeader('connection', 'close')
    sendJson(response, outcome.answer)
  }
}

type FromUpstream = Extract<Outcome, { kind: 'upstream' }>

function deliver(exchange: Exchange, outcome: FromUpstream, response: ServerResponse, pool: Pool): void {
  const { answer, account } = outcome
  const upstream = answer.response
  const giveUp = () => {
    outcome.release()
    answer.discard()
  }
  exchange.servedBy = account
  try {
    writeHead(exchange, outcome, response, pool)
  } catch (error) {
    giveUp()
    throw error
  }

  const { provider } = exchange
  const silence = silenceLimit(exchange.route.retry.idleTimeoutMs, () => {
    // A client that does not read holds the upstream back: such a silence is not the upstream's.
    if (response.writableNeedDrain) silence.heard()
    else answer.discard()
  })
  const tap = usageTap(upstream.headers, provider)
  let finished = false
  // Asynchronous only for a compressed answer: then the client's end waits for it, or its tokens would not be counted.
  const finish = (): Promise<void> | undefined => {
    if (finished) return undefined
    finished = true
    silence.stop()
    outcome.release()
    const heard = tap.end()
    if (heard instanceof Promise) return heard.then((late) => readEnd(exchange, outcome, late, pool))
    return readEnd(exchange, outcome, heard, pool)
  }
  // In front of the metrics' own listener, which reads the usage.
  response.prependOnceListener('close', () => void finish())
  // The client must see a broken answer as broken: after a clean end it would not recover.
  answer.onBroken(() => {
    void finish()
    if (!response.writableFinished) response.destroy()
  })

  for (const chunk of answer.begun) {
    tap.write(chunk)
    exchange.firstByteAt ??= Date.now()
    response.write(chunk)
  }
  const end = async () => {
    await finish()
    passTrailers(upstream, response)
    response.end()
    answer.done()
  }
  if (answer.ended) return void end()
  if (answer.begun.length === 0) response.flushHeaders()
  upstream.on('data', (chunk: Buffer) => {
    exchange.firstByteAt ??= Date.now()
    silence.heard()
    tap.write(chunk)
  })
  upstream.once('end', () => upstream.complete && void end())
  upstream.pipe(response, { end: false })
}

function writeHead(exchange: Exchange, outcome: FromUpstream, response: ServerResponse, pool: Pool): void {
  const { answer, account } = outcome
  const upstream = answer.response
  rememberBoundHeaders(exchange, outcome, pool)
  const own = Object.entries(response.getHeaders()).flatMap(([name, value]) => [name, String(value)])
  const { provider } = exchange
  const pools = provider.poolHeaders?.(upstream.headers, pool.forAnswers(account.provider), pool.now())
  const addresses = ownAddresses(exchange, response.req, upstream.headers)
  const headers = deliverable(upstream.rawHeaders, provider.hiddenHeaders, { ...pools, ...addresses })
  response.writeHead(answer.status, upstream.statusMessage, [...headers, ...own])
}

/** Reads the end of an answer: tokens used, further ids of its conversation, a failure that came too late to retry. */
function readEnd(
  exchange: Exchange,
  { answer, account, credential }: FromUpstream,
  heard: Heard,
  pool: Pool,
): undefined {
  const { provider } = exchange
  if (answer.status < 400)
    rememberMade(exchange, account, { payload: heard.usage, headers: answer.response.headers }, pool.issued)
  if (heard.usage !== undefined) {
    exchange.usage ??= provider.usage?.(heard.usage)
    const aliases = exchange.route.sticky ? (provider.aliases?.(heard.usage) ?? []) : []
    for (const key of keysOf(exchange, aliases)) pool.pins.set(key, account.key)
  }
  const verdict = heard.failure === undefined ? undefined : provider.classifyEvent?.(heard.failure, exchange)
  if (typeof verdict === 'object') void pool.applyVerdict(account, verdict, credential)
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
  for (let i = 0; i < rawTrailers.length; i += 2) trailers.push([rawTrailers[i]!, rawTrailers[i + 1]!])
  response.addTrailers(trailers)
}
