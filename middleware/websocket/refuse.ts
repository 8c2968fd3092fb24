import { STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Answer } from '../../config/provider.js'
import type { HeldAnswer } from '../outcome.js'

/** Answers a handshake with plain HTTP and closes the connection. */
export function sendAnswer(socket: Duplex, { status, headers = {}, body }: Answer): void {
  const bytes = Buffer.from(body === undefined ? '' : JSON.stringify(body))
  write(socket, status, { ...headers, 'content-type': 'application/json' }, bytes)
}

/** Same, with an upstream's refusal of the request itself. */
export function sendUpstreamAnswer(socket: Duplex, answer: HeldAnswer): void {
  const type = answer.response.headers['content-type']
  const encoding = answer.response.headers['content-encoding']
  const headers = { ...(type && { 'content-type': type }), ...(encoding && { 'content-encoding': encoding }) }
  answer.discard()
  write(socket, answer.status, headers, Buffer.concat(answer.begun))
}

function write(
  socket: Duplex,
  status: number,
  headers: Readonly<Record<string, string>>,
  body: Buffer,
): void {
  if (socket.destroyed) return
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  const head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\nconnection: close\r\n${lines.join('')}`
  socket.end(Buffer.concat([Buffer.from(`${head}content-length: ${body.length}\r\n\r\n`), body]))
}
