import type { PoolReport } from '../../src/admin/reports.js'

type Account = PoolReport['accounts'][number]
type Window = Account['windows'][number]

/** A Sunday, at noon. */
export const NOW = Date.parse('2026-11-29T12:00:00Z')

/** A time from {@link NOW} on. */
export const inHours = (hours: number): string => new Date(NOW + hours * 3_600_000).toISOString()

function quotaWindow(name: string, lengthMinutes: number, usedPercent: number, hours: number): Window {
  return {
    name,
    lengthMinutes,
    usedPercent,
    resetsAt: inHours(hours),
    source: 'poll',
    seenAt: inHours(-0.05),
  }
}

export const window5h = (usedPercent: number, hours: number): Window =>
  quotaWindow('primary', 300, usedPercent, hours)
export const window7d = (usedPercent: number, hours: number): Window =>
  quotaWindow('secondary', 7 * 24 * 60, usedPercent, hours)

/** What `/admin/accounts` says of a ready account, but for what the test says. */
export function accountReport(id: string, told: Partial<Account> = {}): Account {
  return {
    id,
    provider: 'codex',
    type: 'codex',
    kind: 'chatgpt',
    plan: 'plus',
    order: 1,
    state: 'ready',
    cooldowns: [],
    inFlight: 0,
    refreshable: true,
    usedPercent: 30,
    windows: [window5h(20, 2.5), window7d(30, 100)],
    onCredits: false,
    resetCredits: [],
    ...told,
  }
}
