import {
  faults,
  list,
  text,
  type Fault,
  type SimRequest,
  type Simulator,
} from '../../../src/simulator/index.js'

/** A fault, and how often requests meet it. */
interface Mishap {
  readonly fault: Fault
  /** Of a thousand. */
  readonly share: number
}

const MISHAPS = {
  reset: { fault: 'reset', share: 8 },
  'lost after the work': { fault: 'lost', share: 4 },
  '500': { fault: faults.serverError(), share: 4 },
  '502 page': { fault: faults.badGateway(), share: 2 },
  '503': { fault: faults.overloaded(), share: 2 },
  /** Refused once; the account then has a new one. */
  'token refused': { fault: faults.unauthorized(), share: 4 },
  '429': { fault: faults.rateLimited('0.05'), share: 4 },
  'limit in the stream': { fault: faults.failed('rate_limit_exceeded', 'try again in 0.05s'), share: 2 },
  'cut before output': { fault: faults.cut(1), share: 3 },
  'empty stream': { fault: faults.end(0), share: 2 },
  'challenge page': { fault: faults.challenge(), share: 1 },
  'cut after output': { fault: faults.cut(5), share: 4 },
  slow: { fault: faults.slow(1), share: 30 },
} satisfies Record<string, Mishap>

export type MishapName = keyof typeof MISHAPS

/** These cost one of a request's attempts. */
const TROUBLE: ReadonlySet<string> = new Set<MishapName>([
  'reset',
  'lost after the work',
  '500',
  '502 page',
  '503',
  'cut before output',
  'empty stream',
  'challenge page',
])

/** A number from 0 to 1 that is always the same for the same text (FNV-1a, mixed). */
export function chance(text: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x45d9f3b)
  return ((hash ^ (hash >>> 16)) >>> 0) / 0x1_0000_0000
}

/** The text that a request asks; it names the request. */
export const questionOf = (request: SimRequest): string =>
  text(list(request.json, 'input').at(-1), 'content', 0, 'text') ?? ''

/** Decides by a seed which request meets which fault, and remembers it. Every run with a seed is the same. */
export class FaultPlan {
  readonly met = new Map<string, MishapName[]>()
  readonly counts: Partial<Record<MishapName, number>> = {}
  /** The requests whose answer was spoilt. */
  readonly spoilt = new WeakSet<SimRequest>()

  constructor(private readonly seed: number) {}

  applyTo(sim: Simulator): void {
    for (const [name, { fault }] of Object.entries(MISHAPS) as [MishapName, Mishap][])
      sim.fail({
        path: '/codex/responses',
        times: Infinity,
        when: (request) => this.#meets(name, request),
        with: fault,
      })
  }

  #meets(name: MishapName, request: SimRequest): boolean {
    const question = questionOf(request)
    if (this.#mishapOf(`${question} ${request.account}`) !== name) return false
    const met = this.met.get(question) ?? []
    if (name === 'token refused' && met.includes(name)) return false
    this.met.set(question, [...met, name])
    if (name !== 'slow') this.spoilt.add(request)
    this.counts[name] = (this.counts[name] ?? 0) + 1
    return true
  }

  #mishapOf(what: string): string | undefined {
    let left = chance(`${this.seed} ${what}`) * 1000
    return Object.entries(MISHAPS).find(([, { share }]) => (left -= share) < 0)?.[0]
  }

  /** Whether a request that met these faults may end this way. */
  allows(question: string, ending: string, attempts: number): boolean {
    const met: readonly string[] = this.met.get(question) ?? []
    if (ending === 'broken') return met.at(-1) === 'cut after output'
    if (met.includes('cut after output')) return false
    if (ending === 'answer') return true
    return (
      /^50[234] upstream_unavailable$/.test(ending) &&
      met.filter((name) => TROUBLE.has(name)).length >= attempts
    )
  }
}
