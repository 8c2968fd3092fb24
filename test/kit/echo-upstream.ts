import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'
import { type WebSocket, WebSocketServer } from 'ws'

export interface Message {
  readonly data: Buffer
  readonly binary: boolean
}

/** One WebSocket as the upstream sees it. */
export interface EchoConnection {
  readonly request: IncomingMessage
  readonly socket: WebSocket
  readonly received: readonly Message[]
  readonly closed: Promise<{ code: number; reason: string }>
}

export interface EchoOptions {
  /** Whether pings are answered. @default true */
  autoPong?: boolean
  /** Status with which a handshake is refused. @default none is */
  refuse?: (request: IncomingMessage) => number | undefined
  /** Sends every message back. @default true */
  echo?: boolean
  /** Compresses messages if the other side offers it. @default false */
  deflate?: boolean
  /** Picks a subprotocol. */
  protocol?: (offered: Set<string>) => string | false
  /** Runs as soon as a WebSocket is open. */
  onOpen?: (socket: WebSocket) => void
}

/** An upstream of no particular provider; it is closed when the test ends. */
export class EchoUpstream {
  readonly connections: EchoConnection[] = []
  readonly #server = createServer((_request, response) => response.writeHead(404).end())
  readonly #waiting: ((connection: EchoConnection) => void)[] = []

  constructor({ refuse, echo = true, deflate = false, autoPong = true, protocol, onOpen }: EchoOptions) {
    const sockets = new WebSocketServer({
      noServer: true,
      autoPong,
      perMessageDeflate: deflate && { threshold: 0 },
      ...(protocol && { handleProtocols: protocol }),
    })
    sockets.on('headers', (lines) => lines.push('x-echo: yes', 'set-cookie: session=of-the-account'))
    this.#server.on('upgrade', (request, wire, head) => {
      wire.on('error', () => wire.destroy())
      const status = refuse?.(request)
      if (status !== undefined)
        return void wire.end(`HTTP/1.1 ${status} Refused\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno`)
      sockets.handleUpgrade(request, wire, head, (socket) => this.#open(request, socket, echo, onOpen))
    })
  }

  static async start(t: TestContext, options: EchoOptions = {}): Promise<EchoUpstream> {
    const upstream = new EchoUpstream(options)
    await once(upstream.#server.listen(0, '127.0.0.1'), 'listening')
    t.after(() => upstream.close())
    return upstream
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** The next WebSocket that has not opened yet. */
  next(): Promise<EchoConnection> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  async close(): Promise<void> {
    for (const { socket } of this.connections) socket.terminate()
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #open(request: IncomingMessage, socket: WebSocket, echo: boolean, onOpen: EchoOptions['onOpen']): void {
    const received: Message[] = []
    socket.on('message', (data: Buffer, binary) => {
      received.push({ data, binary })
      if (echo) socket.send(data, { binary })
    })
    socket.on('error', () => undefined)
    const closed = new Promise<{ code: number; reason: string }>((resolve) =>
      socket.once('close', (code, reason) => resolve({ code, reason: String(reason) })),
    )
    const connection = { request, socket, received, closed }
    this.connections.push(connection)
    for (const tell of this.#waiting.splice(0)) tell(connection)
    onOpen?.(socket)
  }
}
