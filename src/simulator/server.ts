import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import { act, breakOff, deliver, LiveExchange, scriptFailed } from './deliver.js'
import type { Fault, FaultScript } from './fault.js'
import { describe, readBody, type SimRequest } from './request.js'
import { type Answer, notFound, type Upstream } from './upstream.js'
import { converse } from './websocket.js'

export interface ServerOptions {
  readonly upstreams: readonly Upstream[]
  readonly script: FaultScript
  readonly now: () => number
  /** Called for each request before anything is answered. */
  readonly record: (request: SimRequest) => void
  /** Pause before each event of every stream; ms. */
  readonly pauseMs: number
}

/** The server of all upstreams: reads and records a request, takes its fault if one is due, and answers. */
export class SimulatorServer {
  readonly #options: ServerOptions
  readonly #server: Server
  /** Connections that are no longer HTTP. Node's server has forgotten them. */
  readonly #upgraded = new Set<Duplex>()

  constructor(options: ServerOptions) {
    this.#options = options
    this.#server = createServer((message, response) => {
      this.#serve(message, response).catch((error: unknown) => {
        if (response.headersSent) return breakOff(response)
        void deliver(response, scriptFailed(error))
      })
    })
    this.#server.on('upgrade', (message, socket, head) => void this.#serveUpgrade(message, socket, head))
    // A gateway keeps connections open between two tests; a short timeout here would look like a reset to it.
    this.#server.keepAliveTimeout = 60_000
  }

  get listening(): boolean {
    return this.#server.listening
  }

  /** Listens and gives the port. */
  async listen(host: string, port: number): Promise<number> {
    this.#server.listen(port, host)
    await once(this.#server, 'listening')
    return (this.#server.address() as AddressInfo).port
  }

  /** Stops listening and ends every connection, also those of streams that stall. */
  async stop(): Promise<void> {
    if (!this.listening) return
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.#server.closeAllConnections()
    for (const socket of this.#upgraded) socket.destroy()
    await closed
  }

  async #serve(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const { now, script, record, pauseMs } = this.#options
    const raw = await readBody(message)
    const request = describe(message, {
      at: now(),
      raw,
      exchange: new LiveExchange(response),
      ownerOf: this.#upstreamOf,
    })
    record(request)
    // A real upstream does not act on half a body either.
    if (!message.complete) return
    const work = () => this.#upstreamOf(request)?.answer(request) ?? notFound
    await act(request, response, script.take(request), work, pauseMs)
  }

  /** Serves the handshake of a WebSocket as a request, and then its frames. */
  async #serveUpgrade(message: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    this.#upgraded.add(socket)
    socket.once('close', () => this.#upgraded.delete(socket))
    // Without a listener a client that is gone already would end the whole process.
    socket.on('error', () => socket.destroy())
    const { now, script, record, pauseMs } = this.#options
    const response = responseOver(message, socket)
    const exchange = new LiveExchange(response, socket)
    const request = describe(message, {
      at: now(),
      raw: Buffer.alloc(0),
      exchange,
      ownerOf: this.#upstreamOf,
    })
    record(request)
    const fault = script.take(request)
    const admission = (admits(fault) && this.#upstreamOf(request)?.upgrade?.(request)) || upgradeRequired
    if (!('receive' in admission)) {
      // Without a reader, the end of a client that leaves would go unseen.
      socket.resume().once('end', () => socket.end())
      return act(request, response, fault, () => admission, 0)
    }
    const wire = typeof fault === 'object' ? fault : {}
    await pause(wire.pauseMs ?? 0)
    response.detachSocket(socket as Socket)
    const headers = { ...admission.headers, ...wire.headers }
    converse({ message, socket, head, headers, request, exchange, dialogue: admission, script, pauseMs })
  }

  readonly #upstreamOf = (request: SimRequest): Upstream | undefined =>
    this.#options.upstreams.find((upstream) => upstream.owns(request))
}

/** 426 makes the Codex CLI use plain HTTP at once. */
const upgradeRequired: Answer = { status: 426, body: '' }

/** A fault without an answer of its own leaves the answer to the upstream. */
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
