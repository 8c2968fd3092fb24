import { kept } from '../config/index.js'
import type { AttemptRecord, Exchange, PickRecord } from './exchange.js'

/** Which accounts a request was sent to, and why. Times are ISO 8601. No secret, no text of a prompt. */
export interface Explanation {
  readonly id: string
  readonly state: 'running' | 'answered' | 'client-left'
  readonly at: string
  readonly method: string
  readonly path: string
  readonly route: string
  readonly provider: string
  readonly model?: string | undefined
  /** A hash: the same for all requests of one conversation. */
  readonly conversation?: string | undefined
  readonly picks: readonly PickRecord[]
  readonly attempts: readonly (Omit<AttemptRecord, 'startedAt'> & { readonly at: string })[]
  readonly servedBy?: string | undefined
  readonly status?: number | undefined
  readonly durationMs?: number | undefined
}

/** Characters. The paths of the APIs that are spoken here have about 100. */
const LONGEST_PATH = 500
/** Finished requests that are kept. */
const REMEMBERED = 2_000

/** Running requests and the last ones that ended, by id. */
export class Explanations {
  #running = new Map<string, Exchange>()
  #ended = new Map<string, Explanation>()

  begin(exchange: Exchange): void {
    this.#running.set(exchange.id, exchange)
  }

  end(exchange: Exchange, status: number | undefined): void {
    this.#running.delete(exchange.id)
    const durationMs = Date.now() - exchange.startedAt
    const state = status === undefined ? 'client-left' : 'answered'
    this.#ended.set(exchange.id, { ...explain(exchange), state, status, durationMs })
    const [oldest] = this.#ended.keys()
    if (this.#ended.size > REMEMBERED) this.#ended.delete(oldest!)
  }

  get(id: string): Explanation | undefined {
    const running = this.#running.get(id)
    return running ? explain(running) : this.#ended.get(id)
  }
}

function explain(exchange: Exchange): Explanation {
  const { id, method, path, route, model, conversationKey, picks, servedBy } = exchange
  return {
    id,
    state: 'running',
    at: new Date(exchange.startedAt).toISOString(),
    method,
    path: kept(path, LONGEST_PATH),
    route: route.path,
    provider: route.providerName,
    model,
    conversation: conversationKey,
    picks,
    attempts: exchange.attempts.map(({ startedAt, ...rest }) => ({
      ...rest,
      at: new Date(startedAt).toISOString(),
    })),
    servedBy: servedBy?.key,
  }
}
