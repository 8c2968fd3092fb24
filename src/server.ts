import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import express from 'express'
import { noRoute } from '../middleware/exchange.js'
import { answerFailure, failureAnswer } from '../middleware/failure.js'
import { GatewayFailure } from '../middleware/gateway-failure.js'
import { isOurs } from '../middleware/route.js'
import { sendAnswer } from '../middleware/websocket/upgrade.js'
import { UPGRADE_NOT_SERVED } from '../middleware/websocket/upgrade.js'
import type { Gateway } from './gateway.js'

export interface RunningServer {
  /** `http://HOST:PORT`, with the port that was found. */
  readonly url: string
  /** Accepts nothing new, lets running answers end for at most `graceMs`, then cuts them. */
  stop(graceMs: number): Promise<void>
}

/** Outlives the clients' own keep-alive, or they would now and then send into a connection that is just closing; ms. */
const KEEP_ALIVE_MS = 120_000

/** Serves a gateway on its own port. */
export async function startServer(gateway: Gateway): Promise<RunningServer> {
  // A router without an application around it: Express's own re-prototypes every request, which costs a third more.
  const router = express.Router()
  router.use(gateway.admin, gateway.middleware)
  router.use((_request, _response, next) => next(noRoute(gateway.config.routes)))
  router.use(answerFailure({ onUnexpected: (error) => gateway.log.error(error.stack ?? error.message) }))

  const server = http.createServer({
    keepAliveTimeout: KEEP_ALIVE_MS,
    requestTimeout: 0,
    maxHeaderSize: 64 * 1024,
  })
  // What is too many the guard says, in words: some Node versions drop the rest unseen, others end the connection.
  server.maxHeadersCount = 0
  const running = new WeakMap<Duplex, ServerResponse>()
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    running.set(request.socket, response)
    // A client keeps its connection as long as it likes, and would hold up a stop that waits for it.
    response.once('close', () => {
      if (!server.listening) setImmediate(() => server.closeIdleConnections())
    })
    router(request as express.Request, response as express.Response, () => response.destroy())
  })
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    if (isOurs(gateway.config.routes, request.url ?? '/')) gateway.upgrade(request, socket, head)
    else refuse(socket, UPGRADE_NOT_SERVED)
  })
  server.on('connect', (_request: IncomingMessage, socket: Duplex) => refuse(socket, NO_TUNNELS))
  // What is no HTTP never reaches the chain.
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => {
    const response = running.get(socket)
    // In the middle of an answer, more bytes would be read as a part of it.
    const answering = response?.headersSent && !response.writableFinished
    if (answering || error.code === 'ECONNRESET' || !socket.writable) socket.destroy()
    else refuse(socket, error.code === 'HPE_HEADER_OVERFLOW' ? HEADERS_TOO_LARGE : MALFORMED)
  })
  const { host, port } = gateway.config.listen
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => resolve())
  })
  const address = server.address() as AddressInfo
  const name = address.family === 'IPv6' ? `[${address.address}]` : address.address
  return { url: `http://${name}:${address.port}`, stop: (graceMs) => stop(server, gateway, graceMs) }
}

function stop(server: http.Server, gateway: Gateway, graceMs: number): Promise<void> {
  return new Promise((resolve) => {
    gateway.drain()
    const deadline = setTimeout(() => {
      server.closeAllConnections()
      // Upgraded connections are no longer the server's; the gateway ends them when it closes.
      resolve()
    }, graceMs)
    server.close(() => {
      clearTimeout(deadline)
      resolve()
    })
    server.closeIdleConnections()
  })
}

const MALFORMED = new GatewayFailure(400, 'malformed_request', 'this is not a well-formed HTTP request')
const HEADERS_TOO_LARGE = new GatewayFailure(
  431,
  'headers_too_large',
  'the request headers are larger than 64 KiB',
)
const NO_TUNNELS = new GatewayFailure(
  405,
  'no_tunnels',
  'this is no proxy for other servers: point the client here with its base URL, not with HTTPS_PROXY',
)

/** A gateway leaves alone what is not its own; here nobody else would answer. */
function refuse(socket: Duplex, failure: GatewayFailure): void {
  socket.on('error', () => socket.destroy())
  sendAnswer(socket, failureAnswer(failure, undefined))
}
