/** What happened with one account; kept for `/metrics` and the log. */
export interface AttemptRecord {
  readonly account: string
  readonly status?: number | undefined
  readonly outcome: string
  /** ms since 1970 */
  readonly startedAt: number
  readonly durationMs: number
  /** Whether the request may have reached the upstream. */
  readonly sent: boolean
}

/** One choice of an account: who was asked next, who decided that, and why not the others. */
export interface PickRecord {
  readonly account: string | undefined
  /** `owner`, `conversation`, or the strategy's name. */
  readonly by: string
  readonly others: readonly { readonly account: string; readonly why: string }[]
}
