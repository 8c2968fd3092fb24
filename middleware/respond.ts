import type { IncomingMessage, ServerResponse } from 'node:http'
import type { RequestHandler } from 'express'
import type { Pool } from '../src/pool/pool.js'
import { boundKey } from './auth-injection.js'
import { exchangeOf, type Exchange } from './exchange.js'
import { sendJson } from './failure.js'
import type { Outcome } from './exchange.js'
import { keysOf } from './stickiness.js'
import { deliverable } from './headers.js'
import { usageTap, type Heard } from './usage-tap.js'

/** Writes the chosen answer to the client: status and headers, then the body byte for byte. */
export function respond(pool: Pool): RequestHandler {
  return function respond(request, response) {
    const exchange = exchangeOf(request)
    const { outcome } = exchange
    if (!outcome || outcome.kind === 'left') return void response.destroy()
    if (outcome.kind === 'upstream') return deliver(exchange, outcome, response, pool)
    // A large body that nobody took would be read as the next request of this connection.
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
    // A client that does not read holds the upstream back: that silence is its own.
    if (response.writableNeedDrain) silence.heard()
    else answer.discard()
  })
  const tap = usageTap(upstream.headers, provider)
  let finished = false
  const finish = () => {
    if (finished) return
    finished = true
    silence.stop()
    outcome.release()
    learnFromEnd(exchange, outcome, tap.end(), pool)
  }
  // Before the metrics' own listener, which reads what was used.
  response.prependOnceListener('close', finish)
  // The client must see a broken answer as broken, never as a clean end, or it would not recover.
  answer.onBroken(() => {
    finish()
    if (!response.writableFinished) response.destroy()
  })

  for (const chunk of answer.begun) {
    tap.write(chunk)
    exchange.firstByteAt ??= Date.now()
    response.write(chunk)
  }
  const end = () => {
    finish()
    passTrailers(upstream, response)
    response.end()
    answer.done()
  }
  if (answer.ended) return end()
  if (answer.begun.length === 0) response.flushHeaders()
  upstream.on('data', (chunk: Buffer) => {
    exchange.firstByteAt ??= Date.now()
    silence.heard()
    tap.write(chunk)
  })
  upstream.once('end', () => upstream.complete && end())
  upstream.pipe(response, { end: false })
}

function writeHead(exchange: Exchange, outcome: FromUpstream, response: ServerResponse, pool: Pool): void {
  const { answer, account } = outcome
  const upstream = answer.response
  rememberBoundHeaders(exchange, outcome, pool)
  const own = Object.entries(response.getHeaders()).flatMap(([name, value]) => [name, String(value)])
  const { provider } = exchange
  const pools = provider.poolHeaders?.(upstream.headers, pool.forAnswers(account.provider), pool.now())
  const headers = deliverable(upstream.rawHeaders, provider.hiddenHeaders, pools)
  response.writeHead(answer.status, upstream.statusMessage, [...headers, ...own])
}

/** What the end of an answer tells: tokens used, further names of its conversation, and what went wrong too late. */
function learnFromEnd(exchange: Exchange, { account }: FromUpstream, heard: Heard, pool: Pool): void {
  const { provider } = exchange
  if (heard.usage !== undefined) {
    exchange.usage ??= provider.usage?.(heard.usage)
    const aliases = exchange.route.sticky ? (provider.aliases?.(heard.usage) ?? []) : []
    for (const key of keysOf(exchange, aliases)) pool.pins.set(key, account.key)
  }
  const verdict = heard.failure === undefined ? undefined : provider.classifyEvent?.(heard.failure, exchange)
  if (typeof verdict === 'object') void pool.applyVerdict(account, verdict)
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
