import { EventEmitter } from 'node:events'
import type { Agent, ClientRequest, IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Readable, Writable } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { createProxyMiddleware, type Plugin, type RequestHandler } from 'http-proxy-middleware'
import { reasonOf } from '../config/index.js'
import type { AnswerForm } from '../config/provider.js'

/** A request's body, as attempts send it. */
export type Body =
  | { readonly kind: 'none' }
  /** All in memory; can be sent again. */
  | { readonly kind: 'buffered'; readonly bytes: Buffer }
  /** Too large to keep: `begun` has been read, `rest` still arrives. Can be sent only once. */
  | { readonly kind: 'streaming'; readonly begun: Buffer[]; readonly rest: Readable }

/** An upstream's answer of which nothing has reached the client yet. */
export interface HeldAnswer {
  readonly status: number
  readonly response: IncomingMessage
  /** The part of the body that has been read. */
  readonly begun: readonly Buffer[]
  /** Whether `begun` is the whole body. */
  readonly ended: boolean
  /** Types of its events that have been judged, and were no failure. @default none */
  readonly harmless?: ReadonlySet<string>
  /** The form in which the client gets it. @default byte for byte */
  readonly form?: AnswerForm | undefined
  /** Names of the resources that the beginning of a stream shows the account to have. */
  readonly made?: readonly string[]
  /** Drops the answer; the upstream's connection is closed if the body has not ended. */
  readonly discard: () => void
  /** Tells the forwarder that the whole answer has been passed on. */
  readonly done: () => void
  /** Calls back if the upstream breaks off. */
  readonly onBroken: (listener: () => void) => void
}

/** The outcome of sending one request to one upstream. */
export type Forwarded =
  | { readonly kind: 'answered'; readonly answer: HeldAnswer }
  | {
      readonly kind: 'failed'
      /** A system error code, `connect_timeout` or `headers_timeout`; then host and port. */
      readonly reason: string
      /** Whether the upstream may have received the request. */
      readonly sent: boolean
      /** The kept-alive socket broke before a byte of the answer: the upstream had most likely closed it already. */
      readonly stale: boolean
    }

export interface ForwardTimeouts {
  readonly connectTimeoutMs: number
  readonly headersTimeoutMs: number
}

export type Forward = (
  plan: AttemptPlan,
  client: Socket,
  timeouts: ForwardTimeouts,
  signal: AbortSignal,
) => Promise<Forwarded>

/** An attempt is aborted when its client leaves, or, where many accounts are asked at once, when it takes too long. */
export function whyAborted(signal: AbortSignal): 'given_up' | 'client_left' {
  return (signal.reason as Error).name === 'TimeoutError' ? 'given_up' : 'client_left'
}

/** One attempt in flight: the stand-ins for request and response, a timer, and the outcome. */
class Attempt {
  readonly request: AttemptRequest
  readonly response = new AttemptResponse()
  connected = false
  #resolve: (forwarded: Forwarded) => void = () => {}
  #timer: NodeJS.Timeout | undefined
  #finished = false

  readonly result: Promise<Forwarded>

