import { type Rollup, type Totals, plus, NOTHING } from './rollups.js'

export const groupings = ['hour', 'account', 'model', 'provider'] as const
export type Grouping = (typeof groupings)[number]

/** Sums of one group. Of `hour` the key is its start, in ISO 8601. */
export interface UsageRow extends Totals {
  readonly key: string
}

/** What has been used since a time (ms since 1970; its hour is counted whole), by one grouping. */
export function usageBy(rollups: readonly Rollup[], by: Grouping, since: number): UsageRow[] {
  const rows = new Map<string, UsageRow>()
  for (const rollup of rollups) {
    if (rollup.hour <= since - 3_600_000) continue
    const key = by === 'hour' ? new Date(rollup.hour).toISOString() : (rollup[by] ?? 'unknown')
    rows.set(key, { key, ...plus(rows.get(key) ?? NOTHING, rollup) })
  }
  return [...rows.values()].toSorted((a, b) => (a.key < b.key ? -1 : 1))
}
