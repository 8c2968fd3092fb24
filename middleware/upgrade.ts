import { STATUS_CODES, type IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { GatewayFailure } from './failure.js'

/** Codex falls back to plain HTTP at once on 426; on anything else it tries for seconds first. */
export const UPGRADE_NOT_SERVED = new GatewayFailure(
  426,
  'upgrade_not_served',
  'WebSockets are not served here; use HTTP',
)

/** Answers an upgrade request with a failure and closes the connection. */
export function refuseUpgrade(request: IncomingMessage, socket: Duplex, failure: GatewayFailure): void {
  // Without a listener a client that resets the connection would end the process.
  socket.on('error', () => socket.destroy())
  const { status, code, message } = failure
  const body = JSON.stringify({ error: { message, type: 'codex_pool_error', code } })
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'connection: close',
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(body)}`,
  ]
  request.resume()
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`)
}
