import type { ClientRequest, IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { WebSocket, WebSocketServer } from 'ws'
import { reasonOf } from '../../config/index.js'
import { GatewayFailure } from '../failure.js'
import {
  type AttemptPlan,
  type Forwarded,
  type ForwardTimeouts,
  type HeldAnswer,
  whenConnected,
} from '../forward.js'

export { WebSocket }

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
    socket.on('error', (error) => finish(failed(error, plan.target, connected)))
  })
}

function failed(error: NodeJS.ErrnoException, target: URL, sent: boolean): Forwarded {
  if (/handshake has timed out/.test(error.message)) error.code = sent ? 'headers_timeout' : 'connect_timeout'
  return { kind: 'failed', reason: reasonOf(error, target), sent, stale: false }
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
