import type { ClientRequest, IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { WebSocket, WebSocketServer } from 'ws'
import { reasonOf } from '../../config/index.js'
import type { AttemptPlan, Forwarded, ForwardTimeouts, HeldAnswer } from '../forward.js'

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
      finishRequest: (request) => {
        request.once('socket', (wire: Socket) => {
          wire.once('encrypted' in wire ? 'secureConnect' : 'connect', () => (connected = true))
        })
        request.end()
      },
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
      const late = /handshake has timed out/.test(error.message)
      if (late) error.code = connected ? 'headers_timeout' : 'connect_timeout'
      finish({ kind: 'failed', reason: reasonOf(error, plan.target), sent: connected, stale: false })
    })
  })
}

function answerOf(response: IncomingMessage, discard: () => void): HeldAnswer {
  return {
    status: response.statusCode ?? 502,
    response,
    begun: [],
    ended: false,
    discard,
    done: () => {},
    onBroken: (listener) => void response.once('close', listener),
  }
}

function addressOf(target: URL): URL {
  const address = new URL(target)
  address.protocol = target.protocol === 'https:' ? 'wss:' : 'ws:'
  return address
}

function protocolsOf({ headers }: AttemptPlan): string[] {
  const offered = headers['sec-websocket-protocol']
  return typeof offered === 'string' ? offered.split(/\s*,\s*/) : []
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
  /** The subprotocol that the upstream took; empty for none. */
  readonly protocol: string
  /** Bytes of one message. */
  readonly maxPayload: number
  /** More headers of the 101, in `rawHeaders` form. */
  readonly headers: readonly string[]
}

/** Completes the client's handshake with what the upstream has chosen. */
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
    handleProtocols: () => chosen.protocol || false,
  })
  server.on('headers', (lines) => {
    for (let i = 0; i < chosen.headers.length; i += 2) {
      const [name = '', value = ''] = chosen.headers.slice(i, i + 2)
      if (!/^sec-websocket-/i.test(name)) lines.push(`${name}: ${value}`)
    }
  })
  return new Promise((resolve) => server.handleUpgrade(request, socket, head, resolve))
}

/** Called with each message; its result is sent in the message's place, `undefined` sends nothing. */
export type Watch = (data: Buffer, binary: boolean) => Buffer | string | undefined

export interface Watches {
  readonly fromClient: Watch
  readonly fromUpstream: Watch
}

/** Bytes that may wait for a slow reader before the sender is paused. */
const HIGH_WATER = 1024 * 1024

/** Passes messages, pings and the end between two open sockets, both ways. Resolves when both are closed. */
export function relay(client: WebSocket, upstream: WebSocket, watches: Watches): Promise<void> {
  const closed = Promise.all([closing(client), closing(upstream)]).then(() => {})
  pump(client, upstream, watches.fromClient)
  pump(upstream, client, watches.fromUpstream)
  upstream.resume()
  return closed
}

function closing(socket: WebSocket): Promise<void> {
  return new Promise((resolve) => socket.once('close', () => resolve()))
}

function pump(from: WebSocket, to: WebSocket, watch: Watch): void {
  let broken = false
  const sent = () => {
    if (to.bufferedAmount < HIGH_WATER / 2) from.resume()
    if (broken && to.bufferedAmount === 0) to.terminate()
  }
  from.on('message', (data: Buffer, binary) => {
    const message = watch(data, binary)
    if (message === undefined) return
    to.send(message, { binary }, sent)
    if (to.bufferedAmount > HIGH_WATER) from.pause()
  })
  from.on('ping', (data: Buffer) => to.ping(data))
  from.on('pong', (data: Buffer) => to.pong(data))
  from.once('close', (code, reason) => {
    if (code === 1005) to.close()
    else if (sendable(code)) to.close(code, reason)
    // Terminated at once, a slow reader would lose messages that came before the break.
    else if (to.bufferedAmount > 0) broken = true
    else to.terminate()
  })
  // The `close` that follows an error is enough.
  from.on('error', () => {})
}

/** Whether a close frame may carry this code; 1005 and 1006 stand for an end without one (RFC 6455 §7.4). */
function sendable(code: number): boolean {
  return (code >= 1000 && code <= 1014 && code !== 1004 && code !== 1006) || (code >= 3000 && code <= 4999)
}
