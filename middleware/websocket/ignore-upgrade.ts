import type { IncomingMessage, Server } from 'node:http'
import type { Duplex } from 'node:stream'

/**
 * Whether a request offers to go on as a WebSocket, which only a GET of HTTP/1.1 can (RFC 6455 §4.1). Java's clients and
 * `curl --http2` offer HTTP/2 (`h2c`) instead, and a proxy may write its own offer into every request.
 */
export function offersWebSocket({ method, httpVersion, headers }: IncomingMessage): boolean {
  if (method !== 'GET' || httpVersion === '1.0') return false
  return (headers.upgrade ?? '').split(',').some((protocol) => protocol.trim().toLowerCase() === 'websocket')
}

/**
 * Goes on as if the request had offered no upgrade, which a server may always do (RFC 9110 §7.8). With a listener for
 * `upgrade`, Node takes every such request off its server; so its head is put back onto the connection without the
 * offer, and the server reads it again.
 */
export function ignoreUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer, server: Server): void {
  const lines = [`${request.method} ${request.url} HTTP/${request.httpVersion}`]
  for (let i = 0; i < request.rawHeaders.length; i += 2) {
    const [name = '', value = ''] = request.rawHeaders.slice(i, i + 2)
    const kept = withoutOffer(name.toLowerCase(), value)
    if (kept !== undefined) lines.push(`${name}: ${kept}`)
  }
  // Node's strings of a head are latin1; in UTF-8 the bytes of a name beyond ASCII would change.
  socket.unshift(Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), head]))
  server.emit('connection', socket)
}

/** A header's value without the upgrade; `undefined` where nothing of it is left. */
function withoutOffer(name: string, value: string): string | undefined {
  if (name === 'upgrade' || name === 'http2-settings') return undefined
  if (name !== 'connection') return value
  const tokens = value.split(',').map((token) => token.trim())
  const kept = tokens.filter((token) => !/^(upgrade|http2-settings)$/i.test(token))
  return kept.length > 0 ? kept.join(', ') : undefined
}
