import type { EventEmitter } from 'node:events'
import http from 'node:http'
import https from 'node:https'
import type { Socket } from 'node:net'
import { HttpsProxyAgent } from 'https-proxy-agent'
import { getProxyForUrl } from 'proxy-from-env'
import { SocksProxyAgent } from 'socks-proxy-agent'
import { Agent, buildConnector, fetch, ProxyAgent, Response, type Dispatcher } from 'undici'
import { causeOf, isLoopback, reasonOf } from '../config/index.js'

/**
 * The ways out of this process: kept-alive sockets for forwarded requests, `fetch` for the gateway's own calls; both
 * through the user's proxy where one is set. Everything is closed by `close`.
 */
export class Network {
  #agents = new Map<string, http.Agent>()
  #dispatchers = new Map<string, Dispatcher>()
  closed = false

  /**
   * The sockets of one account to one origin. Accounts never share sockets, so a broken connection
   * concerns one account only. Without `reuse` every request gets a new connection.
   */
  agent(account: string, target: URL, proxy: string | undefined, reuse: boolean): http.Agent | false {
    const via = proxyTowards(target, proxy)
    if (!reuse && !via) return false
    const key = `${account} ${target.origin} ${reuse} ${via}`
    const known = this.#agents.get(key)
    if (known) return known
    const agent = newAgent(target, via, { keepAlive: reuse, maxFreeSockets: 16, scheduling: 'lifo' })
    this.#agents.set(key, agent)
    return agent
  }

  /** `fetch` for calls of the gateway's own. Where it gets no answer, its error says why: code, host and port. */
  fetch(proxy: string | undefined): typeof globalThis.fetch {
    const own = async (input: Parameters<typeof fetch>[0], init?: Parameters<typeof fetch>[1]) => {
      const url = new URL(typeof input === 'object' && 'url' in input ? input.url : String(input))
      try {
        const dispatcher = this.#dispatcher(proxyTowards(url, proxy))
        return bounded(await fetch(input, { ...init, dispatcher }), url)
      } catch (error) {
        throw explained(error, url)
      }
    }
    return own as typeof globalThis.fetch
  }

  #dispatcher(via: string): Dispatcher {
    const known = this.#dispatchers.get(via)
    if (known) return known
    const dispatcher =
      via === ''
        ? new Agent()
        : isSocks(via)
          ? new Agent({ connect: socksConnector(via) })
          : new ProxyAgent(via)
    this.#dispatchers.set(via, dispatcher)
    return dispatcher
  }

  async close(): Promise<void> {
    this.closed = true
    for (const agent of this.#agents.values()) agent.destroy()
    await Promise.all([...this.#dispatchers.values()].map((dispatcher) => dispatcher.destroy()))
    this.#agents.clear()
    this.#dispatchers.clear()
  }
}

/** `fetch` from a server that listens on a Unix socket. */
export function fetchThrough(socketPath: string): typeof globalThis.fetch {
  const dispatcher = new Agent({ connect: { socketPath } })
  const through = (input: string, init?: Parameters<typeof fetch>[1]) => fetch(input, { ...init, dispatcher })
  return through as typeof globalThis.fetch
}

/** Bytes. Answers to the gateway's own calls, about tokens, quotas and projects, have a few KB. */
const LARGEST_ANSWER = 4 * 1024 * 1024

/** An answer whose body fails beyond a limit: callers read the whole body into memory. */
function bounded(response: Response, { host }: URL): Response {
  if (!response.body) return response
  let left = LARGEST_ANSWER
  const limit = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      left -= chunk.length
      if (left >= 0) controller.enqueue(chunk)
      else controller.error(new TypeError(`the answer of ${host} is larger than ${LARGEST_ANSWER} bytes`))
    },
  })
  return new Response(response.body.pipeThrough(limit), response)
}

/** The error of a call, of the same kind, with its reason in the message: `fetch` says "fetch failed" for all of them. */
function explained(error: unknown, url: URL): unknown {
  if (!(error instanceof Error)) return error
  if (error.name === 'TimeoutError')
    return new DOMException(`${error.message} from ${url.host}`, 'TimeoutError')
  if (!(error instanceof TypeError && error.cause instanceof Error)) return error
  const cause = causeOf(error)
  // undici's code for a proxy that refuses a tunnel is that of any aborted request.
  if (cause.message.includes('HTTP Tunneling')) cause.code = 'ERR_PROXY'
  return new TypeError(reasonOf(cause, url), { cause })
}

/**
 * The proxy that stands before an address; empty for none. Without one of the provider's own it is the environment's, but
 * never for this machine: an upstream on loopback may be plain http, and the proxy would read its credential.
 */
function proxyTowards(target: URL, own: string | undefined): string {
  return own ?? (isLoopback(target.hostname) ? '' : environmentProxy(target.href))
}

/** The proxy that the environment names for an address; empty for none. */
export function environmentProxy(url: string): string {
  const proxy = getProxyForUrl(url)
  const named = ['https_proxy', 'http_proxy', 'all_proxy'].flatMap((name) => [
    process.env[name],
    process.env[name.toUpperCase()],
  ])
  // An address without a scheme gets that of the target, https. Everywhere else it is taken for an http proxy.
  return proxy === '' || named.includes(proxy) ? proxy : proxy.replace(/^https:/, 'http:')
}

const isSocks = (proxy: string): boolean => proxy.startsWith('socks')

function newAgent(target: URL, via: string, options: http.AgentOptions): http.Agent {
  if (isSocks(via)) return new SocksProxyAgent(via, options)
  if (via !== '') return new TunnelAgent(via, options)
  return target.protocol === 'https:' ? new https.Agent(options) : new http.Agent(options)
}

/** Fails a refused tunnel: its base class returns the proxy's answer as if it were the upstream's about the account. */
class TunnelAgent extends HttpsProxyAgent<string> {
  override async connect(...args: Parameters<HttpsProxyAgent<string>['connect']>): Promise<Socket> {
    let status = 200
    args[0].once('proxyConnect', (answer: { statusCode: number }) => (status = answer.statusCode))
    const socket = await super.connect(...args)
    if (status === 200) return socket
    socket.destroy()
    throw Object.assign(new Error(`the proxy answered ${status}`), { code: 'ERR_PROXY' })
  }
}

/**
 * Connects undici through a SOCKS proxy with the agent that forwarded requests use: undici's own SOCKS support is
 * experimental, prints a warning and knows no `socks5h`.
 */
function socksConnector(via: string): buildConnector.connector {
  const agent = new SocksProxyAgent(via)
  const secure = buildConnector({})
  return function connect(options, callback) {
    const { hostname, protocol } = options
    const encrypted = protocol === 'https:'
    const port = Number(options.port) || (encrypted ? 443 : 80)
    // The agent tells this stand-in of a request which proxy was used; there is no request yet.
    const request = new http.OutgoingMessage() as EventEmitter as http.ClientRequest
    agent.connect(request, { host: hostname, port, secureEndpoint: false }).then(
      (socket) => {
        if (encrypted) secure({ ...options, httpSocket: socket }, callback)
        else callback(null, socket.setNoDelay())
      },
      (error: NodeJS.ErrnoException) =>
        callback(Object.assign(error, { code: error.code ?? 'ERR_PROXY' }), null),
    )
  }
}
