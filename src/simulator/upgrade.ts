import { type IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import { act } from './act.js'
import type { Answer } from './answer.js'
import { converse } from './converse.js'
import type { Fault } from './fault.js'
import { Handshake } from './handshake.js'
import { describe } from './request.js'
import type { ServerOptions } from './server.js'
import type { Upstream } from './upstream.js'

export interface UpgradeOptions extends ServerOptions {
  readonly upstream: Upstream | undefined
}

/** Serves the handshake of a WebSocket as `serve` does a request, and then its frames. */
export async function serveUpgrade(
  message: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  options: UpgradeOptions,
): Promise<void> {
  // Without a listener a client that is gone already would take the whole process down.
  socket.on('error', () => socket.destroy())
  const response = responseOver(message, socket)
  const handshake = new Handshake(socket, response)
  const { upstream, script, now, record } = options
  const request = describe(message, Buffer.alloc(0), upstream, { at: now(), exchange: handshake })
  record(request)
  const fault = script.take(request)
  const admission = admits(fault) ? (upstream?.upgrade?.(request) ?? upgradeRequired) : upgradeRequired
  if (!('receive' in admission)) {
    // Nobody reads any more: without this a client that leaves would go unseen.
    socket.resume().once('end', () => socket.end())
    return act(request, response, fault, () => admission, 0)
  }
  const { pauseMs = 0, headers } = typeof fault === 'object' ? fault : {}
  await pause(pauseMs)
  response.detachSocket(socket as Socket)
  const connection = { message, socket, head, headers: { ...admission.headers, ...headers } }
  converse(connection, { ...options, request, handshake, dialogue: admission })
}

/** 426 makes the Codex CLI use plain HTTP at once. */
const upgradeRequired: Answer = { status: 426, body: '' }

/** A fault that answers nothing itself leaves the answer to the upstream. */
const admits = (fault: Fault | undefined): boolean =>
  fault === undefined || (typeof fault === 'object' && fault.status === undefined)

/** Lets an answer over HTTP be written to a connection that Node has already given away. */
function responseOver(message: IncomingMessage, socket: Duplex): ServerResponse {
  const response = new ServerResponse(message)
  response.shouldKeepAlive = false
  // Node types the connection of an upgrade as any stream; the one of a plain HTTP server is a socket.
  response.assignSocket(socket as Socket)
  response.on('finish', () => socket.end())
  return response
}
