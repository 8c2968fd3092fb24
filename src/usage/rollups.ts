import { timeFrom } from '../../config/index.js'
import type { StateStore } from '../state/store.js'
import type { RequestRecord } from './request-log.js'

/** One hour of one account, provider and model. */
export interface Rollup extends Totals {
  /** Its start; ms since 1970. */
  readonly hour: number
  readonly account: string
  readonly provider: string
  readonly model: string | undefined
}

/** In whole hours: the current one, and the 23 or 719 before it. */
export interface AccountTotals {
  readonly last24h: Totals
  readonly last30d: Totals
}

export interface Rollups {
  add(record: RequestRecord): void
  all(): Rollup[]
  /** By account id. */
  totals(): ReadonlyMap<string, AccountTotals>
  /** Requests since a time; ms since 1970. */
  requestsSince(time: number): number
  /** Forgets hours that began before a time; ms since 1970. */
  prune(before: number): void
}

const HOUR = 3_600_000
const KIND = 'rollup'

/** A client may name any model. Beyond so many roll-ups in one hour, further models are summed up as `(other)`. */
const MAX_PER_HOUR = 1000
const OTHER = '(other)'

export function openRollups(store: StateStore, now: () => number): Rollups {
  const rollups = new Map<string, Rollup>()
  const perHour = new Map<number, number>()
  for (const document of store.all(KIND)) {
    const { _id, ...rollup } = document as unknown as Rollup & { _id: string }
    if (timeFrom(rollup.hour) === undefined) continue
    keep(_id.slice(KIND.length + 1), { ...NOTHING, ...rollup })
  }

  function keep(key: string, rollup: Rollup): void {
    if (!rollups.has(key)) perHour.set(rollup.hour, (perHour.get(rollup.hour) ?? 0) + 1)
    rollups.set(key, rollup)
  }

  function place(record: RequestRecord): { key: string; rollup: Rollup } {
    const { account, provider } = record
    const hour = Math.floor(record.at / HOUR) * HOUR
    const under = (model: string | undefined) => {
      const key = JSON.stringify([hour, provider, account, model])
      return { key, rollup: rollups.get(key) ?? { hour, provider, account, model, ...NOTHING } }
    }
    const own = under(record.model)
    const full = !rollups.has(own.key) && (perHour.get(hour) ?? 0) >= MAX_PER_HOUR
    return full ? under(OTHER) : own
  }

  return {
    add(record) {
      const { key, rollup } = place(record)
      const sum = { ...rollup, ...plus(rollup, totalsOf(record)) }
      keep(key, sum)
      store.put(KIND, key, sum)
    },
    all: () => [...rollups.values()],
    totals() {
      const totals = new Map<string, { last24h: Totals; last30d: Totals }>()
      const time = now()
      for (const rollup of rollups.values()) {
        if (rollup.hour <= time - 30 * 24 * HOUR) continue
        const account = totals.get(rollup.account) ?? { last24h: NOTHING, last30d: NOTHING }
        account.last30d = plus(account.last30d, rollup)
        if (rollup.hour > time - 24 * HOUR) account.last24h = plus(account.last24h, rollup)
        totals.set(rollup.account, account)
      }
      return totals
    },
    requestsSince(time) {
      let requests = 0
      for (const rollup of rollups.values()) if (rollup.hour >= time) requests += rollup.requests
      return requests
    },
    prune(before) {
      for (const [key, { hour }] of rollups) {
        if (hour >= before) continue
        rollups.delete(key)
        perHour.delete(hour)
        store.remove(KIND, key)
      }
    },
  }
}

/** Sums. Tokens as the upstream counted them; a request without a count adds none. */
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

const NOTHING: Totals = {
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

function plus(a: Totals, b: Totals): Totals {
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
