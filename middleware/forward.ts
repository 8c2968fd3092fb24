import type { ClientRequest, IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { createProxyMiddleware, type Plugin, type RequestHandler } from 'http-proxy-middleware'
import type { HeldAnswer } from './outcome.js'
import { AttemptRequest, AttemptResponse, type AttemptPlan } from './stand-ins.js'

/** What came of sending one request to one upstream. */
export type Forwarded =
  | { readonly kind: 'answered'; readonly answer: HeldAnswer }
  | {
      readonly kind: 'failed'
      /** A system error code, `connect_timeout` or `headers_timeout`. */
      readonly reason: string
      /** Whether the upstream may have received the request. */
      readonly sent: boolean
      /** Broken on a kept-alive socket before a byte of the answer: most likely closed by the upstream before. */
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

/** An attempt ends with its client, or, where many accounts are asked at once, when it takes too long. */
export function whyAborted(signal: AbortSignal): 'given_up' | 'client_left' {
  return (signal.reason as Error).name === 'TimeoutError' ? 'given_up' : 'client_left'
}

/** One attempt in flight: the stand-ins and whoever waits for them. */
class Attempt {
  readonly request: AttemptRequest
  readonly response = new AttemptResponse()
  connected = false
  #settle: (forwarded: Forwarded) => void = () => {}
  #timer: NodeJS.Timeout | undefined
  #settled = false

  readonly result: Promise<Forwarded>

  constructor(
    plan: AttemptPlan,
    client: Socket,
    private readonly timeouts: ForwardTimeouts,
  ) {
    this.request = new AttemptRequest(plan, client)
    this.result = new Promise((resolve) => (this.#settle = resolve))
    this.#limit(timeouts.connectTimeoutMs, 'connect_timeout')
  }

  /** The proxy has a socket for the request; it may still be connecting. */
  onSocket(upstream: ClientRequest): void {
    this.request.upstream = upstream
    const socket = upstream.socket!
    const secure = 'encrypted' in socket
    if (upstream.reusedSocket || !connecting(socket, secure)) this.#onConnected()
    else socket.once(secure ? 'secureConnect' : 'connect', () => this.#onConnected())
  }

  #onConnected(): void {
    this.connected = true
    clearTimeout(this.#timer)
    // Counted from the end of the request: a slow upload is not a slow upstream.
    const waitForHeaders = () => this.#limit(this.timeouts.headersTimeoutMs, 'headers_timeout')
    if (this.request.upstream!.writableFinished) waitForHeaders()
    else this.request.upstream!.once('finish', waitForHeaders)
  }

  #limit(ms: number, reason: string): void {
    clearTimeout(this.#timer)
    if (this.#settled) return
    this.#timer = setTimeout(() => {
      this.fail({ code: reason })
      this.response.destroy()
    }, ms)
  }

  onAnswer(response: IncomingMessage): void {
    this.#finish({ kind: 'answered', answer: held(response, this.response) })
  }

  fail(error: { code?: string; message?: string }): void {
    const reason = error.code ?? error.message ?? 'failed'
    const reset = reason === 'ECONNRESET' || reason === 'EPIPE'
    const stale = reset && this.request.upstream?.reusedSocket === true
    this.#finish({ kind: 'failed', reason, sent: this.connected, stale })
  }

  #finish(forwarded: Forwarded): void {
    clearTimeout(this.#timer)
    this.#settled = true
    this.#settle(forwarded)
  }
}

/** `secureConnecting` is missing in Node's types; a TLS socket in a tunnel is connected long before it is secure. */
function connecting(socket: Socket, secure: boolean): boolean {
  return secure
    ? (socket as TLSSocket & { secureConnecting?: boolean }).secureConnecting !== false
    : socket.connecting
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
 * never in `on.proxyReq`: that event does not come for every request, and the client's own would then go out.
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
    // Their own error plugin would write host and path, and so a key in a query, into an answer.
    ejectPlugins: true,
    plugins: [events],
  })

  return async function forward(plan, client, timeouts, signal) {
    const attempt = new Attempt(plan, client, timeouts)
    attempts.set(attempt.request, attempt)
    const leave = () => {
      attempt.fail({ code: whyAborted(signal) })
      attempt.response.destroy()
    }
    signal.addEventListener('abort', leave, { once: true })
    attempt.response.once('close', () => signal.removeEventListener('abort', leave))
    const { request, response } = attempt
    proxy(request as unknown as IncomingMessage, response as unknown as ServerResponse, (error) => {
      if (error) attempt.fail(error as Error)
    }).catch((error: Error) => attempt.fail(error))
    return attempt.result
  }
}
