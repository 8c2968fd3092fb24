import { randomBytes } from 'node:crypto'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Readable } from 'node:stream'
import type { RequestHandler } from 'express'
import type { Middleware, RetryPolicy } from '../config/config.js'
import type { Answer, ClientRequest, Conversation, Provider, Usage } from '../config/provider.js'
import type { Strategy } from '../config/strategy.js'
import type { Account } from '../src/accounts/account.js'
import { decodeBody } from './decode.js'
import { GatewayFailure } from './gateway-failure.js'
import { admitted } from './guard.js'
import { matchRoute } from './route.js'

/** A route with everything that it names looked up. */
export interface Route {
  readonly path: string
  readonly providerName: string
  readonly provider: Provider
  /** The provider's proxy, if it has one of its own. */
  readonly proxy: string | undefined
  readonly strategy: { readonly name: string; readonly pick: Strategy }
  readonly sticky: boolean
  readonly retry: Required<RetryPolicy>
  readonly websocket: boolean
}

/** The config as one request sees it from its start to its end, whatever is reloaded meanwhile. */
export interface Snapshot {
  readonly routes: readonly Route[]
  readonly use: readonly Middleware[]
  readonly maxReplayBytes: number
  readonly maxBodyBytes: number
}

/** A request's body as the attempts see it. */
export type Body =
  | { readonly kind: 'none' }
  /** Whole in memory: can be sent again. */
  | { readonly kind: 'buffered'; readonly bytes: Buffer }
  /** Too large to keep: `begun` has been read, `rest` still arrives. Can be sent once. */
  | { readonly kind: 'streaming'; readonly begun: Buffer[]; readonly rest: Readable }

/** One request of a client, from its arrival to the end of its answer. */
export class Exchange implements ClientRequest {
  readonly id = randomBytes(9).toString('base64url')
  readonly startedAt = Date.now()
  readonly method: string
  readonly path: string
  readonly headers: IncomingHttpHeaders
  /** The client's connection. */
  readonly socket: Socket
  /** Whether it asks for a WebSocket. */
  upgrades = false
  body: Body = { kind: 'none' }
  /** The body has turned out too large after it had been sent in part. */
  overflow: GatewayFailure | undefined
  model: string | undefined
  conversation: Conversation | undefined
  /** A hash that is the same for all requests of the conversation. */
  conversationKey: string | undefined
  /** Keys of the conversation and its aliases among the pins; empty if it is not to be kept together. */
  pinKeys: readonly string[] = []
  readonly picks: PickRecord[] = []
  readonly attempts: AttemptRecord[] = []
  /** The JSON body without what the account refused in it; see the verdict `repair`. */
  repaired: unknown
  outcome: Outcome | Pooled | undefined
  /** The account whose answer the client gets. */
  servedBy: Account | undefined
  firstByteAt: number | undefined
  usage: Usage | undefined
  #json: ReturnType<typeof read> | undefined

  constructor(
    request: Pick<IncomingMessage, 'method' | 'headers' | 'socket'>,
    readonly url: string,
    readonly client: string,
    readonly route: Route,
    readonly snapshot: Snapshot,
    /** Aborts when the client leaves. */
    readonly signal: AbortSignal,
  ) {
    this.method = request.method ?? 'GET'
    this.headers = request.headers
    this.socket = request.socket
    this.path = pathOf(url)
  }

  get prefix(): string {
    return this.route.path
  }

  get provider(): Provider {
    return this.route.provider
  }

  json(): unknown {
    if (this.body.kind !== 'buffered') return undefined
    this.#json ??= read(decodeBody(this.body.bytes, this.headers['content-encoding'] ?? 'identity'))
    return this.#json.value
  }

  /** Why somebody has looked into the body in vain. */
  get unreadable(): 'unknown_encoding' | 'not_json' | undefined {
    return this.#json?.unreadable
  }

  /** Whether a POST may reach a second account after the first may have received it. */
  get replayable(): boolean {
    if (this.method === 'GET' || this.method === 'HEAD') return true
    return this.provider.replayable?.(this) ?? GENERATION.test(this.path)
  }
}

/** Generation calls of the APIs that people put behind a provider of their own. */
const GENERATION =
  /\/(responses|chat\/completions|completions|messages|embeddings)$|:(streamG|g)enerateContent$/

const pathOf = (url: string): string => split(url)[0]

function read(bytes: Buffer | undefined): {
  value?: unknown
  unreadable?: 'unknown_encoding' | 'not_json'
} {
  if (!bytes) return { unreadable: 'unknown_encoding' }
  try {
    return { value: JSON.parse(bytes.toString('utf8')) }
  } catch {
    return { unreadable: 'not_json' }
  }
}

const exchanges = new WeakMap<object, Exchange>()

