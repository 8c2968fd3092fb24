import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { decode } from './encoding.js'
import type { Exchange } from './exchange.js'
import { parse } from './json.js'
import type { Upstream } from './upstream.js'

/** Which of the simulated upstreams a request was for. */
export type UpstreamKind =
  'codex' | 'wham' | 'openai' | 'issuer' | 'gemini' | 'gemini-api' | 'google-token' | 'unknown'

/** A request as it arrived. Header names are in lower case. */
export interface SimRequest extends Exchange {
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

interface Arrival {
  /** By the simulator's clock; ms since 1970. */
  readonly at: number
  readonly exchange: Exchange
}

/** The record of one request, and of what becomes of it. */
export function describe(
  message: IncomingMessage,
  raw: Buffer,
  upstream: Upstream | undefined,
  { at, exchange }: Arrival,
): SimRequest {
  const url = message.url ?? '/'
  // Not `new URL(url, base)`: that takes the path `//v1internal` for a host.
  const { pathname, searchParams } = new URL(`http://simulator${url.startsWith('/') ? '' : '/'}${url}`)
  const encoding = message.headers['content-encoding']
  const body = decode(raw, encoding)
  return {
    kind: upstream?.kind ?? 'unknown',
    method: message.method ?? 'GET',
    url,
    path: pathname,
    query: searchParams,
    headers: message.headers,
    rawHeaders: message.rawHeaders,
    raw,
    body,
    encoding,
    json: parse(body.toString('utf8')),
    at,
    closed: exchange.closed,
    frames: exchange.frames,
    get account() {
      return upstream?.account(this)
    },
    get status() {
      return exchange.status
    },
    get clientLeft() {
      return exchange.clientLeft
    },
    get closeCode() {
      return exchange.closeCode
    },
  }
}
