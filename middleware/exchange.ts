import { randomBytes } from 'node:crypto'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { RequestHandler } from 'express'
import { covers } from '../config/index.js'
import type { Middleware, RetryPolicy } from '../config/config.js'
import type { Answer, ClientRequest, Conversation, Provider, RequestHead, Usage } from '../config/provider.js'
import type { Candidate, Strategy } from '../config/account.js'
import type { Account } from '../src/accounts/account.js'
import type { Trail } from '../src/accounts/trails.js'
import { decode, isPlain } from './decode.js'
import { GatewayFailure } from './failure.js'
import type { Body, HeldAnswer } from './forward.js'
import { admitted } from './guard.js'
import type { HeaderFilter } from './headers.js'
import type { KeepAlive } from './keep-alive.js'
import { parseLarge, parseSmall, writeLarge } from './large-json.js'

/** A route with everything that it names looked up. */
export interface Route {
  readonly path: string
  readonly providerName: string
  readonly provider: Provider
  /** The proxy of an account, by its id, if one is configured. */
  readonly proxyOf: (account: string) => string | undefined
  readonly strategy: { readonly name: string; readonly pick: Strategy }
  readonly sticky: boolean
  readonly retry: Required<RetryPolicy>
  readonly websocket: boolean
  /** Which of the client's headers go upstream. */
  readonly passes: HeaderFilter
}

/** The config as one request sees it from its start to its end, whatever is reloaded meanwhile. */
export interface Snapshot {
  readonly routes: readonly Route[]
  readonly use: readonly Middleware[]
  readonly maxReplayBytes: number
  readonly maxBodyBytes: number
}

/** A resource that a request names, and the account that is known to have it. */
export interface Home {
  readonly account: Account
  readonly resource: string
}

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
  /** Set when the body turns out to be too large after a part of it has been sent. */
  overflow: GatewayFailure | undefined
  model: string | undefined
  conversation: Conversation | undefined
  /** A hash that is the same for all requests of the conversation. */
  conversationKey: string | undefined
  /** Keys of the conversation and its aliases among the pins; empty if it is not to be kept together. */
  pinKeys: readonly string[] = []
  /** How a conversation without a name was recognised. */
  trail: Trail | undefined
  /** Resources that the request names, each with the key of its pin; see `Provider.resources`. */
  resources: ReadonlyMap<string, string> = new Map()
  /** The account that is known to have them. */
  home: Home | undefined
  readonly picks: PickRecord[] = []
  readonly attempts: AttemptRecord[] = []
  /** The JSON body without what the upstream could not read in it; see the verdict `repair`. */
  repaired: unknown
  outcome: Outcome | Pooled | undefined
  /** Where the provider's client needs one. */
  keepAlive: KeepAlive | undefined
  /** The status of an answer that was told inside a stream, whose head says 200. */
  toldStatus: number | undefined
  /** The account whose answer the client gets. */
  servedBy: Account | undefined
  firstByteAt: number | undefined
  usage: Usage | undefined
  #json: Parsed | undefined

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

  /** `undefined` for a compressed or large body that has not been read yet: see {@link readingBody}. */
  json(): unknown {
    if (this.body.kind !== 'buffered' || this.#isUpload()) return undefined
    this.#jsonWanted = true
    if (!this.#json && isPlain(this.headers['content-encoding'])) this.#json = parseSmall(this.body.bytes)
    return this.#json?.value
  }

  /** A body that must be rewritten is read whatever its type says. */
  #isUpload(): boolean {
    return !this.provider.rewriteBody && NO_JSON.test(this.headers['content-type'] ?? '')
  }

  contains(text: string): boolean {
    const { body, headers } = this
    return body.kind === 'buffered' && isPlain(headers['content-encoding']) && body.bytes.includes(text)
  }

  #jsonWanted = false

  /**
   * Runs functions of the provider that may call `json()`. If they do and the body is compressed or large, it is decoded
   * and parsed, which must not block other requests, and `look` runs once more.
   * @throws GatewayFailure for a body that cannot be decoded, or holds too much
   */
  async readingBody<T>(look: () => T): Promise<T> {
    const seen = look()
    if (!this.#jsonWanted || this.body.kind !== 'buffered' || this.#json) return seen
    this.#json = await this.#parsed(this.body.bytes)
    return look()
  }

  async #parsed(bytes: Buffer): Promise<Parsed> {
    const decoded = await decode(bytes, this.headers['content-encoding'])
    if (!decoded) return { value: undefined, unreadable: 'unknown_encoding' }
    return parseSmall(decoded) ?? { value: await parseLarge(decoded), large: true }
  }

  /** A body that `json()` gives, or one made of it, as bytes. */
  async written(json: unknown): Promise<Buffer> {
    return this.#json?.large ? writeLarge(json) : Buffer.from(JSON.stringify(json))
  }

  /** Why `json()` gave nothing, if it was called. */
  get unreadable(): 'unknown_encoding' | 'not_json' | undefined {
    return this.#json && this.#json.value === undefined ? (this.#json.unreadable ?? 'not_json') : undefined
  }

  /** Whether a POST may reach a second account after the first may have received it. */
  get replayable(): boolean {
    if (this.method === 'GET' || this.method === 'HEAD') return true
    return this.provider.replayable?.(this) ?? GENERATION.test(this.path)
  }

  /** Whether an exhausted account must not be asked. */
  get usesQuota(): boolean {
    if (this.upgrades) return true
    return this.provider.usesQuota?.(this) ?? (this.method === 'POST' && GENERATION.test(this.path))
  }
}

