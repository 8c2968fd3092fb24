import type { Usage } from '../../config/provider.js'

/** One finished request. */
export interface RequestRecord {
  readonly id: string
  /** ms since 1970 */
  readonly at: number
  readonly provider: string
  readonly account: string
  readonly route: string
  readonly model?: string | undefined
  /** A hash. */
  readonly conversation?: string | undefined
  readonly client: string
  /** What the client got; 0 for nothing. */
  readonly status: number
  readonly attempts: number
  readonly durationMs: number
  readonly firstByteMs?: number | undefined
  readonly usage?: Usage | undefined
}

/** The longest of a text that a client may choose. */
const MAX_MODEL = 100

/** The record without what could be too long or not what its type says. */
export function bounded(record: RequestRecord): RequestRecord {
  const { model, usage } = record
  return { ...record, model: model?.slice(0, MAX_MODEL), usage: usage && tokens(usage) }
}

// `usage` may come from a provider of the user's own. Anything but a number would spoil every sum after it, and a
// field name that NeDB refuses would fail the whole batch.
function tokens(usage: Usage): Usage {
  const number = (value: unknown) =>
    Number.isFinite(value) && (value as number) >= 0 ? (value as number) : undefined
  return {
    inputTokens: number(usage.inputTokens),
    cachedTokens: number(usage.cachedTokens),
    outputTokens: number(usage.outputTokens),
    reasoningTokens: number(usage.reasoningTokens),
    totalTokens: number(usage.totalTokens),
  }
}
