import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Pool } from '../src/pool/pool.js'
import { AdaptedAnswer } from './adapted.js'
import type { Exchange, Outcome } from './exchange.js'
import { endAnswer, failureAnswer, type Flushable, GatewayFailure, sendJson } from './failure.js'
import { deliverable } from './headers.js'
import { isOfLogin } from './judge.js'
import { rememberMade } from './resources.js'
import { keysOf } from './stickiness.js'
import { FirstEvents, type LateEvent, type UsageTap, usageTap } from './usage-tap.js'

export type FromUpstream = Extract<Outcome, { kind: 'upstream' }>

const NOTHING = Buffer.alloc(0)
/** Bytes. An event that tells a refusal is shorter. */
const LONGEST_REFUSAL = 16 * 1024

/** Passes the body of one answer to the client, byte for byte unless it is adapted, and reads it on its way. */
export class Delivery {
  readonly #upstream: IncomingMessage
  readonly #tap: UsageTap
  readonly #adapted: AdaptedAnswer | undefined
  readonly #silence: { heard: () => void; stop: () => void }
  /** Of a compressed answer: resolves when the chunks so far have been decoded and read. */
  #reading: Promise<void> | undefined
  /** For the trail of a conversation without a name. */
  readonly #first: FirstEvents | undefined
  /** The begun part of an event: once it is whole, it may tell a refusal that the client must not hear. */
  #begunEvent: Buffer = NOTHING
  #finished = false
  #cut = false
  /** The answer has told that the account's login or rights are refused. */
  #refused = false

