import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import { clientLeft } from './break-off.js'
import { decode } from './encoding.js'

/** Which of the simulated upstreams a request was for. */
export type UpstreamKind =
  'codex' | 'wham' | 'openai' | 'issuer' | 'gemini' | 'gemini-api' | 'google-token' | 'unknown'

/** A request as it arrived. Header names are in lower case. */
export interface SimRequest {
  readonly kind: UpstreamKind
  readonly method: string
  /** Path and query as they came. */
  readonly url: string
  readonly path: string
  readonly query: URLSearchParams
  readonly headers: IncomingHttpHeaders
  /** Header names and values in the order and case in which they came, alternating. */
  readonly rawHeaders: readonly string[]
  /** The bytes as they came. */
  readonly raw: Buffer
  /** The decoded bytes; the same as `raw` where this runtime has no decoder (zstd before Node 22.15). */
  readonly body: Buffer
  /** `content-encoding` of the body. */
  readonly encoding: string | undefined
  /** The parsed body; `undefined` if it is not JSON. */
  readonly json: unknown
  /** Id of the account whose credential came, expired or not; `undefined` for a credential of nobody. */
  readonly account: string | undefined
  /** When it was complete, by the simulator's clock; ms since 1970. */
  readonly at: number
  /** The status that was sent; `undefined` before that, or if none ever was. */
  readonly status: number | undefined
  /** Whether the client went away before the answer was complete. */
  readonly clientLeft: boolean
  /** Settles when the answer is complete or the connection is gone. */
  readonly closed: Promise<void>
}

/** Reads a request to its end. A client that leaves in the middle gives what had come by then. */
export async function readBody(message: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  try {
    for await (const chunk of message) chunks.push(chunk as Buffer)
  } catch {
    // The connection broke: the caller sees it on the response, and what came is still worth recording.
  }
  return Buffer.concat(chunks)
}

interface Surroundings {
  readonly kind: UpstreamKind
  readonly at: number
  /** None for an upgrade, which is always answered 426. */
  readonly response?: ServerResponse
  /** Says whose credential a request carries. */
  readonly holder: (request: SimRequest) => string | undefined
}

/** The record of one request. */
export function describe(message: IncomingMessage, raw: Buffer, surroundings: Surroundings): SimRequest {
  const { kind, at, response, holder } = surroundings
  const url = message.url ?? '/'
  // Not `new URL(url, base)`: that takes the path `//v1internal` for a host.
  const { pathname, searchParams } = new URL(`http://simulator${url.startsWith('/') ? '' : '/'}${url}`)
  const encoding = message.headers['content-encoding']
  const body = decode(raw, encoding)
  return {
    kind,
    method: message.method ?? 'GET',
    url,
    path: pathname,
    query: searchParams,
    headers: message.headers,
    rawHeaders: message.rawHeaders,
    raw,
    body,
    encoding,
    json: parse(body),
    at,
    closed: closeOf(response),
    get account() {
      return holder(this)
    },
    get status() {
      if (!response) return 426
      return response.headersSent ? response.statusCode : undefined
    },
    get clientLeft() {
      return response !== undefined && clientLeft(response)
    },
  }
}

function closeOf(response: ServerResponse | undefined): Promise<void> {
  if (!response || response.closed) return Promise.resolve()
  return new Promise((resolve) => response.once('close', () => resolve()))
}

function parse(body: Buffer): unknown {
  const first = body[0]
  if (first !== 0x7b && first !== 0x5b) return undefined
  try {
    return JSON.parse(body.toString('utf8'))
  } catch {
    return undefined
  }
}
