import type { Credits, Quota, QuotaWindow, ResetCredit } from '../../config/provider.js'

export interface ObservedWindow extends QuotaWindow {
  /** Where it was read. */
  readonly source: 'headers' | 'poll'
  /** ms since 1970. */
  readonly seenAt: number
}

/** The known quota of one account. A window whose reset has passed is unknown again, not 0. */
export class Windows {
  #byName = new Map<string, ObservedWindow>()
  plan: string | undefined
  credits: Credits | undefined
  resets: readonly ResetCredit[] | undefined

  observe(quota: Quota, source: ObservedWindow['source'], now: number): void {
    // A poll tells all windows: one that it leaves out no longer exists (the 5-hour one came and went in 2026).
    if (source === 'poll') this.#byName.clear()
    for (const window of quota.windows) this.#byName.set(window.name, { ...window, source, seenAt: now })
    if (quota.plan !== undefined) this.plan = quota.plan
    if (quota.credits !== undefined) this.credits = quota.credits
    if (quota.resets !== undefined) this.resets = quota.resets
  }

  /** The windows still running that count requests for `model`; all of them without a model. */
  current(now: number, model?: string): ObservedWindow[] {
    return [...this.#byName.values()].filter(
      (window) =>
        (window.resetsAt === undefined || window.resetsAt > now) &&
        (model === undefined || window.model === undefined || window.model === model),
    )
  }

  /** The fullest window that counts for `model`; `undefined` if none is known. */
  usedPercent(now: number, model?: string): number | undefined {
    const known = this.current(now, model).flatMap((window) => window.usedPercent ?? [])
    return known.length > 0 ? Math.max(...known) : undefined
  }

  /** Whether credits carry the account beyond its windows. */
  get hasCredits(): boolean {
    return Boolean(this.credits?.hasCredits || this.credits?.unlimited)
  }

  /** The windows that are reported to be full, the last to end first. */
  full(now: number, model?: string): ObservedWindow[] {
    const full = this.current(now, model).filter((window) => (window.usedPercent ?? 0) >= 100)
    return full.sort((a, b) => (b.resetsAt ?? 0) - (a.resetsAt ?? 0))
  }

  /** After a reset nothing is known of the windows until they are read again. */
  empty(): void {
    this.#byName.clear()
  }

  clear(): void {
    this.#byName.clear()
    this.plan = undefined
    this.credits = undefined
    this.resets = undefined
  }

  quota(now: number): Quota {
    return { windows: this.current(now), plan: this.plan, credits: this.credits, resets: this.resets }
  }

  toJSON(): SavedQuota {
    const { plan, credits, resets } = this
    return { windows: [...this.#byName.values()], plan, credits, resets }
  }

  restore(saved: SavedQuota): void {
    for (const window of saved.windows) this.#byName.set(window.name, window)
    this.plan = saved.plan
    this.credits = saved.credits
    this.resets = saved.resets
  }
}

export interface SavedQuota extends Quota {
  readonly windows: readonly ObservedWindow[]
}
