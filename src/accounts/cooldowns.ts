import type { Verdict } from '../../config/provider.js'
import { redact } from '../../config/secrets.js'

/** A time during which an account, or an account for one model, is not asked. It always has an end. */
export interface Cooldown {
  readonly kind: 'cooling' | 'exhausted' | 'refused'
  readonly reason: string
  /** ms since 1970, like all times here. */
  readonly since: number
  /** From then on one probe at a time may ask again; a success ends the cooldown. */
  readonly until: number
  /** When the upstream said that the quota resets, even if `until` comes earlier. */
  readonly resetsAt?: number | undefined
  /** How many came in a row without a success between them. */
  readonly strikes: number
}

export type CooldownVerdict = Extract<Verdict, { kind: Cooldown['kind'] }>

/** The longest cooldown, whatever an upstream says: limits are often lifted early. */
export const NEW_LOOK_MS = 15 * 60_000
const FIRST_COOLDOWN_MS = 1_000
const LONGEST_COOLDOWN_MS = 5 * 60_000

/**
 * The cooldown that a verdict brings, given the one that stood before it. Without a time from the upstream it doubles up
 * to `longestMs`.
 */
export function cooldownAfter(
  verdict: CooldownVerdict,
  before: Cooldown | undefined,
  now: number,
  longestMs = LONGEST_COOLDOWN_MS,
): Cooldown {
  const running = before !== undefined && before.until > now
  // Requests that run together are refused together: that is one refusal.
  const strikes = running ? before.strikes : (before?.strikes ?? 0) + 1
  const base = { kind: verdict.kind, reason: redact(verdict.reason), since: now, strikes }
  if (verdict.kind === 'cooling') {
    const until = now + cooldownMs(verdict.retryAfterMs, strikes, longestMs)
    // A late 500 does not shorten the cooldown that a limit has brought.
    return running && before.kind !== 'refused' && before.until > until ? before : { ...base, until }
  }
  const resetsAt = verdict.kind === 'exhausted' ? verdict.resetsAt : undefined
  const until = Math.min(resetsAt !== undefined && resetsAt > now ? resetsAt : Infinity, now + NEW_LOOK_MS)
  return { ...base, until, resetsAt }
}

function cooldownMs(retryAfterMs: number | undefined, strikes: number, longestMs: number): number {
  if (retryAfterMs !== undefined) return Math.min(Math.max(retryAfterMs, FIRST_COOLDOWN_MS), NEW_LOOK_MS)
  return Math.min(FIRST_COOLDOWN_MS * 2 ** (strikes - 1), longestMs)
}

/** Cooldowns are kept by model; this key is for the account as a whole. */
const WHOLE = ''
export const scopeOf = ({ model }: { readonly model?: string | undefined }): string => model ?? WHOLE

const NONE: readonly [string, Cooldown][] = []

/** The cooldowns of one account, as a whole and for single models. */
export class Cooldowns {
  #byScope = new Map<string, Cooldown>()
  /** Scopes whose cooldown is over and whose probe runs. */
  #probing = new Set<string>()
  /** Cooldowns that may be out of date: see {@link Cooldowns.doubt}. */
  #doubted = new Set<Cooldown>()

