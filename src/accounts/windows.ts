import type { CandidateWindow } from '../../config/account.js'
import type { Credits, Quota, ResetCredit } from '../../config/provider.js'

export interface ObservedWindow extends CandidateWindow {
  /** Where it was read. */
  readonly source: 'headers' | 'poll'
  readonly since: { requests: number; tokens: number }
}

/** The windows that count for one model, as strategies see them. */
export interface WindowsView {
  readonly windows: readonly CandidateWindow[]
  /** Used percent of the fullest one; `undefined` if none is known. */
  readonly usedPercent: number | undefined
  /** When one of them ends, and the view with it; ms since 1970. */
  readonly until: number
}

/** The known quota of one account. A window whose reset has passed is unknown again, not 0. */
export class Windows {
  #byName = new Map<string, ObservedWindow>()
  /** Views by model, until the next report: a strategy looks at every account for every request. */
  /** Models with a window of their own. */
  #models = new Set<string>()
  #views = new Map<string | undefined, WindowsView>()
  plan: string | undefined
  credits: Credits | undefined
  resets: readonly ResetCredit[] | undefined

  observe(quota: Quota, source: ObservedWindow['source'], now: number): void {
    // A poll tells all windows: one that it leaves out no longer exists (the 5-hour one came and went in 2026).
    if (source === 'poll') this.empty()
    for (const window of quota.windows) this.#set({ ...window, source, seenAt: now })
    if (quota.plan !== undefined) this.plan = quota.plan
    if (quota.credits !== undefined) this.credits = quota.credits
    if (quota.resets !== undefined) this.resets = quota.resets
  }

  #set(window: Omit<ObservedWindow, 'since'>): void {
    if (window.model !== undefined) this.#models.add(window.model)
    this.#byName.set(window.name, { ...window, since: { requests: 0, tokens: 0 } })
    this.#views.clear()
  }

  /** Counts a request that has ended, in every window that counts its model. */
  count(model: string | undefined, tokens: number): void {
    for (const { model: only, since } of this.#byName.values()) {
      if (only !== undefined && only !== model) continue
      since.requests++
      since.tokens += tokens
    }
  }

  /** All windows that count for `model`, the ended ones too. */
  view(now: number, model?: string): WindowsView {
    // The client may name any model: models without a window of their own share a view.
    const key = model === undefined || this.#models.has(model) ? model : ''
    const known = this.#views.get(key)
    if (known && now < known.until) return known
    const running = this.current(now, model)
    const view = {
      windows: [...this.#byName.values()]
        .filter((window) => model === undefined || window.model === undefined || window.model === model)
        .map((window) =>
          running.includes(window) ? window : { ...window, usedPercent: undefined, resetsAt: undefined },
        ),
      usedPercent: this.usedPercent(now, model),
      until: Math.min(...running.map(({ resetsAt = Infinity }) => resetsAt)),
    }
    this.#views.set(key, view)
    return view
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
    this.#models.clear()
    this.#views.clear()
  }

  clear(): void {
    this.empty()
    this.plan = undefined
    this.credits = undefined
    this.resets = undefined
  }

  quota(now: number): Quota {
    return { windows: this.current(now), plan: this.plan, credits: this.credits, resets: this.resets }
  }

  toJSON(): SavedQuota {
    const { plan, credits, resets } = this
    const windows = [...this.#byName.values()].map(({ since: _since, ...window }) => window)
    return { windows, plan, credits, resets }
  }

  restore(saved: SavedQuota): void {
    for (const window of saved.windows) this.#set(window)
    this.plan = saved.plan
    this.credits = saved.credits
    this.resets = saved.resets
  }
}

export interface SavedQuota extends Quota {
  readonly windows: readonly Omit<ObservedWindow, 'since'>[]
}
