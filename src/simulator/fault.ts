import type { OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type { SimRequest } from './request.js'

/**
 * The way in which one request, or one frame of a WebSocket, goes wrong.
 * - `'reset'`: the connection is destroyed before anything is done or sent.
 * - `'hang'`: nothing is done and nothing is ever sent.
 * - `'lost'`: the work is done (quota counted, refresh token spent), then the connection is destroyed without a head.
 * - `'mute'`: the work is done, and nothing is ever sent.
 * - a {@link WireFault}: the answer arrives damaged, or another one arrives.
 * - a function: writes the response itself. For requests only.
 */
export type Fault = 'reset' | 'hang' | 'lost' | 'mute' | WireFault | FaultFunction

/** The ways in which a frame can go wrong. */
export type FrameFault = Exclude<Fault, FaultFunction>

export type FaultFunction = (request: SimRequest, response: ServerResponse) => void | Promise<void>

/** A pause in a stream, as one of its events. */
export class Pause {
  constructor(readonly ms: number) {}
}

/** Fields combine: a status of your own that is cut in the middle, a slow stream that is compressed. */
export interface WireFault {
  /** Answers with this instead of doing the work; on a frame with `after`, once so much of the work has been sent. */
  status?: number
  /** Headers added to the answer's; `undefined` takes one away. */
  headers?: OutgoingHttpHeaders
  /** Body of the answer that `status` makes: an object is sent as JSON, a string as it is. @default '' */
  body?: unknown
  /** Changes the events of a stream. A {@link Pause} among them is waited for before the next one is sent. */
  events?: (events: readonly object[]) => readonly object[]
  /**
   * Ends the answer after `after` events, or, where there is no stream, with half of the body: `cut` destroys the
   * connection, `end` ends the answer as if it were complete (and closes a WebSocket), `stall` sends nothing more.
   */
  ending?: 'cut' | 'end' | 'stall'
  /** How `ending: 'end'` closes a WebSocket. @default 1000 without a reason */
  close?: { code: number; reason?: string }
  /** Events that still arrive before `ending`; with 0 only the head does. @default 0 */
  after?: number
  /** Pause before each event; ms. @default 0 */
  pauseMs?: number
  /** Compresses the answer, whatever the client accepts. @default false */
  gzip?: boolean
}

/** Which requests a fault meets, and how often. */
export interface RequestRule {
  /** Any test of your own. */
  when?: (request: SimRequest) => boolean
  /** Id of an account. */
  account?: string
  /** How the path ends: `/codex/responses`, `:streamGenerateContent`. The handshake of a WebSocket is a GET. */
  path?: string
  /** How many requests it meets; `Infinity` for all. @default 1, and with `until` Infinity */
  times?: number
  /** Meets only requests before this time of the simulator's clock; ms since 1970. @default no end */
  until?: number
  with: Fault
  frame?: undefined
}

/** Which frames of WebSockets a fault meets. The other fields describe the handshake. */
export interface FrameRule extends Omit<RequestRule, 'with' | 'frame'> {
  /** `true` for all, or a test of the parsed frame. */
  frame: true | ((frame: unknown) => boolean)
  with: FrameFault
}

export type FaultRule = RequestRule | FrameRule

/** A rule at work. */
export interface ScriptedFault {
  /** Requests or frames that it has met. */
  readonly hits: number
  /** Takes the rule away; twice is harmless. */
  stop(): void
}

interface Entry {
  readonly rule: FaultRule
  hits: number
}

/** The rules in the order they were made; the first that matches is used. */
export class FaultScript {
  readonly #now: () => number
  #entries: Entry[] = []

  constructor(now: () => number) {
    this.#now = now
  }

  add(rule: FaultRule): ScriptedFault {
    const entry = { rule, hits: 0 }
    this.#entries.push(entry)
    return {
      get hits() {
        return entry.hits
      },
      stop: () => this.#remove(entry),
    }
  }

  /** The fault for a request, and one use of its rule spent. */
  take(request: SimRequest): Fault | undefined {
    return this.#spend(
      (rule): rule is RequestRule => rule.frame === undefined && matches(rule, request, this.#now),
    )?.with
  }

  /** The fault for a frame that came over the WebSocket of a request. */
  takeFrame(request: SimRequest, frame: unknown): FrameFault | undefined {
    const meets = ({ frame: wanted }: FrameRule) => wanted === true || wanted(frame)
    return this.#spend(
      (rule): rule is FrameRule =>
        rule.frame !== undefined && matches(rule, request, this.#now) && meets(rule),
    )?.with
  }

  #spend<Rule extends FaultRule>(wanted: (rule: FaultRule) => rule is Rule): Rule | undefined {
    for (const entry of this.#entries) {
      const { rule } = entry
      if (!wanted(rule)) continue
      entry.hits += 1
      if (entry.hits >= (rule.times ?? (rule.until === undefined ? 1 : Infinity))) this.#remove(entry)
      return rule
    }
    return undefined
  }

  #remove(entry: Entry): void {
    this.#entries = this.#entries.filter((other) => other !== entry)
  }
}

function matches({ when, account, path, until }: FaultRule, request: SimRequest, now: () => number): boolean {
  if (until !== undefined && now() >= until) return false
  if (account !== undefined && request.account !== account) return false
  if (path !== undefined && !request.path.endsWith(path)) return false
  return when?.(request) ?? true
}