/** The exchange that a request is part of; `undefined` before the exchange middleware has seen it. */
export function findExchange(request: object): Exchange | undefined {
  return exchanges.get(request)
}

/** Same, for what comes after the exchange middleware. */
export function exchangeOf(request: object): Exchange {
  const found = findExchange(request)
  if (!found) throw new Error('this request has not passed the exchange middleware')
  return found
}

/** Matches the route and ties everything that follows to the client's presence. */
export function exchange(snapshot: () => Snapshot): RequestHandler {
  return function exchange(request, response, next) {
    // It left while middleware of the host app was at work; `close` will not come again.
    if (response.destroyed) return
    const gone = new AbortController()
    response.once('close', () => {
      if (!response.writableFinished) gone.abort()
    })
    const opened = openExchange(request, snapshot(), gone.signal)
    if (opened instanceof GatewayFailure) return next(opened)
    exchanges.set(request, opened)
    response.setHeader('x-codex-pool-request-id', opened.id)
    next()
  }
}

/** The exchange that a request begins, or why it begins none. `signal` aborts when the client leaves. */
export function openExchange(
  request: IncomingMessage,
  snapshot: Snapshot,
  signal: AbortSignal,
): Exchange | GatewayFailure {
  // Gemini CLI writes `//v1internal:…` when its endpoint ends in a slash.
  const url = withoutKey((request.url ?? '/').replace(/^\/{2,}/, '/'))
  const route = matchRoute(snapshot.routes, pathOf(url))
  if (!route) return noRoute(snapshot.routes)
  if (DOT_SEGMENT.test(pathOf(url)))
    return new GatewayFailure(400, 'bad_path', 'a path may not hold dot segments')
  return new Exchange(request, url, admitted(request).client, route, snapshot, signal)
}

/** `/v1/../x` would be resolved on the way and leave the upstream's base, past every rule about paths. */
const DOT_SEGMENT = /(^|[/\\]|%2f|%5c)(\.|%2e){1,2}($|[/\\]|%2f|%5c)/i

/** An API key of the client's in the query must not reach the upstream. */
function withoutKey(url: string): string {
  const [path, query] = split(url)
  if (query === undefined) return url
  const parts = query.split('&')
  const kept = parts.filter((part) => !KEY_NAMES.test(unescaped(part.split('=', 1)[0]!)))
  if (kept.length === parts.length) return url
  return kept.length > 0 ? `${path}?${kept.join('&')}` : path
}

/** Google's APIs know all of these. */
const KEY_NAMES = /^(\$?key|access_token)$/i

function unescaped(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

function split(url: string): [path: string, query: string | undefined] {
  const at = url.indexOf('?')
  return at < 0 ? [url, undefined] : [url.slice(0, at), url.slice(at + 1)]
}

/** Nothing serves this path. */
export function noRoute(routes: readonly { readonly path: string }[]): GatewayFailure {
  const declared = routes.map(({ path }) => path).join(', ')
  return new GatewayFailure(404, 'no_route', `no route matches this path. Declared: ${declared}`)
}

/** How the search for an account ended. */
export type Outcome =
  | {
      readonly kind: 'upstream'
      readonly answer: HeldAnswer
      readonly account: Account
      readonly release: () => void
    }
  | { readonly kind: 'own'; readonly answer: Answer }
  /** The client left. */
  | { readonly kind: 'left' }

/** No search was needed: the answer is made of what many accounts said. */
export interface Pooled {
  readonly kind: 'pooled'
  readonly answer: Answer
}

/** An upstream's answer of which nothing has reached the client yet. */
export interface HeldAnswer {
  readonly status: number
  readonly response: IncomingMessage
  /** What has been read of the body so far. */
  readonly begun: readonly Buffer[]
  /** Whether the body has ended with it. */
  readonly ended: boolean
  /** Gives the answer up; the upstream's connection is closed if it is not at its end. */
  readonly discard: () => void
  /** Tells the forwarder that the answer went through to its end. */
  readonly done: () => void
  /** Calls back if the upstream breaks off. */
  readonly onBroken: (listener: () => void) => void
}

/** What happened with one account; kept for `/metrics` and the log. */
export interface AttemptRecord {
  readonly account: string
  readonly status?: number | undefined
  readonly outcome: string
  /** ms since 1970 */
  readonly startedAt: number
  readonly durationMs: number
  /** Whether the request may have reached the upstream. */
  readonly sent: boolean
}

/** One choice of an account: who was asked next, who decided that, and why not the others. */
export interface PickRecord {
  readonly account: string | undefined
  /** `owner`, `conversation`, or the strategy's name. */
  readonly by: string
  readonly others: readonly { readonly account: string; readonly why: string }[]
}