  constructor(
    plan: AttemptPlan,
    client: Socket,
    private readonly timeouts: ForwardTimeouts,
  ) {
    this.request = new AttemptRequest(plan, client)
    this.result = new Promise((resolve) => (this.#resolve = resolve))
    this.#limit(timeouts.connectTimeoutMs, 'connect_timeout')
  }

  /** The proxy has a socket for the request; it may still be connecting. */
  onSocket(upstream: ClientRequest): void {
    this.request.upstream = upstream
    // Without a listener Node closes the connection and tells nothing: the attempt would last until its headers timeout.
    upstream.once('upgrade', (_response, socket) => {
      socket.destroy()
      this.fail({}, 'the upstream answered 101, although no upgrade was asked for')
      this.response.destroy()
    })
    const socket = upstream.socket!
    if (upstream.reusedSocket) this.#onConnected()
    else whenConnected(socket, () => this.#onConnected())
  }

  #onConnected(): void {
    this.connected = true
    clearTimeout(this.#timer)
    // The time counts from the end of the request, or a slow upload would look like a slow upstream.
    const waitForHeaders = () => this.#limit(this.timeouts.headersTimeoutMs, 'headers_timeout')
    if (this.request.upstream!.writableFinished) waitForHeaders()
    else this.request.upstream!.once('finish', waitForHeaders)
  }

  #limit(ms: number, reason: string): void {
    clearTimeout(this.#timer)
    if (this.#finished) return
    this.#timer = setTimeout(() => {
      this.fail({ code: reason })
      this.response.destroy()
    }, ms)
  }

  onAnswer(response: IncomingMessage): void {
    const { form } = this.request.plan
    this.#finish({ kind: 'answered', answer: { ...held(response, this.response), form } })
  }

  fail(error: Partial<NodeJS.ErrnoException>, reason = reasonOf(error, this.request.plan.target)): void {
    const reset = error.code === 'ECONNRESET' || error.code === 'EPIPE'
    const stale = reset && this.request.upstream?.reusedSocket === true
    this.#finish({ kind: 'failed', reason, sent: this.connected, stale })
  }

  #finish(forwarded: Forwarded): void {
    clearTimeout(this.#timer)
    this.#finished = true
    this.#resolve(forwarded)
  }
}

/**
 * Calls back once a socket is connected, at once if it is: one through a proxy comes connected. A TLS socket in a tunnel
 * is connected before its TLS handshake ends.
 */
export function whenConnected(socket: Socket, onConnected: () => void): void {
  const secure = 'encrypted' in socket
  // `secureConnecting` is missing in Node's types.
  const connecting = secure
    ? (socket as TLSSocket & { secureConnecting?: boolean }).secureConnecting !== false
    : socket.connecting
  if (connecting) socket.once(secure ? 'secureConnect' : 'connect', onConnected)
  else onConnected()
}

function held(response: IncomingMessage, standIn: AttemptResponse): HeldAnswer {
  return {
    status: response.statusCode ?? 502,
    response,
    begun: [],
    ended: false,
    discard: () => void standIn.destroy(),
    done: () => standIn.done(),
    onBroken: (listener) => {
      if (standIn.destroyed) listener()
      else standIn.once('close', () => standIn.writableFinished || listener())
    },
  }
}

/**
 * Sends requests upstream through one http-proxy-middleware, one call per attempt. Headers are set in the stand-in,
 * never in `on.proxyReq`: that event is not emitted for every request, and the client's own headers would then go out.
 */
export function forward(): Forward {
  const attempts = new WeakMap<object, Attempt>()
  const events: Plugin = (proxy) => {
    proxy.on('proxyReq', (upstream, request) => attempts.get(request)?.onSocket(upstream))
    proxy.on('proxyRes', (response, request) => attempts.get(request)?.onAnswer(response))
    proxy.on('error', (error, request) => request && attempts.get(request)?.fail(error))
    proxy.on('econnreset', (error, request) => attempts.get(request)?.fail(error))
  }
  const proxy: RequestHandler = createProxyMiddleware({
    router: (request, _response, options) => {
      const { plan } = attempts.get(request)!.request
      options!.agent = plan.agent as NonNullable<typeof options>['agent']
      return plan.target.origin
    },
    changeOrigin: true,
    selfHandleResponse: true,
    // The library's error plugin writes host and path, and so a key in a query, into an answer.
    ejectPlugins: true,
    plugins: [events],
  })

  return async function forward(plan, client, timeouts, signal) {
    const attempt = new Attempt(plan, client, timeouts)
    attempts.set(attempt.request, attempt)
    const leave = () => {
      attempt.fail({}, whyAborted(signal))
      attempt.response.destroy()
    }
    signal.addEventListener('abort', leave, { once: true })
    attempt.response.once('close', () => signal.removeEventListener('abort', leave))
    const { request, response } = attempt
    // The stand-ins have only what the proxy uses of Node's classes, which cannot be made without a socket.
    proxy(request as unknown as IncomingMessage, response as unknown as ServerResponse, (error) => {
      if (error) attempt.fail(error as Error)
    }).catch((error: Error) => attempt.fail(error))
    return attempt.result
  }
}

/** The request of one attempt. */
export interface AttemptPlan {
  readonly method: string
  readonly target: URL
  /** Lower-case names, complete. */
  readonly headers: IncomingHttpHeaders
  readonly body: Body
  readonly agent: Agent | false
  /** See {@link HeldAnswer.form}. */
  readonly form?: AnswerForm | undefined
}

/**
 * Stands in for the client's request in one attempt. http-proxy-middleware never sees the real one: a discarded
 * attempt would take the client's connection down with it.
 */
export class AttemptRequest {
  readonly httpVersion = '1.1'
  readonly httpVersionMajor = 1
  readonly httpVersionMinor = 1
  readonly method: string
  readonly url: string
  readonly headers: IncomingHttpHeaders
  /** Set once a socket is found. */
  upstream: ClientRequest | undefined

  constructor(
    readonly plan: AttemptPlan,
    readonly socket: Socket,
  ) {
    this.method = plan.method
    this.url = plan.target.pathname + plan.target.search
    this.headers = plan.headers
  }

  /** The client's errors end the attempt through {@link AttemptResponse.destroy}. */
  on(): this {
    return this
  }

  once(): this {
    return this
  }

  pipe<W extends Writable>(upstream: W): W {
    const { body } = this.plan
    if (body.kind === 'streaming') {
      for (const chunk of body.begun) upstream.write(chunk)
      if (body.rest.errored) return upstream.destroy(body.rest.errored)
      body.rest.once('error', (error) => upstream.destroy(error))
      return body.rest.pipe(upstream)
    }
    upstream.end(body.kind === 'buffered' ? body.bytes : undefined)
    return upstream
  }
}

/** Stands in for the client's response in one attempt; the real one is written once an answer is chosen. */
export class AttemptResponse extends EventEmitter {
  headersSent = false
  finished = false
  writableFinished = false
  writableEnded = false
  destroyed = false

  /** Called by the proxy when the upstream breaks off, and by us to drop the attempt: ends the upstream request. */
  destroy(): this {
    if (this.destroyed) return this
    this.destroyed = true
    this.emit('close')
    return this
  }

  /** The whole answer has been passed on: lets the proxy's promise settle, and closes no connection. */
  done(): void {
    if (this.destroyed) return
    this.destroyed = true
    this.writableFinished = true
    this.finished = true
    this.emit('close')
  }
}
