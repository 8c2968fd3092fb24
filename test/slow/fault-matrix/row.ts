import type { Fault } from '../../../src/simulator/index.js'
import type { RetryPolicy } from '../../../src/index.js'
import type { Front, FrontName } from './fronts.js'
import type { Line } from './line.js'

/** One fault, and what is promised of it. */
export interface Row {
  readonly fault: string
  /** What the upstream does, each in its own words. */
  readonly does?: (front: Front) => Fault
  /** What is wrong on the way there. */
  readonly line?: Line
  /** How often it meets each account. @default Infinity */
  readonly times?: number
  /** Whether both accounts have answered on a connection that is still open. @default false */
  readonly warm?: boolean
  readonly retry?: RetryPolicy
  /** Bytes that the request is longer by. @default 0 */
  readonly padding?: number
  readonly outcome: Outcome | Readonly<Record<FrontName, Outcome>>
}

/** Whose accounts are at fault: the first of two, or both. */
export const scopes = ['one', 'all'] as const
export type Scope = (typeof scopes)[number]
export type Outcome = Readonly<Record<Scope, Cell>>

export interface Cell {
  /**
   * What the client gets: `answer`, a whole one; `cut short` or `broken`, one that had begun; `theirs STATUS`, the
   * upstream's own refusal; or an answer of ours: `limit`, `wait`, `login`, `refused`, `down STATUS`.
   */
  readonly seen: string
  /** The accounts in the order in which they were tried. */
  readonly asked: string
  /** The state of the accounts that were tried and at fault, afterwards. */
  readonly state: string
}

/** The other account answers; if both are at fault, the client gets `all`. */
export const moves = (all: string, state: string, stateOfAll = state): Outcome => ({
  one: { seen: 'answer', asked: 'a b', state },
  all: { seen: all, asked: 'a b', state: stateOfAll },
})

/** The upstream is in trouble: if one account meets it, that account cools down for a moment; if all do, none does. */
export const trouble = (status: number): Outcome => moves(`down ${status}`, 'cooling 1 s', 'ready')

/** The network is in trouble, and no account is to blame. */
export const networkDown = (status: number): Outcome => moves(`down ${status}`, 'ready')

/** One account is asked, and no other. */
export const stays = (seen: string, state = 'ready'): Outcome => ({
  one: { seen, asked: 'a', state },
  all: { seen, asked: 'a', state },
})

/** The same account is asked again, and answers. */
export const again: Outcome = {
  one: { seen: 'answer', asked: 'a a', state: 'ready' },
  all: { seen: 'answer', asked: 'a a', state: 'ready' },
}

export const per = (
  codex: Outcome,
  gemini: Outcome,
  geminiApiKey: Outcome,
  bearer: Outcome,
): Row['outcome'] => ({ codex, gemini, 'gemini-api-key': geminiApiKey, bearer })

/** The same for both of Google's. */
export const perForm = (codex: Outcome, google: Outcome, bearer: Outcome): Row['outcome'] =>
  per(codex, google, google, bearer)

export function cellOf({ outcome }: Row, { name }: Front, scope: Scope): Cell {
  return ('one' in outcome ? outcome : outcome[name])[scope]
}
