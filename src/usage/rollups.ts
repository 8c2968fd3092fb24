import { timeFrom } from '../../config/index.js'
import type { Document, StateStore } from '../state/store.js'
import type { RequestRecord } from './request-log.js'

/** One hour of one account, provider and model. */
export interface Rollup extends Totals {
  /** Its start; ms since 1970. */
  readonly hour: number
  readonly account: string
  readonly provider: string
  readonly model: string | undefined
}

/** Sums of whole hours: the current hour, and the 23 or 719 before it. */
export interface AccountTotals {
  readonly last24h: Totals
  readonly last30d: Totals
}

const HOUR = 3_600_000
const KIND = 'rollup'

/** A client may name any model. Above this number of roll-ups in one hour, further models are counted as `(other)`. */
const MAX_PER_HOUR = 1000
const OTHER = '(other)'

/** Hourly sums, kept in the state store. */
export class Rollups {
  readonly #byKey = new Map<string, Rollup>()
  readonly #perHour = new Map<number, number>()

  constructor(
    private readonly store: StateStore,
    private readonly now: () => number,
  ) {
    for (const document of store.all(KIND)) {
      const { _id, ...rollup } = document as Document & Rollup
      if (timeFrom(rollup.hour) === undefined) continue
      this.#keep(_id.slice(KIND.length + 1), { ...NOTHING, ...rollup })
    }
  }

  add(record: RequestRecord): void {
    const { key, rollup } = this.#rollupFor(record)
    const sum = { ...rollup, ...plus(rollup, totalsOf(record)) }
    this.#keep(key, sum)
    this.store.put(KIND, key, sum)
  }

  #rollupFor(record: RequestRecord): { key: string; rollup: Rollup } {
    const { account, provider } = record
    const hour = Math.floor(record.at / HOUR) * HOUR
    const rollupOf = (model: string | undefined) => {
      const key = JSON.stringify([hour, provider, account, model])
      return { key, rollup: this.#byKey.get(key) ?? { hour, provider, account, model, ...NOTHING } }
    }
    const own = rollupOf(record.model)
    const full = !this.#byKey.has(own.key) && (this.#perHour.get(hour) ?? 0) >= MAX_PER_HOUR
    return full ? rollupOf(OTHER) : own
  }

  #keep(key: string, rollup: Rollup): void {
    if (!this.#byKey.has(key)) this.#perHour.set(rollup.hour, (this.#perHour.get(rollup.hour) ?? 0) + 1)
    this.#byKey.set(key, rollup)
  }

  all(): Rollup[] {
    return [...this.#byKey.values()]
  }

  /** By account id. */
  totals(): ReadonlyMap<string, AccountTotals> {
    const totals = new Map<string, { last24h: Totals; last30d: Totals }>()
    const time = this.now()
    for (const rollup of this.#byKey.values()) {
      if (rollup.hour <= time - 30 * 24 * HOUR) continue
      const account = totals.get(rollup.account) ?? { last24h: NOTHING, last30d: NOTHING }
      account.last30d = plus(account.last30d, rollup)
      if (rollup.hour > time - 24 * HOUR) account.last24h = plus(account.last24h, rollup)
      totals.set(rollup.account, account)
    }
    return totals
  }

  /** Requests since a time; ms since 1970. */
  requestsSince(time: number): number {
    let requests = 0
    for (const rollup of this.#byKey.values()) if (rollup.hour >= time) requests += rollup.requests
    return requests
  }

  /** Forgets hours that began before a time; ms since 1970. */
  prune(before: number): void {
    for (const [key, { hour }] of this.#byKey) {
      if (hour >= before) continue
      this.#byKey.delete(key)
      this.#perHour.delete(hour)
      this.store.remove(KIND, key)
    }
  }
}

/** Sums over requests. Tokens are counted by the upstream; a request without a count adds none. */
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

function totalsOf({ status, usage = {} }: RequestRecord): Totals {
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
