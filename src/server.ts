import { once } from 'node:events'
import { chmod, lstat, unlink } from 'node:fs/promises'
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import { type AddressInfo, createConnection, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { isMainThread } from 'node:worker_threads'
import express from 'express'
import type { ResolvedConfig } from '../config/config.js'
import { noRoute } from '../middleware/exchange.js'
import { ofOwnUser } from '../middleware/guard.js'
import { failureAnswer, GatewayFailure } from '../middleware/failure.js'
import { answerFailure } from '../middleware/final-answer.js'
import { toOriginForm } from '../middleware/web-pages.js'
import { sendAnswer } from '../middleware/websocket/upgrade.js'
import { noForeignPages } from './admin/access.js'
import { closed, type Gateway } from './gateway.js'

export interface RunningServer {
  /** `http://HOST:PORT`, with the port that was found; `unix:PATH` for a socket. */
  readonly url: string
  /** Accepts nothing new, lets running answers end for at most `graceMs`, then cuts them. */
  stop(graceMs: number): Promise<void>
}

/** ms. Longer than the clients' own keep-alive: else they sometimes send into a connection that is being closed. */
const KEEP_ALIVE_MS = 120_000

/** Limits on a connection before its first request is known. */
export interface ServerLimits {
  /** A head that takes longer is given up; ms. */
  readonly headMs: number
  /** Connections without a whole head. */
  readonly strangers: number
}

/** A client sends its head in one piece, and opens far fewer connections; a system allows about a thousand files. */
const LIMITS: ServerLimits = { headMs: 30_000, strangers: 512 }

/** Serves a gateway on its own port. */
export async function startServer(gateway: Gateway, limits: ServerLimits = LIMITS): Promise<RunningServer> {
  const server = http.createServer({
    keepAliveTimeout: KEEP_ALIVE_MS,
    // A turn may run for hours. Without the next line, no limit on the whole would be none on the head either.
    requestTimeout: 0,
    headersTimeout: limits.headMs,
    connectionsCheckingInterval: limits.headMs / 3,
    maxHeaderSize: 64 * 1024,
    // Without it a client that has vanished (a closed laptop) keeps its connection for ever.
    keepAlive: true,
    keepAliveInitialDelay: 60_000,
  })
  // The guard refuses too many headers in words: some Node versions drop the surplus unseen, others end the connection.
  server.maxHeadersCount = 0
  const strangers = new Strangers(limits.strangers)
  serve(server, gateway, strangers)
  return {
    url: await listen(server, gateway.config.listen),
    stop(graceMs) {
      gateway.drain()
      // Half a head is no request: Node counts its connection as busy, and the stop would wait for it.
      strangers.close()
      return closed(server, graceMs)
    },
  }
}

/** Answers whatever arrives at the server. */
function serve(server: http.Server, gateway: Gateway, strangers: Strangers): void {
  const router = routerOf(gateway)
  const running = new WeakMap<Duplex, ServerResponse>()
  server.on('connection', (socket: Socket) => strangers.add(socket))
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    toOriginForm(request)
    running.set(request.socket, response)
    strangers.remove(request.socket)
    router(request as express.Request, response as express.Response, () => response.destroy())
  })
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    strangers.remove(socket as Socket)
    gateway.upgrade(request, socket, head)
  })
  server.on('connect', (_request: IncomingMessage, socket: Duplex) => refuse(socket, NO_TUNNELS))
  // Bytes that are not HTTP never reach the chain.
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => {
    const response = running.get(socket)
    // In the middle of an answer, the client would read the refusal as a part of it.
    const answering = response?.headersSent && !response.writableFinished
    if (answering || error.code === 'ECONNRESET' || !socket.writable) socket.destroy()
    else refuse(socket, CLIENT_ERRORS[error.code ?? ''] ?? MALFORMED)
  })
}

/** A router without an application: Express's application sets the prototypes of every request, which costs a third. */
function routerOf(gateway: Gateway): express.Router {
  const router = express.Router()
  router.use(gateway.admin, gateway.middleware)
  router.use(noForeignPages(() => gateway.config.access))
  router.use((_request, _response, next) => next(noRoute(gateway.config.routes)))
  router.use(answerFailure({ onUnexpected: (error) => gateway.log.error(error.stack ?? error.message) }))
  return router
}

/** Returns the address, with the port that was found. */
async function listen(
  server: http.Server,
  { host, port, socket }: ResolvedConfig['listen'],
): Promise<string> {
  if (socket !== undefined) return listenOnSocket(server, socket)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => resolve())
  })
  const address = server.address() as AddressInfo
  const name = address.family === 'IPv6' ? `[${address.address}]` : address.address
  return `http://${name}:${address.port}`
}

/** Every user of this machine reaches its loopback; a socket of mode 0600 is for one user. */
async function listenOnSocket(server: http.Server, path: string): Promise<string> {
  if (await isLeftOver(path)) await unlink(path)
  server.on('connection', (socket: Socket) => ofOwnUser.add(socket))
  // Changed afterwards, the mode would come too late for a connection in between. Only the main thread may set this one.
  const before = isMainThread ? process.umask(0o177) : undefined
  const listening = once(server, 'listening')
  try {
    server.listen({ path, readableAll: false, writableAll: false })
  } finally {
    if (before !== undefined) process.umask(before)
  }
  await listening
  await chmod(path, 0o600)
  return `unix:${path}`
}

/** Whether a path is a socket at which nothing listens any more: a killed process leaves it behind. */
async function isLeftOver(path: string): Promise<boolean> {
  const isSocket = await lstat(path).then(
    (info) => info.isSocket(),
    () => false,
  )
  if (!isSocket) return false
  const probe = createConnection(path)
  return new Promise((resolve) => {
    probe.once('connect', () => resolve(false))
    probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED'))
  }).finally(() => probe.destroy()) as Promise<boolean>
}

/**
 * Connections that have not sent a whole head yet, the oldest first. They are bounded: otherwise strangers who open
 * connections and say nothing take up all that the system allows, and no client comes in any more.
 */
class Strangers {
  #sockets = new Set<Socket>()

  constructor(private readonly most: number) {}

  add(socket: Socket): void {
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
    const [oldest] = this.#sockets
    if (this.#sockets.size > this.most) oldest?.destroy()
  }

  /** It has sent a whole head: from here on the rules about requests hold. */
  remove(socket: Socket): void {
    this.#sockets.delete(socket)
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy()
  }
}

const MALFORMED = new GatewayFailure(400, 'malformed_request', 'this is not a well-formed HTTP request')
/** By the code of Node's error. */
const CLIENT_ERRORS: Partial<Record<string, GatewayFailure>> = {
  HPE_HEADER_OVERFLOW: new GatewayFailure(
    431,
    'headers_too_large',
    'the request headers are larger than 64 KiB',
  ),
  ERR_HTTP_REQUEST_TIMEOUT: new GatewayFailure(
    408,
    'head_timeout',
    'the request head did not arrive in time',
  ),
}
const NO_TUNNELS = new GatewayFailure(
  405,
  'no_tunnels',
  'this is no proxy for other servers: point the client here with its base URL, not with HTTPS_PROXY',
)

/** Answers on a bare connection, and closes it. */
function refuse(socket: Duplex, failure: GatewayFailure): void {
  socket.on('error', () => socket.destroy())
  sendAnswer(socket, failureAnswer(failure, undefined))
}