  constructor(
    private readonly exchange: Exchange,
    private readonly outcome: FromUpstream,
    private readonly response: Flushable,
    private readonly pool: Pool,
    private readonly onUnexpected: (error: Error) => void,
  ) {
    const { answer } = outcome
    this.#upstream = answer.response
    this.#adapted = answer.form && new AdaptedAnswer(answer.form)
    const isSuccess = answer.status < 400
    this.#first = isSuccess && exchange.trail ? new FirstEvents() : undefined
    const judging = {
      judge: isSuccess && exchange.provider.classifyEvent ? this.#judge : undefined,
      harmless: answer.harmless,
    }
    const encoding = this.#upstream.headers['content-encoding']
    this.#tap = usageTap(encoding, exchange.provider, judging, this.#first)
    this.#silence = silenceLimit(exchange.route.retry.idleTimeoutMs, () => {
      // A client that does not read holds the upstream back: such a silence is not the upstream's.
      if (response.writableNeedDrain) this.#silence.heard()
      else answer.discard()
    })
  }

  /** Call it when the head has been written. */
  start(): void {
    const { response } = this
    const { answer } = this.outcome
    // In front of the metrics' own listener, which reads the usage.
    response.prependOnceListener('close', () => void this.#finish(false)?.catch(this.#failed))
    // The client must see a broken answer as broken: after a clean end it would not recover.
    answer.onBroken(() => this.#breakOff())
    for (const chunk of answer.begun) this.#onData(chunk)
    if (answer.ended) return this.#end()
    // Not `flushHeaders`, which sends header bytes beyond ASCII in another encoding.
    if (answer.begun.length === 0 && !this.#isWhole) response.write(NOTHING)
    response.on('drain', () => this.#upstream.resume())
    this.#upstream.on('data', this.#onData)
    this.#upstream.once('end', () => this.#upstream.complete && this.#end())
    // The upstream was paused while its answer was held.
    this.#upstream.resume()
  }

  /** Whether the client gets one JSON answer, made of a stream. */
  get #isWhole(): boolean {
    return this.outcome.answer.form?.kind === 'whole'
  }

  #onData = (chunk: Buffer): void => {
    this.#silence.heard()
    try {
      this.#read(chunk)
    } catch (error) {
      this.#failed(error as Error)
    }
  }

  /** An error that leaves a listener of a stream ends the process; caught here, it ends this answer alone. */
  #failed = (error: Error): void => {
    this.#cut = true
    this.onUnexpected(error)
    this.outcome.answer.discard()
    this.response.destroy()
  }

  #read(chunk: Buffer): void {
    const mayPass = this.#tap.write(chunk)
    if (typeof mayPass === 'boolean') return this.#pass(chunk, mayPass)
    this.#upstream.pause()
    this.#reading = mayPass.then((decided) => {
      this.#pass(chunk, decided)
      if (!this.response.writableNeedDrain) this.#upstream.resume()
    })
    this.#reading.catch(this.#failed)
  }

  #pass(chunk: Buffer, mayPass: boolean): void {
    if (this.#cut) return
    if (!mayPass) return this.#breakOff()
    const shown = this.#adapted ? this.#adapted.write(chunk) : this.#wholeEvents(chunk)
    if (shown.length === 0) return
    this.exchange.firstByteAt ??= Date.now()
    if (!this.response.write(shown)) this.#upstream.pause()
    // `compression()` in front would keep events until its block is full.
    this.response.flush?.()
  }

  /** Holds the end of a chunk back where it is the beginning of an event. */
  #wholeEvents(chunk: Buffer): Buffer {
    if (this.#tap.form !== 'events') return chunk
    const bytes = this.#begunEvent.length > 0 ? Buffer.concat([this.#begunEvent, chunk]) : chunk
    const end = endOfEvents(bytes)
    const isLong = bytes.length - end > LONGEST_REFUSAL
    this.#begunEvent = isLong ? NOTHING : bytes.subarray(end)
    return isLong ? bytes : bytes.subarray(0, end)
  }

  /** Applies a failure that comes after the first output. */
  #judge = (event: unknown): LateEvent => {
    const verdict = this.exchange.provider.classifyEvent?.(event, this.exchange)
    if (typeof verdict !== 'object') return verdict ?? 'nothing'
    const { account, credential } = this.outcome
    this.pool.applyVerdict(account, verdict, credential).catch(this.onUnexpected)
    if (!isOfLogin(200, verdict)) return 'failure'
    this.#refused = true
    return 'private'
  }

  /** The client asks again, and may be served by another account. */
  #breakOff(): void {
    this.#cut = true
    void this.#finish(false)?.catch(this.#failed)
    this.outcome.answer.discard()
    if (this.#isWhole && !this.response.headersSent && !this.response.destroyed)
      sendJson(this.response, failureAnswer(brokenOff, this.exchange))
    else if (!this.response.writableFinished) this.response.destroy()
  }

  #end(): void {
    const late = this.#reading ? this.#reading.then(() => this.#finish(true)) : this.#finish(true)
    if (late) late.then(this.#endClient).catch(this.#failed)
    else this.#endClient()
  }

  #endClient = (): void => {
    if (this.#cut) return
    // The last event may lack its empty line, and is read at the end only.
    if (this.#refused) return this.#breakOff()
    try {
      if (this.#begunEvent.length > 0) this.response.write(this.#begunEvent)
      const last = this.#adapted?.end()
      if (last === undefined) passTrailers(this.#upstream, this.response)
      if (typeof last === 'object') sendJson(this.response, last)
      else endAnswer(this.response, last)
      this.outcome.answer.done()
    } catch (error) {
      this.#failed(error as Error)
    }
  }

  /** Asynchronous only for a compressed answer: the client's end waits for it, or its tokens would not be counted. */
  #finish(isWhole: boolean): Promise<void> | undefined {
    if (this.#finished) return undefined
    this.#finished = true
    if (this.#first && !isWhole) this.#first.whole = false
    this.#silence.stop()
    this.outcome.release()
    try {
      const told = this.#tap.end()
      if (told instanceof Promise) return told.then((payload) => this.#readEnd(payload))
      this.#readEnd(told)
    } catch (error) {
      this.#failed(error as Error)
    }
    return undefined
  }

  /** Reads the end of an answer: resources that it made, the tokens used, and what tells its conversation. */
  #readEnd(payload: unknown): void {
    const { exchange, pool } = this
    this.#rememberOpening(payload)
    const { answer, account } = this.outcome
    const { provider, route } = exchange
    if (answer.status < 400)
      rememberMade(
        exchange,
        account,
        provider.resourcesMade?.(payload, answer.response.headers) ?? [],
        pool.resources,
      )
    if (payload === undefined) return
    exchange.usage ??= provider.usage?.(payload)
    const aliases = route.sticky ? (provider.aliases?.(payload) ?? []) : []
    for (const key of keysOf(exchange, aliases)) pool.pins.set(key, account.key)
  }

  /** Remembers how the answer begins, for a conversation that is recognised by what its requests repeat. */
  #rememberOpening(payload: unknown): void {
    const { provider, trail } = this.exchange
    if (!trail || !this.#first) return
    const opening = provider.opening?.(payload, this.#first, this.#first.whole)
    if (opening) this.pool.trails.answered(trail, opening)
  }
}

/** The client's answer in place of a whole one whose upstream broke off. */
const brokenOff = new GatewayFailure(
  502,
  'upstream_unavailable',
  'the upstream broke off its answer; this is no limit of an account',
  1_000,
)

/** The offset behind the last event that is whole: behind its empty line, whose end may be LF or CRLF. */
function endOfEvents(bytes: Buffer): number {
  // Most chunks end with an event, and need no search.
  if (bytes.indexOf('\n\n', -2) >= 0 || bytes.indexOf('\n\r\n', -3) >= 0) return bytes.length
  const [plain, withReturn] = [bytes.lastIndexOf('\n\n'), bytes.lastIndexOf('\n\r\n')]
  return Math.max(plain < 0 ? 0 : plain + 2, withReturn < 0 ? 0 : withReturn + 3)
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
