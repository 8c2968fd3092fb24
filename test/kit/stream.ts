import { once } from 'node:events'
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import type { Readable } from 'node:stream'
import type { Simulator, SimRequest } from '../../src/simulator/index.js'
import { clientHeaders, turn, within, type TestPool } from './pool.js'

export interface OpenOptions {
  method?: string
  path?: string
  headers?: Record<string, string>
  /** Left out: a turn of Codex. A stream is sent chunked, unless a content-length is among the headers. */
  body?: string | Buffer | Readable | undefined
}

/** Sends a request over a connection of its own. The test reads the answer. */
export function send(pool: TestPool, options: OpenOptions = {}): http.ClientRequest {
  const { method = 'POST', path = '/v1/responses', headers, body = JSON.stringify(turn()) } = options
  const request = http.request(new URL(path, pool.url), {
    method,
    agent: false,
    headers: { ...clientHeaders(), 'content-type': 'application/json', ...headers },
  })
  // Tests that break connections look at the answer.
  request.on('error', () => {})
  if (method === 'GET') request.end()
  else if (typeof body === 'string' || Buffer.isBuffer(body)) request.end(body)
  else body.pipe(request)
  return request
}

/** Waits for the head of the answer; the test reads the body. */
export async function open(pool: TestPool, options?: OpenOptions): Promise<IncomingMessage> {
  const [answer] = (await within(once(send(pool, options), 'response'))) as [IncomingMessage]
  return answer
}

/** Reads to the end; `broken` if the connection ended before the answer did. */
export async function drain(answer: IncomingMessage): Promise<{ bytes: Buffer; broken: boolean }> {
  const chunks: Buffer[] = []
  const read = async () => {
    for await (const chunk of answer) chunks.push(chunk as Buffer)
    return !answer.complete
  }
  const broken = await within(read().catch(() => true))
  return { bytes: Buffer.concat(chunks), broken }
}

/** The upstream's side of a request that the test answers itself. */
export interface Intercepted {
  readonly request: SimRequest
  readonly response: ServerResponse
}

/** Takes the next request that a path's end matches away from the simulator. */
export function intercept(sim: Simulator, path = '/codex/responses'): Promise<Intercepted> {
  const taken = new Promise<Intercepted>((resolve) => {
    sim.fail({ path, with: (request, response) => resolve({ request, response }) })
  })
  return within(taken)
}

export const EVENT_STREAM = { 'content-type': 'text/event-stream; charset=utf-8' }

export function frame(type: string, more: object = {}): string {
  return `event: ${type}\ndata: ${JSON.stringify({ type, ...more })}\n\n`
}

/** An event after which an answer is on its way to the client. */
export const OUTPUT = frame('response.output_text.delta', { delta: 'x' })
