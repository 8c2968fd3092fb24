import type { Socket } from 'node:net'

/**
 * Reads on while an account is searched: after an upgrade nobody reads the client's socket, so a client that leaves
 * would not be noticed. `taken` gives back what came early, and stops.
 */
export function listenEarly(socket: Socket, head: Buffer): { gone: AbortSignal; taken: () => Buffer } {
  const gone = new AbortController()
  const early: Buffer[] = [head]
  const onReadable = () => {
    for (let chunk = socket.read() as Buffer | null; chunk !== null; chunk = socket.read() as Buffer | null)
      early.push(chunk)
  }
  const onEnd = () => socket.destroy()
  const onClose = () => gone.abort()
  socket.on('readable', onReadable).once('end', onEnd).once('close', onClose)
  return {
    gone: gone.signal,
    taken: () => {
      socket.off('readable', onReadable).off('end', onEnd).off('close', onClose)
      return Buffer.concat(early)
    },
  }
}
