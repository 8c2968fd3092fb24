import type { ClientRequest, IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { WebSocket, WebSocketServer } from 'ws'
import { reasonOf } from '../../config/index.js'
import type { ReplayBudget } from '../body.js'
import { GatewayFailure } from '../failure.js'
import {
  type AttemptPlan,
  type Forwarded,
  type ForwardTimeouts,
  type HeldAnswer,
  whenConnected,
} from '../forward.js'

export type { WebSocket }

/** Frames pass as they are: no compression of our own, pings answered by the other end, not by us. */
const TRANSPARENT = { perMessageDeflate: false, autoPong: false } as const

/** A handshake that takes longer has failed; generation only starts after it. */
const HANDSHAKE_MS = 30_000

const opened = new WeakMap<IncomingMessage, WebSocket>()

/** The upstream's end, paused, that an answer of status 101 has opened. */
export function socketOf({ response }: HeldAnswer): WebSocket | undefined {
  return opened.get(response)
}

/** Opens a WebSocket upstream. A refusal of the handshake is an answer like any other. */
export function dial(
  plan: AttemptPlan,
  timeouts: ForwardTimeouts,
  signal: AbortSignal,
  maxPayload: number,
): Promise<Forwarded> {
  return new Promise((resolve) => {
    let connected = false
    const socket = new WebSocket(addressOf(plan.target), protocolsOf(plan), {
      ...TRANSPARENT,
      headers: headersOf(plan),
      agent: plan.agent || undefined,
      maxPayload,
      followRedirects: false,
      handshakeTimeout: Math.min(HANDSHAKE_MS, timeouts.headersTimeoutMs),
      finishRequest: (request) => endAndTell(request, () => (connected = true)),
    })
    const leave = () => socket.terminate()
    signal.addEventListener('abort', leave, { once: true })
    const finish = (forwarded: Forwarded) => {
      signal.removeEventListener('abort', leave)
      resolve(forwarded)
    }
    socket.once('upgrade', (response) => {
      socket.once('open', () => {
        // A message before the client's socket is open would be lost.
        socket.pause()
        opened.set(response, socket)
        finish({ kind: 'answered', answer: answerOf(response, () => socket.terminate()) })
      })
    })
    socket.once('unexpected-response', (request: ClientRequest, response) => {
      finish({ kind: 'answered', answer: answerOf(response, () => request.destroy()) })
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (/handshake has timed out/.test(error.message))
        error.code = connected ? 'headers_timeout' : 'connect_timeout'
      finish({ kind: 'failed', reason: reasonOf(error, plan.target), sent: connected, stale: false })
    })
  })
}

/** Sends a handshake, and tells when its connection stands. */
function endAndTell(request: ClientRequest, onConnected: () => void): void {
  request.once('socket', (wire: Socket) => whenConnected(wire, onConnected))
  request.end()
}

function answerOf(response: IncomingMessage, discard: () => void): HeldAnswer {
  return {
    status: response.statusCode ?? 502,
    response,
    begun: [],
    ended: false,
    discard,
    done: () => {},
    onBroken: (listener) => {
      if (response.destroyed) listener()
      else response.once('close', listener)
    },
  }
}

function addressOf(target: URL): URL {
  const address = new URL(target)
  address.protocol = target.protocol === 'https:' ? 'wss:' : 'ws:'
  return address
}

/** The subprotocols that a request offers. */
export function protocolsOf({ headers }: Pick<IncomingMessage, 'headers'>): string[] {
  const offered = headers['sec-websocket-protocol']
  return typeof offered === 'string' ? offered.split(',').map((name) => name.trim()) : []
}

/** Whether the subprotocols that a client offers may be offered on: `ws` throws at a name that is none (RFC 6455 §4.1). */
export function offersWell(names: readonly string[]): boolean {
  return new Set(names).size === names.length && names.every((name) => /^[!#$%&'*+.^`|~\w-]+$/.test(name))
}

/** Headers of the handshake itself are written by `ws`. */
function headersOf({ headers }: AttemptPlan): Record<string, string | string[]> {
  return Object.fromEntries(
    Object.entries(headers).filter(
      (entry): entry is [string, string | string[]] =>
        entry[1] !== undefined && !entry[0].startsWith('sec-websocket-'),
    ),
  )
}

/** Whether this is a WebSocket handshake that can be accepted (RFC 6455 §4.2.1). */
export function isHandshake({ method, headers }: IncomingMessage): boolean {
  const key = headers['sec-websocket-key'] ?? ''
  const version = headers['sec-websocket-version']
  const websocket = headers.upgrade?.toLowerCase() === 'websocket'
  return (
    method === 'GET' &&
    websocket &&
    /^[+/0-9A-Za-z]{22}==$/.test(key) &&
    (version === '13' || version === '8')
  )
}

export interface Chosen {
  /** The subprotocol that the client is told; empty for none. */
  readonly protocol: string
  /** Bytes of one message. */
  readonly maxPayload: number
  /** More headers of the 101, in `rawHeaders` form. */
  readonly headers: readonly string[]
}

/**
 * Completes the client's handshake with what the upstream has chosen.
 * @throws GatewayFailure for one that cannot be completed
 */
export function accept(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  chosen: Chosen,
): Promise<WebSocket> {
  const server = new WebSocketServer({
    ...TRANSPARENT,
    noServer: true,
    clientTracking: false,
    maxPayload: chosen.maxPayload,
    // `ws` would choose only among those that go upstream.
    handleProtocols: () => false,
  })
  server.on('headers', (lines) => {
    if (chosen.protocol !== '') lines.push(`Sec-WebSocket-Protocol: ${chosen.protocol}`)
    for (let i = 0; i < chosen.headers.length; i += 2) {
      const [name = '', value = ''] = chosen.headers.slice(i, i + 2)
      if (!/^sec-websocket-/i.test(name)) lines.push(`${name}: ${value}`)
    }
  })
  return new Promise((resolve, reject) => {
    // Without this listener `ws` answers by itself, and the upstream's end would be held for ever.
    server.once('wsClientError', ({ message }) => reject(new GatewayFailure(400, 'bad_handshake', message)))
    socket.once('close', () => reject(new GatewayFailure(400, 'bad_handshake', 'the client has left')))
    server.handleUpgrade(request, socket, head, resolve)
  })
}

/** Called with each message; its result is sent in the message's place, `undefined` sends nothing. */
export type Watch = (data: Buffer, binary: boolean) => Buffer | string | undefined

export interface Watches {
  readonly fromClient: Watch
  readonly fromUpstream: Watch
}

/** Bytes that may wait for a slow reader before the sender is paused. */
const HIGH_WATER = 1024 * 1024
/** Frames that may wait: a frame of one byte costs hundreds in the queue. */
const MOST_WAITING = 1_000
/** Of pings and pongs. Only the latest has to be answered (RFC 6455 §5.5.3), so further ones are dropped. */
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
  readonly upstreamEnded: () => Promise<boolean>
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
    pump(
      client,
      () => this.#upstream.socket,
      this.#bounded(fromClient),
      new Held(budget),
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
    const ended = (passOn: () => void) => {
      // A client that has left ends the upstream too, and needs no other one.
      if (this.client.socket.readyState !== WebSocket.OPEN) return passOn()
      this.options.upstreamEnded().then(
        (replaced) => replaced || passOn(),
        (error: Error) => this.fail(error),
      )
    }
    pump(upstream, () => this.client.socket, this.#bounded(fromUpstream), new Held(budget), heard, ended)
    upstream.socket.resume()
  }

  /** An error in a watch costs this connection, never the process. */
  #bounded(watch: Watch): Watch {
    return (data, binary) => {
      try {
        return watch(data, binary)
      } catch (error) {
        this.fail(error as Error)
        return undefined
      }
    }
  }

  fail(error: Error): void {
    const { status, message } = this.options.failureOf(error)
    const code = status < 500 ? POLICY_VIOLATION : INTERNAL_ERROR
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
    this.#late = []
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
const [POLICY_VIOLATION, INTERNAL_ERROR] = [1008, 1011]

function closing(socket: WebSocket): Promise<void> {
  if (socket.readyState === WebSocket.CLOSED) return Promise.resolve()
  return new Promise((resolve) => socket.once('close', () => resolve()))
}

/** Counts the bytes that one direction of a relay holds. `ws` keeps the parts of a message until its last one comes. */
class Held {
  #unfinished = 0
  #sending = 0
  #closed = false

  constructor(private readonly budget: ReplayBudget) {}

  /** @returns `false` if there is no room left */
  arrived(bytes: number): boolean {
    if (this.#closed || !this.budget.take(bytes)) return this.#closed
    this.#unfinished += bytes
    return true
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
    this.budget.give(this.#unfinished + this.#sending)
  }
}

/** `heard` runs an event of `from`, now or later, or drops it. `ended` passes the end of `from` on, or has it replaced. */
function pump(
  { socket: from, wire }: End,
  target: () => WebSocket,
  watch: Watch,
  held: Held,
  heard: (event: () => void) => void,
  ended: (passOn: () => void) => void,
): void {
  let broken = false
  let waiting = 0
  let pings = 0
  const isFull = (part = 1) => target().bufferedAmount > HIGH_WATER * part || waiting > MOST_WAITING * part
  const sent = () => {
    if (!isFull(0.5)) from.resume()
    if (broken && target().bufferedAmount === 0) target().terminate()
  }
  // In front of the listener of `ws`, which emits the messages that end in this chunk.
  wire.prependListener('data', (chunk: Buffer) => {
    if (!held.arrived(chunk.length)) from.terminate()
  })
  from.on('message', (data: Buffer, binary) => {
    const done = held.finished()
    heard(() => {
      const message = watch(data, binary)
      if (message === undefined) return done()
      waiting++
      target().send(message, { binary }, () => {
        waiting--
        done()
        sent()
      })
      if (isFull()) from.pause()
    })
  })
  const echo = (kind: 'ping' | 'pong') => (data: Buffer) => {
    held.passed(data.length)
    if (pings >= MOST_PINGS) return
    pings++
    target()[kind](data, undefined, () => {
      pings--
      sent()
    })
  }
  from.on('ping', echo('ping'))
  from.on('pong', echo('pong'))
  from.once('close', (code, reason) => {
    held.close()
    const passOn = () => {
      const to = target()
      if (code === 1005) to.close()
      else if (sendable(code)) to.close(code, reason)
      // Terminated at once, a slow reader would lose messages that came before the break.
      else if (to.bufferedAmount > 0) broken = true
      else to.terminate()
    }
    heard(() => ended(passOn))
  })
  // The `close` that follows an error is enough.
  from.on('error', () => {})
}

/** Whether a close frame may carry this code; 1005 and 1006 stand for an end without one (RFC 6455 §7.4). */
function sendable(code: number): boolean {
  return (code >= 1000 && code <= 1014 && code !== 1004 && code !== 1006) || (code >= 3000 && code <= 4999)
}
