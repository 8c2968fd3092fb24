import type { RequestRecord } from './record.js'

/** Sums. Tokens are those that the upstream named; a request of which it named none adds none. */
export interface Totals {
  readonly requests: number
  /** Requests that ended with a status of 400 or more, or with none. */
  readonly failures: number
  readonly inputTokens: number
  readonly cachedTokens: number
  readonly outputTokens: number
  readonly reasoningTokens: number
  readonly totalTokens: number
}

export const NOTHING: Totals = {
  requests: 0,
  failures: 0,
  inputTokens: 0,
  cachedTokens: 0,
  outputTokens: 0,
  reasoningTokens: 0,
  totalTokens: 0,
}

export function totalsOf({ status, usage = {} }: RequestRecord): Totals {
  return {
    requests: 1,
    failures: status >= 400 || status < 100 ? 1 : 0,
    inputTokens: usage.inputTokens ?? 0,
    cachedTokens: usage.cachedTokens ?? 0,
    outputTokens: usage.outputTokens ?? 0,
    reasoningTokens: usage.reasoningTokens ?? 0,
    totalTokens: usage.totalTokens ?? 0,
  }
}

export function plus(a: Totals, b: Totals): Totals {
  return {
    requests: a.requests + b.requests,
    failures: a.failures + b.failures,
    inputTokens: a.inputTokens + b.inputTokens,
    cachedTokens: a.cachedTokens + b.cachedTokens,
    outputTokens: a.outputTokens + b.outputTokens,
    reasoningTokens: a.reasoningTokens + b.reasoningTokens,
    totalTokens: a.totalTokens + b.totalTokens,
  }
}
