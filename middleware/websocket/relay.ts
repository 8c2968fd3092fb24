import type { WebSocket } from './sockets.js'

/** A message on its way; what a watcher gives back is sent in its place. */
export type Watch = (data: Buffer, binary: boolean) => Buffer | string | undefined

export interface Watches {
  readonly fromClient: Watch
  readonly fromUpstream: Watch
}

/** Bytes that may wait for a slow reader before its peer is stopped. */
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
  const resume = () => {
    if (to.bufferedAmount < HIGH_WATER / 2) from.resume()
  }
  from.on('message', (data: Buffer, binary) => {
    const message = watch(data, binary)
    if (message === undefined) return
    to.send(message, { binary }, resume)
    if (to.bufferedAmount > HIGH_WATER) from.pause()
  })
  from.on('ping', (data: Buffer) => to.ping(data))
  from.on('pong', (data: Buffer) => to.pong(data))
  from.once('close', (code, reason) => end(to, code, reason))
  // What broke is told by the close that follows.
  from.on('error', () => {})
}

/** Passes an end on. An end without a close frame cannot be told by one (RFC 6455 §7.4.1). */
function end(socket: WebSocket, code: number, reason: Buffer): void {
  if (code === 1005) return socket.close()
  const sendable =
    (code >= 1000 && code <= 1014 && code !== 1004 && code !== 1006) || (code >= 3000 && code <= 4999)
  if (sendable) socket.close(code, reason)
  else socket.terminate()
}
