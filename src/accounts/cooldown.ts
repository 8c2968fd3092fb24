import type { Verdict } from '../../config/provider.js'

/** A rest that an account takes, as a whole or for one model. It always has an end. */
export interface Cooldown {
  readonly kind: 'cooling' | 'exhausted' | 'refused'
  readonly reason: string
  /** ms since 1970, like all times here. */
  readonly since: number
  /** From then on one probe at a time may ask again; a success clears the cooldown. */
  readonly until: number
  /** What the upstream said, even if `until` comes earlier. */
  readonly resetsAt?: number | undefined
  /** How many came in a row without a success between them. */
  readonly strikes: number
}

/** An upstream's word about the future is believed for so long without a new look; limits are often lifted early. */
const NEW_LOOK_MS = 15 * 60_000
const FIRST_REST_MS = 1_000
const LONGEST_REST_MS = 5 * 60_000

type Resting = Extract<Verdict, { kind: 'cooling' | 'exhausted' | 'refused' }>

/** The cooldown that a verdict brings, given the one that stood before it. */
export function cooldownAfter(verdict: Resting, before: Cooldown | undefined, now: number): Cooldown {
  const running = before !== undefined && before.until > now
  // Requests that were on their way together are refused together: that is one refusal.
  const strikes = running ? before.strikes : (before?.strikes ?? 0) + 1
  const base = { kind: verdict.kind, reason: verdict.reason, since: now, strikes }
  if (verdict.kind === 'cooling') {
    const until = now + restMs(verdict.retryAfterMs, strikes)
    // A late 500 does not shorten the rest after a limit.
    return running && before.kind !== 'refused' && before.until > until ? before : { ...base, until }
  }
  const resetsAt = verdict.kind === 'exhausted' ? verdict.resetsAt : undefined
  const until = Math.min(resetsAt !== undefined && resetsAt > now ? resetsAt : Infinity, now + NEW_LOOK_MS)
  return { ...base, until, resetsAt }
}

function restMs(retryAfterMs: number | undefined, strikes: number): number {
  if (retryAfterMs !== undefined) return Math.min(Math.max(retryAfterMs, FIRST_REST_MS), NEW_LOOK_MS)
  return Math.min(FIRST_REST_MS * 2 ** (strikes - 1), LONGEST_REST_MS)
}
