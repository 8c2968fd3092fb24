import http from 'node:http'
import https from 'node:https'
import { HttpsProxyAgent } from 'https-proxy-agent'
import { getProxyForUrl } from 'proxy-from-env'
import { Agent, fetch, ProxyAgent, type Dispatcher } from 'undici'

/**
 * The ways out of this process: kept-alive sockets for forwarded requests, `fetch` for the gateway's own calls; both
 * through the user's proxy where one is set. Everything is closed by `close`.
 */
export class Network {
  #agents = new Map<string, http.Agent>()
  #dispatchers = new Map<string, Dispatcher>()
  closed = false

  /**
   * The sockets of one account to one origin. Accounts never share sockets: what breaks one connection is then no
   * other account's trouble. Without `reuse` every request gets a new connection.
   */
  agent(account: string, target: URL, proxy: string | undefined, reuse: boolean): http.Agent | false {
    const via = proxy ?? getProxyForUrl(target.href)
    if (!reuse && !via) return false
    const key = `${account} ${target.origin} ${reuse} ${via}`
    const known = this.#agents.get(key)
    if (known) return known
    const options = { keepAlive: reuse, maxFreeSockets: 16, scheduling: 'lifo' as const }
    const agent = via
      ? new HttpsProxyAgent(via, options)
      : target.protocol === 'https:'
        ? new https.Agent(options)
        : new http.Agent(options)
    this.#agents.set(key, agent)
    return agent
  }

  /** `fetch` for calls of the gateway's own. */
  fetch(proxy: string | undefined): typeof globalThis.fetch {
    const own = (input: Parameters<typeof fetch>[0], init?: Parameters<typeof fetch>[1]) => {
      const url = typeof input === 'object' && 'url' in input ? input.url : String(input)
      return fetch(input, { ...init, dispatcher: this.#dispatcher(proxy ?? getProxyForUrl(url)) })
    }
    return own as typeof globalThis.fetch
  }

  #dispatcher(via: string): Dispatcher {
    const known = this.#dispatchers.get(via)
    if (known) return known
    const dispatcher = via === '' ? new Agent() : new ProxyAgent(via)
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

/** The proxy that the environment names for an address; empty for none. */
export const environmentProxy = (url: string): string => getProxyForUrl(url)
