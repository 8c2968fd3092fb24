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
    // Cut off at once, a slow reader would lose what came before the break, perhaps the end of a response.
    else if (to.bufferedAmount > 0) broken = true
    else to.terminate()
  })
  // What broke is told by the close that follows.
  from.on('error', () => {})
}

/** Whether a close frame may carry this code; an end without such a frame has one that may not (RFC 6455 §7.4). */
function sendable(code: number): boolean {
  return (code >= 1000 && code <= 1014 && code !== 1004 && code !== 1006) || (code >= 3000 && code <= 4999)
}