/** Generation calls of the APIs that custom providers usually stand for. */
const GENERATION =
  /\/(responses|chat\/completions|completions|messages|embeddings)$|:(streamG|g)enerateContent$/

/** Types of uploads: looking for JSON in them would cost a copy of the whole. */
const NO_JSON = /^(?:multipart|audio|video|image)\//i

const pathOf = (url: string): string => split(url)[0]

interface Parsed {
  readonly value: unknown
  readonly unreadable?: 'unknown_encoding'
  /** Other requests would have to wait while it is written at once. */
  readonly large?: true
}

const exchanges = new WeakMap<object, Exchange>()

/** The exchange that a request is part of; `undefined` before the exchange middleware has seen it. */
export function findExchange(request: object): Exchange | undefined {
  return exchanges.get(request)
}

/** The exchange of a request that has passed the exchange middleware. */
export function exchangeOf(request: object): Exchange {
  const found = findExchange(request)
  if (!found) throw new Error('this request has not passed the exchange middleware')
  return found
}

/** Matches the route; everything that follows is aborted when the client leaves. */
export function exchange(snapshot: () => Snapshot): RequestHandler {
  return function exchange(request, response, next) {
    // The client left while middleware of the host app was at work: `close` has been emitted already.
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

/** The exchange of a request, or why the request is refused. `signal` aborts when the client leaves. */
export function openExchange(
  request: IncomingMessage,
  snapshot: Snapshot,
  signal: AbortSignal,
): Exchange | GatewayFailure {
  if (!METHODS.has(request.method ?? ''))
    return new GatewayFailure(405, 'bad_method', `the method ${request.method} is not served`)
  const url = normalUrl(request.url ?? '/')
  const { method = 'GET', headers } = request
  const route = matchRoute(snapshot.routes, { method, headers, path: pathOf(url) })
  if (!route) return noRoute(snapshot.routes)
  if (BAD_PATH.test(pathOf(url)))
    return new GatewayFailure(
      400,
      'bad_path',
      'a path may not hold dot segments, \\, # or broken percent signs',
    )
  return new Exchange(request, url, admitted(request).client, route, snapshot, signal)
}

/** Methods that clients use. TRACE is none of them: it makes an upstream print the account's token. */
const METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])

/**
 * An upstream may read such a path in another way than the rules about paths have: `/v1/../x` leaves its base, `\` is a
 * slash to some, and a `#` or a zero ends a path.
 */
