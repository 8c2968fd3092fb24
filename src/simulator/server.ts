import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { type Answer, notFound } from './answer.js'
import { breakOff } from './break-off.js'
import { deliver } from './deliver.js'
import type { Fault, FaultScript, WireFault } from './fault.js'
import { describe, readBody, type SimRequest } from './request.js'
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

/** The HTTP server of all upstreams: read, record, take the fault if one is due, answer. */
export function createSimulatorServer(options: ServerOptions): Server {
  const server = createServer((message, response) => {
    serve(message, response, options).catch((error: unknown) => giveUp(response, error))
  })
  server.on('upgrade', (message, socket) => refuseUpgrade(message, socket, options))
  // A gateway keeps connections open between two tests; a short timeout of ours would look like a reset to it.
  server.keepAliveTimeout = 60_000
  return server
}

/** Listens and gives the port. */
export async function listen(server: Server, host: string, port: number): Promise<number> {
  server.listen(port, host)
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/** Stops listening and ends every connection, also those of streams that stall. */
export async function stop(server: Server): Promise<void> {
  if (!server.listening) return
  const closed = once(server, 'close')
  server.close()
  server.closeAllConnections()
  await closed
}

async function serve(
  message: IncomingMessage,
  response: ServerResponse,
  options: ServerOptions,
): Promise<void> {
  const raw = await readBody(message)
  const upstream = upstreamOf(message.url, options)
  const request = describe(message, raw, { ...surroundings(upstream, options), response })
  options.record(request)
  // Half a body: a real upstream would not act on it either.
  if (!message.complete) return
  const work = () => upstream?.answer(request) ?? notFound
  await act(request, response, options.script.take(request), work, options.pauseMs)
}

function surroundings(upstream: Upstream | undefined, { now }: ServerOptions) {
  const holder = (request: SimRequest) => upstream?.account(request)
  return { kind: upstream?.kind ?? ('unknown' as const), at: now(), holder }
}

async function act(
  request: SimRequest,
  response: ServerResponse,
  fault: Fault | undefined,
  work: () => Answer,
  pauseMs: number,
): Promise<void> {
  if (typeof fault === 'function') return fault(request, response)
  if (fault === 'hang') return
  if (fault === 'reset') return breakOff(response)
  const answer = answerOf(fault, work)
  if (fault === 'mute') return
  if (fault === 'lost') return breakOff(response)
  const slow = answer.stream && pauseMs > 0 ? { pauseMs } : {}
  await deliver(response, answer, { ...slow, ...fault })
}

/** A script of the test's own threw: the caller hears it, instead of the whole process dying of it. */
function giveUp(response: ServerResponse, error: unknown): void {
  if (response.headersSent) return breakOff(response)
  const message = error instanceof Error ? error.message : String(error)
  response.writeHead(500, { 'content-type': 'application/json' })
  response.end(JSON.stringify({ error: { code: 'simulator_script_failed', message } }))
}

function answerOf(fault: 'lost' | 'mute' | WireFault | undefined, work: () => Answer): Answer {
  if (typeof fault !== 'object' || fault.status === undefined) return work()
  return { status: fault.status, body: fault.body ?? '' }
}

function upstreamOf(url = '/', { upstreams }: ServerOptions): Upstream | undefined {
  const path = url.replace(/\?.*$/s, '')
  return upstreams.find((upstream) => upstream.owns(path))
}

/** 426 makes the Codex CLI use plain HTTP at once. */
function refuseUpgrade(message: IncomingMessage, socket: Duplex, options: ServerOptions): void {
  const upstream = upstreamOf(message.url, options)
  options.record(describe(message, Buffer.alloc(0), surroundings(upstream, options)))
  // Without a listener a client that is gone already would take the whole process down.
  socket.on('error', () => socket.destroy())
  socket.end('HTTP/1.1 426 Upgrade Required\r\ncontent-length: 0\r\nconnection: close\r\n\r\n')
}
