import type { Duplex } from 'node:stream'
import { WebSocket } from './sockets.js'
import type { Holder, ReplayBudget } from '../body.js'
import { GatewayFailure } from '../failure.js'
import { LARGE, parseLarge } from '../large-json.js'

/**
 * Called with each message; its result is sent in the message's place, `undefined` sends nothing. `large` is the content of
 * a message that takes too long to parse at once.
 */
export type Watch = (data: Buffer, binary: boolean, large?: Parsed) => Buffer | string | undefined

export interface Parsed {
  /** `undefined` for a text that is no JSON, or nested too deeply. */
  readonly json: unknown
}

export interface Watches {
  readonly fromClient: Watch
  readonly fromUpstream: Watch
}

/** Bytes that may wait for a slow reader before the sender is paused. */
const HIGH_WATER = 1024 * 1024
/** Frames that may wait: a frame of one byte costs hundreds in the queue. */
const MOST_WAITING = 1_000
/** Pings and pongs that may wait. Only the latest has to be answered (RFC 6455 §5.5.3), so further ones are dropped. */
const MOST_PINGS = 500

/** One of the two ends of a relay. */
export interface End {
  readonly socket: WebSocket
  /** The connection under it. */
  readonly wire: Duplex
}

export interface RelayOptions extends Watches {
  /** For the bytes of messages, of all relays together, that have not ended or not been sent on. */
  readonly budget: ReplayBudget
  /** The failure that the client gets for an error in one of the watches. */
  readonly failureOf: (error: Error) => GatewayFailure
  /** Asked when the upstream's socket ends. `true`: another one takes its place, and the client hears nothing of the end. */
  readonly upstreamEnded: (code: number, reason: string) => Promise<boolean>
}

/** Passes messages, pings and the end between two open sockets, both ways. The upstream's can be exchanged. */
export class Relay {
  /** Resolves when both sockets are closed. */
  readonly closed: Promise<void>
  #upstream: End
  /** Events of the upstream since `pause`. */
  #late: (() => void)[] | undefined

