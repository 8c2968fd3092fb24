import type { IncomingMessage } from 'node:http'
import { Transform, type Readable } from 'node:stream'
import type { RequestHandler } from 'express'
import { type Exchange, exchangeOf } from './exchange.js'
import { stringify } from 'qs'
import { GatewayFailure } from './failure.js'

/** Something that holds bytes of the budget, and can be ended to make room. */
export interface Holder {
  /** Bytes that it holds now. */
  readonly held: number
  /** When it last took some; ms, as `performance.now()` counts. */
  readonly grownAt: number
  /** Gives all of it back at once. */
  cutOff(): void
}

/** ms. Parts of one message follow each other in less time, unless the sender has vanished or the receiver does not read. */
const IDLE_MS = 10_000

/** Counts the bytes of kept bodies and of unfinished messages in the whole process. */
export class ReplayBudget {
  readonly holders = new Set<Holder>()
  #used = 0

  constructor(private readonly limit: () => number) {}

  /**
   * @param mine bytes that the caller holds already. A holder of more than the caller would hold is ended to make room.
   * @returns whether there is room
   */
  take(bytes: number, mine: number): boolean {
    while (this.#used + bytes > this.limit()) {
      const one = this.#idle() ?? this.#largerThan(mine + bytes)
      if (!one) return false
      one.cutOff()
    }
    this.#used += bytes
    return true
  }

  /** Many holders of a little each, none of which moves, would keep every other request out. */
  #idle(): Holder | undefined {
    const before = performance.now() - IDLE_MS
    return [...this.holders].find((one) => one.held > 0 && one.grownAt < before)
  }

  #largerThan(bytes: number): Holder | undefined {
    return [...this.holders].reduce<Holder | undefined>(
      (most, one) => (one.held > (most?.held ?? bytes) ? one : most),
      undefined,
    )
  }

  give(bytes: number): void {
    this.#used -= bytes
  }
}

/** Keeps the body so that it can be sent again, up to the limits of the config. */
export function body(budget: ReplayBudget, tellOfParser: () => void): RequestHandler {
  return async function body(request, response, next) {
    const exchange = exchangeOf(request)
    // The client left while middleware of the user's own was at work: no event tells of that any more.
    if (exchange.signal.aborted) return
    const { maxReplayBytes, maxBodyBytes } = exchange.snapshot
    const declared = Number(request.headers['content-length'] ?? 0)
    if (declared > maxBodyBytes) throw tooLarge(maxBodyBytes)
    const parsed = takeParsed(request)
    if (parsed) {
      tellOfParser()
      exchange.body = { kind: 'buffered', bytes: parsed }
      return next()
    }
    if (declared === 0 && request.headers['transfer-encoding'] === undefined) return next()
    if (request.readableEnded) throw taken
    const mustBuffer = exchange.provider.rewriteBody !== undefined
    let kept = 0
    response.once('close', () => budget.give(kept))
    const read = await readUpTo(request, mustBuffer ? maxBodyBytes : maxReplayBytes, (bytes) => {
      if (!budget.take(bytes, kept)) return false
      kept += bytes
      return true
    })
    if (exchange.signal.aborted) return
    if (read.complete) exchange.body = { kind: 'buffered', bytes: Buffer.concat(read.chunks) }
    else if (read.size > maxBodyBytes) throw tooLarge(maxBodyBytes)
    else if (mustBuffer) throw busy()
    else exchange.body = streamed(exchange, request, read)
    next()
  }
}

/** A body that is too large to be kept: what has come, and the rest as it comes. */
function streamed(exchange: Exchange, request: IncomingMessage, { chunks, size }: Read): Exchange['body'] {
  const { maxBodyBytes } = exchange.snapshot
  const rest = limited(request, size, maxBodyBytes, (failure) => (exchange.overflow = failure))
  return { kind: 'streaming', begun: chunks, rest }
}

const busy = (): GatewayFailure =>
  new GatewayFailure(503, 'busy', 'too many large requests at once; try again', 2_000)

const tooLarge = (limit: number): GatewayFailure =>
  new GatewayFailure(413, 'body_too_large', `a request body may have at most ${limit} bytes (maxBodyBytes)`)

const taken = new GatewayFailure(
  500,
  'body_taken',
  "middleware in front of the gateway has read the request's body and left nothing in request.body",
)

/** The body that a parser of the host app has already taken from the stream. */
function takeParsed(request: IncomingMessage & { body?: unknown }): Buffer | undefined {
  if (!request.readableEnded || request.body === undefined) return undefined
  // The parser has decoded the body.
  delete request.headers['content-encoding']
  const { body } = request
  if (Buffer.isBuffer(body)) return body
  if (typeof body === 'string') return Buffer.from(body)
  const form = request.headers['content-type']?.startsWith('application/x-www-form-urlencoded')
  return Buffer.from(form ? stringify(body, { arrayFormat: 'repeat' }) : JSON.stringify(body))
}

interface Read {
  readonly chunks: Buffer[]
  readonly size: number
  /** Whether the body ended within the limit and the budget. */
  readonly complete: boolean
}

/** Bytes that come in pieces. Small ones are copied together: a buffer for each byte costs hundreds of times the body. */
class Chunks {
  #whole: Buffer[] = []
  #slab = Buffer.alloc(0)
  #filled = 0

  add(chunk: Buffer): void {
    if (chunk.length > SMALL) {
      this.#close()
      this.#whole.push(chunk)
      return
    }
    if (this.#filled + chunk.length > this.#slab.length) {
      this.#close()
      this.#slab = Buffer.allocUnsafe(16 * SMALL)
    }
    this.#filled += chunk.copy(this.#slab, this.#filled)
  }

  all(): Buffer[] {
    this.#close()
    return this.#whole
  }

  #close(): void {
    if (this.#filled > 0) this.#whole.push(this.#slab.subarray(0, this.#filled))
    this.#slab = this.#slab.subarray(this.#filled)
    this.#filled = 0
  }
}

const SMALL = 4_096

/** Reads until the end, the limit, or the end of the budget; the remainder stays in the stream, paused. */
function readUpTo(request: IncomingMessage, limit: number, take: (bytes: number) => boolean): Promise<Read> {
  return new Promise((resolve) => {
    const chunks = new Chunks()
    let size = 0
    const stop = (complete: boolean) => {
      request.off('data', onData).off('end', onEnd).off('close', onClose)
      if (!complete) request.pause()
      resolve({ chunks: chunks.all(), size, complete })
    }
    const onData = (chunk: Buffer) => {
      chunks.add(chunk)
      size += chunk.length
      if (size > limit || !take(chunk.length)) stop(false)
    }
    const onEnd = () => stop(true)
    const onClose = () => stop(false)
    request.on('data', onData).once('end', onEnd).once('close', onClose)
  })
}

/** Breaks off an upload that goes beyond the limit: the length of a chunked one is not known before. */
function limited(
  request: IncomingMessage,
  begun: number,
  limit: number,
  onOverflow: (failure: GatewayFailure) => void,
): Readable {
  let size = begun
  const rest = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      size += chunk.length
      if (size <= limit) return done(null, chunk)
      const failure = tooLarge(limit)
      onOverflow(failure)
      done(failure)
    },
  })
  // Without a listener the error would end the process; an attempt that sends the body has one of its own.
  rest.on('error', () => {})
  return request.pipe(rest)
}
