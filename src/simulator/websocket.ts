import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http'
import type { Duplex } from 'node:stream'
import { type WebSocket, WebSocketServer } from 'ws'

/** The request for a WebSocket, and where it is answered. */
export interface Connection {
  readonly message: IncomingMessage
  readonly socket: Duplex
  /** What came right behind the request. */
  readonly head: Buffer
  /** Headers of the 101. */
  readonly headers: OutgoingHttpHeaders
}

/** The simulator's end of an open WebSocket. */
export interface WebSocketLine {
  /** Sends a text frame. Settles when the network has taken it, or nobody is there any more. */
  send(text: string): Promise<void>
  close(code: number, reason: string): void
  /** Destroys the connection without a close frame. */
  terminate(): void
  readonly open: boolean
}

export interface WebSocketEvents {
  frame(text: string): void
  /** `code` as the client sent it; 1006 if it sent none. */
  closed(code: number): void
}

/** Completes a handshake; `undefined` for a malformed one, which gets its 4xx here. */
export function openWebSocket(
  { message, socket, head, headers }: Connection,
  events: WebSocketEvents,
): WebSocketLine | undefined {
  const server = new WebSocketServer({ noServer: true, clientTracking: false })
  server.on('headers', (lines) => {
    for (const [name, value] of Object.entries(headers)) lines.push(`${name}: ${String(value)}`)
  })
  let line: WebSocketLine | undefined
  server.handleUpgrade(message, socket, head, (ws) => {
    ws.on('message', (data) => events.frame(String(data)))
    ws.on('close', (code) => events.closed(code))
    // A broken frame; the close that follows says so. Without a listener it would end the process.
    ws.on('error', () => undefined)
    line = lineOf(ws)
  })
  return line
}

function lineOf(ws: WebSocket): WebSocketLine {
  return {
    send: (text) => new Promise((resolve) => ws.send(text, () => resolve())),
    close: (code, reason) => ws.close(code, reason),
    terminate: () => ws.terminate(),
    get open() {
      return ws.readyState === ws.OPEN
    },
  }
}
