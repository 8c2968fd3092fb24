import type { OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type { SimRequest } from './request.js'

/**
 * What goes wrong with one request.
 * - `'reset'`: the connection is destroyed before anything is done or sent.
 * - `'hang'`: nothing is done and nothing is ever sent.
 * - `'lost'`: the work is done (quota counted, refresh token spent), then the connection is destroyed without a head.
 * - `'mute'`: the work is done, and nothing is ever sent.
 * - a {@link WireFault}: the answer, or another one, arrives damaged.
 * - a function: does with the response what it likes.
 */
export type Fault = 'reset' | 'hang' | 'lost' | 'mute' | WireFault | FaultFunction

export type FaultFunction = (request: SimRequest, response: ServerResponse) => void | Promise<void>

/** Fields combine: a status of your own that is cut in the middle, a slow stream that is compressed. */
export interface WireFault {
  /** Answers with this instead of doing the work. */
  status?: number
  /** Headers added to the answer's. */
  headers?: OutgoingHttpHeaders
  /** Body of the answer that `status` makes: an object is sent as JSON, a string as it is. @default '' */
  body?: unknown
  /** Changes the events of a stream. */
  events?: (events: readonly object[]) => readonly object[]
  /**
   * What happens after `after` events (or, where there is no stream, with half of the body sent): the connection is
   * destroyed, the answer ends as if it were complete, or nothing more comes.
   */
  ending?: 'cut' | 'end' | 'stall'
  /** Events that still arrive before `ending`; 0 leaves the head alone. @default 0 */
  after?: number
  /** Pause before each event; ms. @default 0 */
  pauseMs?: number
  /** Compresses the answer, whatever the client accepts. @default false */
  gzip?: boolean
}

/** Which requests a fault meets, and how often. */
export interface FaultRule {
  /** Any test of your own. */
  when?: (request: SimRequest) => boolean
  /** Id of an account. */
  account?: string
  /** How the path ends: `/codex/responses`, `:streamGenerateContent`. */
  path?: string
  /** How many requests it meets; `Infinity` for all. @default 1 */
  times?: number
  with: Fault
}

/** A rule at work. */
export interface ScriptedFault {
  /** Requests that it has met. */
  readonly hits: number
  /** Takes it away; twice is harmless. */
  stop(): void
}

/** The rules in the order they were made; the first that matches is used. */
export class FaultScript {
  readonly #rules: { rule: FaultRule; hits: number }[] = []

  add(rule: FaultRule): ScriptedFault {
    const entry = { rule, hits: 0 }
    this.#rules.push(entry)
    return {
      get hits() {
        return entry.hits
      },
      stop: () => void this.#remove(entry),
    }
  }

  /** The fault for a request, and one use of its rule spent. */
  take(request: SimRequest): Fault | undefined {
    const entry = this.#rules.find(({ rule }) => matches(rule, request))
    if (!entry) return undefined
    entry.hits += 1
    if (entry.hits >= (entry.rule.times ?? 1)) this.#remove(entry)
    return entry.rule.with
  }

  clear(): void {
    this.#rules.length = 0
  }

  #remove(entry: { rule: FaultRule; hits: number }): void {
    const index = this.#rules.indexOf(entry)
    if (index >= 0) this.#rules.splice(index, 1)
  }
}

function matches({ when, account, path }: FaultRule, request: SimRequest): boolean {
  if (account !== undefined && request.account !== account) return false
  if (path !== undefined && !request.path.endsWith(path)) return false
  return when?.(request) ?? true
}
