import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import express from 'express'
import { noRoute } from '../middleware/exchange.js'
import { answerFailure, failureAnswer } from '../middleware/failure.js'
import { isOurs } from '../middleware/scope.js'
import { sendAnswer } from '../middleware/websocket/refuse.js'
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
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    router(request as express.Request, response as express.Response, () => response.destroy())
  })
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    if (isOurs(gateway.config.routes, request.url ?? '/')) gateway.upgrade(request, socket, head)
    else refuseUpgrade(socket)
  })
  server.on('clientError', refuseMalformed)
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

/** A gateway leaves alone what is not its own; here nobody else would answer. */
function refuseUpgrade(socket: Duplex): void {
  socket.on('error', () => socket.destroy())
  sendAnswer(socket, failureAnswer(UPGRADE_NOT_SERVED, undefined))
}

/** What is no HTTP never reaches the chain. */
function refuseMalformed(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy()
  const tooLong = error.code === 'HPE_HEADER_OVERFLOW'
  const [status, code, message] = tooLong
    ? [
        '431 Request Header Fields Too Large',
        'headers_too_large',
        'the request headers are larger than 64 KiB',
      ]
    : ['400 Bad Request', 'malformed_request', 'this is not a well-formed HTTP request']
  const body = JSON.stringify({ error: { message, type: 'codex_pool_error', code } })
  const head = `HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-type: application/json`
  socket.end(`${head}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`)
}