const BAD_PATH = /(^|\/|%2f|%5c)(\.|%2e){1,2}($|\/|%2f|%5c)|[\\#]|%5c|%00|%(?![\da-f]{2})/i

/**
 * The one form of a URL that every rule sees and that goes upstream. Doubled slashes become one (Gemini CLI writes
 * `//v1internal:…` when its endpoint ends in a slash), letters in disguise become plain, since `/ps/%6dcp` is `/ps/mcp`
 * (RFC 3986 §6.2.2.2), and keys in the query are taken out.
 */
function normalUrl(url: string): string {
  const [path, query] = split(url)
  const plain = unescaped(path, /[\w.~-]/)
  const normal = plain.replace(/\/{2,}/g, '/')
  return query === undefined ? normal : withoutKey(`${normal}?${query}`)
}

/** A URL without a key in its query: the client's must not reach the upstream, nor an account's the client. */
export function withoutKey(url: string): string {
  const [path, query] = split(url)
  if (query === undefined) return url
  const parts = query.split('&')
  const kept = parts.filter((part) => !KEY_NAMES.test(unescaped(part.split('=', 1)[0]!, /[$\w-]/)))
  if (kept.length === parts.length) return url
  return kept.length > 0 ? `${path}?${kept.join('&')}` : path
}

/** Names of keys and tokens: `key` and `access_token` of Google's APIs, `api_key` and `token` of others. */
const KEY_NAMES =
  /^\$?(key|(x[-_])?api[-_]?key|(access|auth|id|refresh|oauth)?[-_]?token|authorization|password|secret|client[-_]secret)$/i

/** Writes these characters of ASCII plainly. `decodeURIComponent` throws, which takes long for thousands of names. */
function unescaped(text: string, characters: RegExp): string {
  return text.replace(/%([2-7][\da-f])/gi, (coded, hex: string) => {
    const character = String.fromCharCode(Number.parseInt(hex, 16))
    return characters.test(character) ? character : coded
  })
}

function split(url: string): [path: string, query: string | undefined] {
  const at = url.indexOf('?')
  return at < 0 ? [url, undefined] : [url.slice(0, at), url.slice(at + 1)]
}

/** The first route whose prefix covers the path, and whose provider claims the request. */
export function matchRoute(routes: readonly Route[], head: RequestHead): Route | undefined {
  const fitting = routes.filter(({ path }) => covers(path, head.path))
  return fitting.find(({ provider }) => provider.claims?.(head) ?? true) ?? fitting[0]
}

/** The answer where no route matches. */
export function noRoute(routes: readonly { readonly path: string }[]): GatewayFailure {
  const declared = routes.map(({ path }) => path).join(', ')
  return new GatewayFailure(404, 'no_route', `no route matches this path. Declared: ${declared}`)
}

/** Whether a route covers this URL, with or without an access key in front. */
export function isOurs(routes: readonly { readonly path: string }[], url: string): boolean {
  const path = pathOf(url)
    .replace(/^\/+/, '/')
    .replace(/^\/k\/[^/]+\/+/, '/')
  return routes.some((route) => covers(route.path, path))
}

/**
 * For a gateway that another app has mounted at its root: a request that no route covers is the app's own, and goes
 * back to the app before the guard could refuse it.
 */
export function scope(routes: () => readonly Route[]): RequestHandler {
  return function scope(request, _response, next) {
    next(request.baseUrl === '' && !isOurs(routes(), request.url) ? 'router' : undefined)
  }
}

/** How the search for an account ended. */
export type Outcome =
  | {
      readonly kind: 'upstream'
      readonly answer: HeldAnswer
      readonly account: Account
      /** The one that the account had when it was asked. */
      readonly credential: object
      readonly release: () => void
    }
  | { readonly kind: 'own'; readonly answer: Answer }
  /** The client left. */
  | { readonly kind: 'left' }

/** The answer is made of the answers of many accounts. */
export interface Pooled {
  readonly kind: 'pooled'
  readonly answer: Answer
}

/** One attempt, for `/metrics`, the log and `explain`. */
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

/** One choice of an account: which one, by which rule, and why not the others. */
export interface PickRecord {
  readonly account: string | undefined
  /** `owner`, `conversation`, or the strategy's name. */
  readonly by: string
  /** When; ms since 1970. */
  readonly at: number
  /** Those that the strategy chose from, as it saw them: their numbers are compared again once somebody asks. */
  readonly candidates: readonly Candidate[]
  /** Those that it was not offered. `until` in ms since 1970. */
  readonly others: readonly PassedOver[]
}

export interface PassedOver {
  readonly account: string
  readonly why: string
  readonly until?: number | undefined
}