  constructor(
    private readonly client: End,
    upstream: End,
    private readonly options: RelayOptions,
  ) {
    this.#upstream = upstream
    this.closed = closing(client.socket).then(() => closing(this.#upstream.socket))
    const { budget, fromClient } = options
    const held = new Held(budget, this.#cutOff)
    new Direction(client, () => this.#upstream.socket, this.#bounded(fromClient), held).start(
      new Line((error) => this.fail(error)),
      (event) => event(),
      (passOn) => passOn(),
    )
    this.#connect(upstream)
  }

  #connect(upstream: End): void {
    const { budget, fromUpstream } = this.options
    /** An upstream that has been exchanged is no longer heard. */
    const heard = (event: () => void) => {
      if (upstream !== this.#upstream) return
      if (this.#late) this.#late.push(event)
      else event()
    }
    const ended = (passOn: () => void, code: number, reason: string) => {
      // A client that has left ends the upstream too, and needs no other one.
      if (this.client.socket.readyState !== WebSocket.OPEN) return passOn()
      this.options.upstreamEnded(code, reason).then(
        (replaced) => replaced || passOn(),
        (error: Error) => this.fail(error),
      )
    }
    const line = new Line((error) => this.fail(error))
    const watch = this.#bounded(fromUpstream)
    const held = new Held(budget, this.#cutOff)
    new Direction(upstream, () => this.client.socket, watch, held).start(line, heard, ended)
    upstream.socket.resume()
  }

  /** An error in a watch costs this connection, never the process. */
  #bounded(watch: Watch): Watch {
    return (data, binary, large) => {
      try {
        return watch(data, binary, large)
      } catch (error) {
        this.fail(error as Error)
        return undefined
      }
    }
  }

  /** Messages that wait here take up the memory of all connections: nothing more is read from either end. */
  #cutOff = (): void => {
    this.fail(tooMuchAtOnce)
    for (const { socket } of [this.client, this.#upstream]) {
      socket.pause()
      setTimeout(() => socket.terminate(), CUT_OFF_MS).unref()
    }
  }

  fail(error: Error): void {
    const { status, message } = this.options.failureOf(error)
    const code = status === 503 ? TRY_AGAIN_LATER : status < 500 ? POLICY_VIOLATION : INTERNAL_ERROR
    for (const { socket } of [this.client, this.#upstream]) socket.close(code, message)
  }

  toUpstream(message: string): void {
    this.#upstream.socket.send(message)
  }

  toClient(message: Buffer | string): void {
    const { socket } = this.client
    if (socket.readyState === WebSocket.OPEN) socket.send(message, { binary: false })
  }

  /** Both ends wait until the upstream has been exchanged, or `resume`. */
  pause(): void {
    this.#late ??= []
    this.client.socket.pause()
  }

  resume(): void {
    const late = this.#late ?? []
    this.#late = undefined
    for (const event of late) event()
    this.client.socket.resume()
  }

  /** Goes on with another upstream, unseen by the client. */
  exchange(upstream: End): void {
    const before = this.#upstream
    this.#upstream = upstream
    this.#late = undefined
    before.socket.terminate()
    if (this.client.socket.readyState !== WebSocket.OPEN) return upstream.socket.terminate()
    this.#connect(upstream)
    this.client.socket.resume()
  }
}

/** Codes of a close frame (RFC 6455 §7.4.1 and its registry). */
const [POLICY_VIOLATION, INTERNAL_ERROR, TRY_AGAIN_LATER] = [1008, 1011, 1013]
/** Time for the close frame to arrive; ms. */
const CUT_OFF_MS = 1_000

const tooMuchAtOnce = new GatewayFailure(503, 'busy', 'too many large messages at once; try again')

function closing(socket: WebSocket): Promise<void> {
  if (socket.readyState === WebSocket.CLOSED) return Promise.resolve()
  return new Promise((resolve) => socket.once('close', () => resolve()))
}

/** Counts the bytes that one direction of a relay holds. `ws` keeps the parts of a message until its last one comes. */
class Held implements Holder {
  #unfinished = 0
  #sending = 0
  #closed = false
  grownAt = 0

  constructor(
    private readonly budget: ReplayBudget,
    private readonly onCutOff: () => void,
  ) {
    budget.holders.add(this)
  }

  get held(): number {
    return this.#unfinished + this.#sending
  }

  arrived(bytes: number): void {
    if (this.#closed) return
    this.grownAt = performance.now()
    if (this.budget.take(bytes, this.held)) this.#unfinished += bytes
    else this.cutOff()
  }

  cutOff(): void {
    this.close()
    this.onCutOff()
  }

  /** These bytes were no part of a message: a ping may come between two parts of one. */
  passed(bytes: number): void {
    const done = Math.min(bytes, this.#unfinished)
    this.#unfinished -= done
    this.budget.give(done)
  }

  /** A message is whole. @returns ends its count, once it has been sent on */
  finished(): () => void {
    const bytes = this.#unfinished
    this.#unfinished = 0
    this.#sending += bytes
    return () => {
      if (this.#closed) return
      this.#sending -= bytes
      this.budget.give(bytes)
    }
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.budget.holders.delete(this)
    this.budget.give(this.held)
  }
}

/** Keeps the events of one direction in their order while a large message is parsed. */
class Line {
  #last: Promise<void> | undefined

  constructor(private readonly failed: (error: Error) => void) {}

  add(event: (large?: Parsed) => void, message?: Buffer): void {
    if (!this.#last && !message) return event()
    const before = this.#last ?? Promise.resolve()
    const run = async () => event(message && { json: await parseLarge(message) })
    const mine = before
      .then(run)
      .catch(this.failed)
      .finally(() => {
        if (this.#last === mine) this.#last = undefined
      })
    this.#last = mine
  }
}

/** One direction of a relay: what one end sends, the other end gets. */
class Direction {
  /** The connection of `from` broke while the target had something to read. */
  #broken = false
  #waiting = 0
  #pings = 0

  constructor(
    private readonly from: End,
    private readonly target: () => WebSocket,
    private readonly watch: Watch,
    private readonly held: Held,
  ) {}

  /**
   * @param heard runs an event of `from`, now or later, or drops it
   * @param ended passes the end of `from` on, or has `from` replaced
   */
  start(
    line: Line,
    heard: (event: () => void) => void,
    ended: (passOn: () => void, code: number, reason: string) => void,
  ): void {
    const { socket, wire } = this.from
    // In front of the listener of `ws`, which emits the messages that end in this chunk.
    wire.prependListener('data', (chunk: Buffer) => this.held.arrived(chunk.length))
    socket.on('message', (data: Buffer, binary) => {
      const done = this.held.finished()
      const isLarge = !binary && data.length > LARGE
      line.add((large) => heard(() => this.#pass(data, binary, large, done)), isLarge ? data : undefined)
    })
    socket.on('ping', (data: Buffer) => this.#echo('ping', data))
    socket.on('pong', (data: Buffer) => this.#echo('pong', data))
    socket.once('close', (code: number, reason: Buffer) => {
      this.held.close()
      line.add(() => heard(() => ended(() => this.#end(code, reason), code, reason.toString('utf8'))))
    })
    // The `close` that follows an error is enough.
    socket.on('error', () => {})
  }

  #pass(data: Buffer, binary: boolean, large: Parsed | undefined, done: () => void): void {
    const message = this.watch(data, binary, large)
    if (message === undefined) return done()
    this.#waiting++
    this.target().send(message, { binary }, () => {
      this.#waiting--
      done()
      this.#sent()
    })
    if (this.#isFull(1)) this.from.socket.pause()
  }

  #echo(kind: 'ping' | 'pong', data: Buffer): void {
    this.held.passed(data.length)
    if (this.#pings >= MOST_PINGS) return
    this.#pings++
    this.target()[kind](data, undefined, () => {
      this.#pings--
      this.#sent()
    })
  }

  #sent(): void {
    if (!this.#isFull(0.5)) this.from.socket.resume()
    const to = this.target()
    if (this.#broken && to.bufferedAmount === 0) to.terminate()
  }

  #isFull(part: number): boolean {
    return this.target().bufferedAmount > HIGH_WATER * part || this.#waiting > MOST_WAITING * part
  }

  #end(code: number, reason: Buffer): void {
    const to = this.target()
    if (code === 1005) to.close()
    else if (sendable(code)) to.close(code, reason)
    // Terminated at once, a slow reader would lose messages that came before the break.
    else if (to.bufferedAmount > 0) this.#broken = true
    else to.terminate()
  }
}

/** Whether a close frame may carry this code; 1005 and 1006 stand for an end without one (RFC 6455 §7.4). */
function sendable(code: number): boolean {
  return (code >= 1000 && code <= 1014 && code !== 1004 && code !== 1006) || (code >= 3000 && code <= 4999)
}
