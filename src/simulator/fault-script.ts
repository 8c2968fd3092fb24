import type { Fault, FrameFault } from './fault.js'
import type { SimRequest } from './request.js'

/** Which requests a fault meets, and how often. */
export interface RequestRule {
  /** Any test of your own. */
  when?: (request: SimRequest) => boolean
  /** Id of an account. */
  account?: string
  /** How the path ends: `/codex/responses`, `:streamGenerateContent`. The handshake of a WebSocket is a GET. */
  path?: string
  /** How many requests it meets; `Infinity` for all. @default 1 */
  times?: number
  with: Fault
  frame?: undefined
}

/** Which frames of WebSockets a fault meets, told by their handshake and by themselves. */
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
  /** Takes it away; twice is harmless. */
  stop(): void
}

interface Entry<Rule> {
  readonly rule: Rule
  hits: number
}

/** The rules in the order they were made; the first that matches is used. */
export class FaultScript {
  readonly #requests: Entry<RequestRule>[] = []
  readonly #frames: Entry<FrameRule>[] = []

  add(rule: FaultRule): ScriptedFault {
    return rule.frame === undefined ? append(this.#requests, rule) : append(this.#frames, rule)
  }

  /** The fault for a request, and one use of its rule spent. */
  take(request: SimRequest): Fault | undefined {
    return spend(this.#requests, (rule) => matches(rule, request))?.with
  }

  /** The fault for a frame that came over the WebSocket of a request. */
  takeFrame(request: SimRequest, frame: unknown): FrameFault | undefined {
    const meets = (rule: FrameRule) => rule.frame === true || rule.frame(frame)
    return spend(this.#frames, (rule) => matches(rule, request) && meets(rule))?.with
  }

  clear(): void {
    this.#requests.length = 0
    this.#frames.length = 0
  }
}

function append<Rule>(entries: Entry<Rule>[], rule: Rule): ScriptedFault {
  const entry = { rule, hits: 0 }
  entries.push(entry)
  return {
    get hits() {
      return entry.hits
    },
    stop: () => remove(entries, entry),
  }
}

function spend<Rule extends { times?: number }>(
  entries: Entry<Rule>[],
  wanted: (rule: Rule) => boolean,
): Rule | undefined {
  const entry = entries.find(({ rule }) => wanted(rule))
  if (!entry) return undefined
  entry.hits += 1
  if (entry.hits >= (entry.rule.times ?? 1)) remove(entries, entry)
  return entry.rule
}

function remove<T>(entries: T[], entry: T): void {
  const index = entries.indexOf(entry)
  if (index >= 0) entries.splice(index, 1)
}

function matches({ when, account, path }: Omit<RequestRule, 'with' | 'frame'>, request: SimRequest): boolean {
  if (account !== undefined && request.account !== account) return false
  if (path !== undefined && !request.path.endsWith(path)) return false
  return when?.(request) ?? true
}
