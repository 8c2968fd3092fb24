import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { act, scriptFailed } from './act.js'
import { notFound } from './answer.js'
import { breakOff } from './break-off.js'
import { deliver } from './deliver.js'
import { httpExchange } from './exchange.js'
import type { FaultScript } from './fault-script.js'
import { describe, readBody, type SimRequest } from './request.js'
import { serveUpgrade } from './upgrade.js'
import type { Upstream } from './upstream.js'

export interface ServerOptions {
  readonly upstreams: readonly Upstream[]
  readonly script: FaultScript
  readonly now: () => number
  /** Called for each request before anything is answered. */
  readonly record: (request: SimRequest) => void
  /** Pause before each event of every stream; ms. */
  readonly pauseMs: number
}

/** The server of all upstreams: read, record, take the fault if one is due, answer. */
export class SimulatorServer {
  readonly #server: Server
  /** Connections that are no longer HTTP: Node's server does not know them any more. */
  readonly #upgraded = new Set<Duplex>()

  constructor(options: ServerOptions) {
    this.#server = createServer((message, response) => {
      serve(message, response, options).catch((error: unknown) => giveUp(response, error))
    })
    this.#server.on('upgrade', (message, socket, head) => {
      this.#upgraded.add(socket)
      socket.once('close', () => this.#upgraded.delete(socket))
      void serveUpgrade(message, socket, head, { ...options, upstream: upstreamOf(message.url, options) })
    })
    // A gateway keeps connections open between two tests; a short timeout of ours would look like a reset to it.
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
}

async function serve(
  message: IncomingMessage,
  response: ServerResponse,
  options: ServerOptions,
): Promise<void> {
  const raw = await readBody(message)
  const upstream = upstreamOf(message.url, options)
  const request = describe(message, raw, upstream, { at: options.now(), exchange: httpExchange(response) })
  options.record(request)
  // Half a body: a real upstream would not act on it either.
  if (!message.complete) return
  const work = () => upstream?.answer(request) ?? notFound
  await act(request, response, options.script.take(request), work, options.pauseMs)
}

function giveUp(response: ServerResponse, error: unknown): void {
  if (response.headersSent) return breakOff(response)
  void deliver(response, scriptFailed(error))
}

function upstreamOf(url = '/', { upstreams }: ServerOptions): Upstream | undefined {
  const path = url.replace(/\?.*$/s, '')
  return upstreams.find((upstream) => upstream.owns(path))
}