  start(verdict: CooldownVerdict, now: number, longestMs?: number): Cooldown {
    const scope = scopeOf(verdict)
    const before = this.#byScope.get(scope)
    // The client may name any model: refusals of models are not kept for ever.
    for (const [model, { kind, until }] of this.#byScope)
      if (kind === 'refused' && until <= now) this.#byScope.delete(model)
    const cooldown = cooldownAfter(verdict, before, now, longestMs)
    this.#doubted.delete(cooldown)
    this.#byScope.set(scope, cooldown)
    return cooldown
  }

  /** Why the account cannot be asked for `model`. A cooldown that is over admits one probe at a time. */
  unavailable(model: string | undefined, now: number): 'cooling' | 'exhausted' | 'probing' | undefined {
    for (const [scope, { kind, until }] of this.#for(model)) {
      // An account that refuses the model is still offered when no other can serve it: the client then hears why.
      if (kind === 'refused') continue
      if (until > now) return kind
      if (this.#probing.has(scope)) return 'probing'
    }
    return undefined
  }

  /**
   * Lets each running cooldown be probed at once, if no other account can serve. After a restart or a reload: people use
   * these to lift a state that is wrong.
   */
  doubt(): void {
    for (const cooldown of this.#byScope.values()) this.#doubted.add(cooldown)
  }

  /** Whether all that keeps the account from serving `model` is doubted, and not being probed. */
  mayBeProbed(model: string | undefined, now: number): boolean {
    return this.#for(model).every(
      ([scope, cooldown]) =>
        cooldown.kind === 'refused' ||
        (!this.#probing.has(scope) && (cooldown.until <= now || this.#doubted.has(cooldown))),
    )
  }

  /** Whether the account was asked while this cooldown ran, as its probe. */
  wasProbe(cooldown: Cooldown, now: number): boolean {
    return cooldown.until <= now || this.#doubted.has(cooldown)
  }

  /** The cooldown that keeps the account from serving `model` now. */
  running(model: string | undefined, now: number): Cooldown | undefined {
    return this.#for(model).find(([, { kind, until }]) => kind !== 'refused' && until > now)?.[1]
  }

  refuses(model: string | undefined, now: number): boolean {
    return this.#for(model).some(([, { kind, until }]) => kind === 'refused' && until > now)
  }

  /** When the last cooldown that counts for `model` ends; ms since 1970. */
  endsAt(model: string | undefined, now: number): number | undefined {
    const ends = this.#for(model).flatMap(([, { kind, until }]) =>
      kind !== 'refused' && until > now ? until : [],
    )
    return ends.length > 0 ? Math.max(...ends) : undefined
  }

  /** When the quota for `model` resets, as the upstream told; ms since 1970. */
  resetsAt(model: string | undefined, now: number): number | undefined {
    const resets = this.#for(model).flatMap(([, { resetsAt = 0 }]) => (resetsAt > now ? resetsAt : []))
    return resets.length > 0 ? Math.max(...resets) : undefined
  }

  /** A request begins that counts as the probe of every cooldown that is over. @returns ends the probe */
  probe(model: string | undefined): () => void {
    const scopes = this.#for(model).map(([scope]) => scope)
    for (const scope of scopes) this.#probing.add(scope)
    return () => scopes.forEach((scope) => this.#probing.delete(scope))
  }

  /** Ends one cooldown, if it is still the one that counts. */
  cancel(cooldown: Cooldown): void {
    for (const [scope, one] of this.#byScope) if (one === cooldown) this.#byScope.delete(scope)
  }

  /** Ends the cooldowns for `model` that `over` accepts. */
  end(model: string | undefined, over: (cooldown: Cooldown, scope: string) => boolean): void {
    for (const [scope, cooldown] of this.#for(model)) if (over(cooldown, scope)) this.#byScope.delete(scope)
  }

  clear(): void {
    this.#byScope.clear()
    this.#doubted.clear()
    this.#probing.clear()
  }

  all(): { model: string | undefined; cooldown: Cooldown }[] {
    return [...this.#byScope].map(([scope, cooldown]) => ({ model: scope || undefined, cooldown }))
  }

  toJSON(): [string, Cooldown][] {
    return [...this.#byScope]
  }

  restore(saved: [string, Cooldown][]): void {
    this.#byScope = new Map(saved)
    this.doubt()
  }

  #for(model: string | undefined): readonly [string, Cooldown][] {
    // Most accounts have none, and every request asks all of them.
    if (this.#byScope.size === 0) return NONE
    const scopes = model === undefined ? [WHOLE] : [WHOLE, model]
    return scopes.flatMap((scope) => {
      const cooldown = this.#byScope.get(scope)
      return cooldown ? [[scope, cooldown] as [string, Cooldown]] : []
    })
  }
}
