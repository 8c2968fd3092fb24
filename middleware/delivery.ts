import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Pool } from '../src/pool/pool.js'
import type { Exchange, Outcome } from './exchange.js'
import { endAnswer, type Flushable } from './failure.js'
import { deliverable } from './headers.js'
import { isOfLogin } from './judge.js'
import { rememberMade } from './resources.js'
import { keysOf } from './stickiness.js'
import { type LateEvent, type UsageTap, usageTap } from './usage-tap.js'

export type FromUpstream = Extract<Outcome, { kind: 'upstream' }>

const NOTHING = Buffer.alloc(0)

/** Passes the body of one answer to the client byte for byte, and reads it on its way. */
export class Delivery {
  readonly #upstream: IncomingMessage
  readonly #tap: UsageTap
  readonly #silence: { heard: () => void; stop: () => void }
  /** Resolves when the chunks so far have been read, where they have to be decoded for that. */
  #reading: Promise<void> | undefined
  #finished = false
  #cut = false

  constructor(
    private readonly exchange: Exchange,
    private readonly outcome: FromUpstream,
    private readonly response: Flushable,
    private readonly pool: Pool,
    private readonly onUnexpected: (error: Error) => void,
  ) {
    const { answer } = outcome
    this.#upstream = answer.response
    const isSuccess = answer.status < 400
    this.#tap = usageTap(this.#upstream.headers['content-encoding'], exchange.provider, {
      judge: isSuccess && exchange.provider.classifyEvent ? (event) => this.#judge(event) : undefined,
      harmless: answer.harmless,
    })
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
    response.prependOnceListener('close', () => void this.#finish()?.catch(this.#failed))
    // The client must see a broken answer as broken: after a clean end it would not recover.
    answer.onBroken(() => this.#breakOff())
    for (const chunk of answer.begun) this.#read(chunk)
    if (answer.ended) return this.#end()
    // Not `flushHeaders`, which sends header bytes beyond ASCII in another encoding.
    if (answer.begun.length === 0) response.write(NOTHING)
    response.on('drain', () => this.#upstream.resume())
    this.#upstream.on('data', this.#onData)
    this.#upstream.once('end', () => this.#upstream.complete && this.#end())
    // The upstream was paused while its answer was held.
    this.#upstream.resume()
  }

  #onData = (chunk: Buffer): void => {
    this.#silence.heard()
    try {
      this.#read(chunk)
    } catch (error) {
      this.#failed(error as Error)
    }
  }

  /** Thrown in a listener of a stream, an error would end the process: it costs this one answer. */
  #failed = (error: Error): void => {
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
    this.exchange.firstByteAt ??= Date.now()
    if (!this.response.write(chunk)) this.#upstream.pause()
    // `compression()` in front would keep events until its block is full.
    this.response.flush?.()
  }

  /** Applies a failure that comes after the first output. */
  #judge(event: unknown): LateEvent {
    const verdict = this.exchange.provider.classifyEvent?.(event, this.exchange)
    if (typeof verdict !== 'object') return verdict ?? 'nothing'
    const { account, credential } = this.outcome
    this.pool.applyVerdict(account, verdict, credential).catch(this.onUnexpected)
    return isOfLogin(200, verdict) ? 'private' : 'failure'
  }

  /** The client asks again, and may be served by another account. */
  #breakOff(): void {
    this.#cut = true
    void this.#finish()?.catch(this.#failed)
    this.outcome.answer.discard()
    if (!this.response.writableFinished) this.response.destroy()
  }

  #end(): void {
    const end = (): void => {
      if (this.#cut) return
      passTrailers(this.#upstream, this.response)
      endAnswer(this.response)
      this.outcome.answer.done()
    }
    const late = this.#reading ? this.#reading.then(() => this.#finish()) : this.#finish()
    if (late) late.then(end).catch(this.#failed)
    else end()
  }

  /** Asynchronous only for a compressed answer: the client's end waits for it, or its tokens would not be counted. */
  #finish(): Promise<void> | undefined {
    if (this.#finished) return undefined
    this.#finished = true
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

  /** Reads the end of an answer: resources that it made, the tokens used, and further ids of its conversation. */
  #readEnd(payload: unknown): void {
    const { exchange, pool } = this
    const { answer, account } = this.outcome
    const { provider, route } = exchange
    if (answer.status < 400)
      rememberMade(exchange, account, { payload, headers: answer.response.headers }, pool.issued)
    if (payload === undefined) return
    exchange.usage ??= provider.usage?.(payload)
    const aliases = route.sticky ? (provider.aliases?.(payload) ?? []) : []
    for (const key of keysOf(exchange, aliases)) pool.pins.set(key, account.key)
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
