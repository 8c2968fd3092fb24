import { createHash } from 'node:crypto'
import { once } from 'node:events'
import net, { type AddressInfo, type Socket } from 'node:net'

/** An upstream on a raw socket: it answers any request with whatever bytes it is given. */
export class RawUpstream {
  readonly #server = net.createServer((socket) => this.#serve(socket))
  readonly #sockets = new Set<Socket>()
  /** The next answers, one for each connection that asks for something; afterwards the good answer. */
  #answers: Buffer[] = []
  /** Sent behind each WebSocket handshake. */
  #frames: Buffer = Buffer.alloc(0)

  constructor(private readonly good: Buffer) {}

  async listen(): Promise<string> {
    await once(this.#server.listen(0, '127.0.0.1'), 'listening')
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** Gives each of the next `times` connections this answer. */
  answer(bytes: Buffer, times: number): void {
    this.#answers = Array.from({ length: times }, () => bytes)
  }

  /** Accepts WebSockets from now on, and sends these bytes behind each handshake. */
  frames(bytes: Buffer): void {
    this.#frames = bytes
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket)
    socket.on('error', () => socket.destroy())
    socket.once('close', () => this.#sockets.delete(socket))
    let head = ''
    socket.on('data', (chunk) => {
      head += chunk.toString('latin1')
      if (!head.includes('\r\n\r\n')) return
      const key = /sec-websocket-key: *(\S+)/i.exec(head)?.[1]
      head = ''
      const answer = this.#answers.shift()
      if (answer || key === undefined) return void socket.end(answer ?? this.good)
      socket.write(`HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n`)
      socket.write(`sec-websocket-accept: ${acceptOf(key)}\r\n\r\n`)
      // What follows on this connection are frames, which are thrown away.
      socket.removeAllListeners('data').resume()
      socket.end(this.#frames)
    })
  }
}

/** RFC 6455 §4.2.2. */
function acceptOf(key: string): string {
  return createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
}
