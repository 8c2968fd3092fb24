import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import * as zlib from 'node:zlib'
import { parse, text } from './json.js'

/** Which of the simulated upstreams a request was for; `custom` for one of the test's own. */
export type UpstreamKind =
  'codex' | 'wham' | 'openai' | 'issuer' | 'gemini' | 'gemini-api' | 'google-token' | 'custom' | 'unknown'

/** The outcome of a request after it has arrived. */
export interface Exchange {
  /** The status that was sent, 101 for an open WebSocket; `undefined` while no status is sent. */
  readonly status: number | undefined
  /** Whether the client went away before the answer was complete, or was the first to end a WebSocket. */
  readonly clientLeft: boolean
  /** Settles when the answer is complete or the connection is gone. */
  readonly closed: Promise<void>
  /** The frames that a WebSocket received, in order: parsed where they are JSON, else the text. */
  readonly frames: readonly unknown[]
  /** The code with which the client closed a WebSocket; 1006 if it sent none, `undefined` before. */
  readonly closeCode: number | undefined
}

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
  /** Id of the account that the request's credential belongs to, expired or not. */
  readonly account: string | undefined
  /** When it was complete, by the simulator's clock; ms since 1970. */
  readonly at: number
}

/** The part of an upstream that the record of a request shows. */
export interface Owner {
  readonly kind: UpstreamKind
  account(request: SimRequest): string | undefined
}

export interface Arrival {
  /** By the simulator's clock; ms since 1970. */
  readonly at: number
  readonly raw: Buffer
  readonly exchange: Exchange
  /** Finds the upstream that a request is for. */
  readonly ownerOf: (request: SimRequest) => Owner | undefined
}

/** Reads a request to its end. A client that leaves in the middle gives the bytes that had come by then. */
export async function readBody(message: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  try {
    for await (const chunk of message) chunks.push(chunk as Buffer)
  } catch {
    // The connection broke. The record of the request still shows the part that came.
  }
  return Buffer.concat(chunks)
}

/** The record of one request and of its outcome. */
export function describe(message: IncomingMessage, { at, raw, exchange, ownerOf }: Arrival): SimRequest {
  const url = message.url ?? '/'
  // Not `new URL(url, base)`: that takes the path `//v1internal` for a host.
  const { pathname, searchParams } = new URL(`http://simulator${url.startsWith('/') ? '' : '/'}${url}`)
  const encoding = message.headers['content-encoding']
  const body = decode(raw, encoding)
  let owner: Owner | undefined
  const request: SimRequest = {
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
    get kind() {
      return owner?.kind ?? 'unknown'
    },
    get account() {
      return owner?.account(this)
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
  owner = ownerOf(request)
  return request
}

/** The token of `Authorization: Bearer`; empty without one. */
export function bearer({ headers }: SimRequest): string {
  return /^Bearer (.+)$/.exec(headers.authorization ?? '')?.[1] ?? ''
}

/** A parameter of a token request: OAuth sends a form, the Codex CLI sends JSON. */
export function parameter({ headers, body, json }: SimRequest, name: string): string | undefined {
  const isForm = headers['content-type']?.startsWith('application/x-www-form-urlencoded')
  return isForm ? (new URLSearchParams(body.toString('utf8')).get(name) ?? undefined) : text(json, name)
}

/** Decodes a body; bytes that this runtime cannot decode stay as they are, for the test to look at. */
function decode(bytes: Buffer, encoding: string | undefined): Buffer {
  try {
    if (encoding === 'gzip') return zlib.gunzipSync(bytes)
    if (encoding === 'deflate') return zlib.inflateSync(bytes)
    if (encoding === 'br') return zlib.brotliDecompressSync(bytes)
    if (encoding === 'zstd') return zstd(bytes)
  } catch {
    // The body is not encoded as its header says.
  }
  return bytes
}

/** Since Node 22.15; looked up by name because the types of Node 20 do not have it. */
function zstd(bytes: Buffer): Buffer {
  const decompress: unknown = Reflect.get(zlib, 'zstdDecompressSync')
  if (typeof decompress !== 'function') return bytes
  const decoded: unknown = decompress(bytes)
  return Buffer.isBuffer(decoded) ? decoded : bytes
}
