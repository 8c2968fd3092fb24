import type { QuotaWindow } from './provider.js'

/** An account as a strategy sees it. */
export interface Candidate {
  /** The credential file's name without `.json`. */
  readonly id: string
  readonly provider: string
  readonly plan: string | undefined
  /** Requests running on it now. */
  readonly inFlight: number
  /** The fullest of its windows that count for this model, 0 to 100; `undefined` if none is known, never 0 for that. */
  readonly usedPercent: number | undefined
  readonly windows: readonly QuotaWindow[]
  /** ms since 1970. */
  readonly lastUsedAt: number | undefined
}

export interface StrategyContext {
  /** Hash of the conversation's id; `undefined` for a request that belongs to none. */
  readonly conversation: string | undefined
  readonly model: string | undefined
  /** The matched route's prefix. */
  readonly route: string
  /** 1 for the first account that is tried. */
  readonly attempt: number
  /** ms since 1970. */
  readonly now: number
}

/**
 * Picks one of the accounts that can serve now and have not been tried: never an empty list. `undefined` takes the
 * first. A throw, or an account that was not offered, is answered 500 `strategy_failed`.
 */
export type Strategy<A extends Candidate = Candidate> = (
  accounts: readonly A[],
  context: StrategyContext,
) => A | undefined
