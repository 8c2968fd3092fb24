import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import * as zlib from 'node:zlib'
import { parse, text } from './json.js'

/** Which of the simulated upstreams a request was for; `custom` for one of the test's own. */
export type UpstreamKind =
  | 'codex'
  | 'wham'
  | 'openai'
  | 'issuer'
  | 'gemini'
  | 'gemini-api'
  | 'gemini-openai'
  | 'google-token'
  | 'custom'
  | 'unknown'

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

/** The record of one request; its outcome comes from `exchange`. */
export function describe(message: IncomingMessage, { at, raw, exchange, ownerOf }: Arrival): SimRequest {
  const { method = 'GET', url = '/', headers, rawHeaders } = message
  // Not `new URL(url, base)`: that takes the path `//v1internal` for a host.
  const { pathname, searchParams } = new URL(`http://simulator${url.startsWith('/') ? '' : '/'}${url}`)
  const encoding = headers['content-encoding']
  const body = decode(raw, encoding)
  const request: SimRequest = Object.assign(exchange, {
    kind: 'unknown' as const,
    account: undefined,
    method,
    url,
    path: pathname,
    query: searchParams,
    headers,
    rawHeaders,
    raw,
    body,
    encoding,
    json: parse(body.toString('utf8')),
    at,
  })
  const owner = ownerOf(request)
  return owner ? Object.assign(request, { kind: owner.kind, account: owner.account(request) }) : request
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

const DECODERS: Record<string, ((bytes: Buffer) => Buffer) | undefined> = {
  gzip: zlib.gunzipSync,
  deflate: zlib.inflateSync,
  br: zlib.brotliDecompressSync,
  // Since Node 22.15; looked up by name because the types of Node 20 do not have it.
  zstd: Reflect.get(zlib, 'zstdDecompressSync'),
}

/** Bytes that this runtime cannot decode, or that are not encoded as they say, stay as they are. */
function decode(bytes: Buffer, encoding = ''): Buffer {
  try {
    return DECODERS[encoding]?.(bytes) ?? bytes
  } catch {
    return bytes
  }
}
