import type { BuiltinStrategy } from '../../config/config.js'
import type { Candidate, CandidateWindow, Strategy } from '../../config/account.js'

/** The built-in strategies, made anew for each gateway, since round-robin keeps its turn. `sticky` is a setting of a route. */
export function builtinStrategies(): Record<Exclude<BuiltinStrategy, 'sticky'>, Strategy> {
  return { 'round-robin': roundRobin(), 'least-used': leastUsed(), pressure: pressure() }
}

/** Accounts count as equal whose pressure is within this factor of the highest one. docs/strategies.md has the measurement. */
const EQUAL = 1.5

/**
 * Picks among the accounts whose longest window would lose most if it were not used from now on: those with the most quota
 * left for the time left. Among equals: the fewest requests in flight, then the least recently used.
 */
export function pressure(): Strategy {
  const byUse = leastUsed()
  return function pressure(accounts, context) {
    const roomy = accounts.filter(({ windows }) => !windows.some(isNearlyFull))
    const offered = roomy.length > 0 ? roomy : accounts
    const pressures = offered.map(({ windows }) => pressureOf(windows, context.now))
    const highest = pressures.reduce<number>((most, one = -1) => Math.max(most, one), -1)
    if (highest < 0) return byUse(offered, context)
    // An account whose window is not known counts as equal: its first answer will tell.
    const equals = offered.filter((_, index) => (pressures[index] ?? Infinity) * EQUAL >= highest)
    return firstBy(equals, byFlight)
  }
}

/** The share left of the longest window, divided by the share of its time that is left; `undefined` if not known. */
export function pressureOf(windows: readonly CandidateWindow[], now: number): number | undefined {
  const { lengthMinutes = 0, usedPercent, resetsAt = now } = firstBy(windows, byLength) ?? {}
  if (lengthMinutes === 0 || usedPercent === undefined || resetsAt <= now) return undefined
  const timeLeft = (resetsAt - now) / (lengthMinutes * 60_000)
  return (100 - usedPercent) / 100 / timeLeft
}

/** The longest first; of equally long ones, such as an account's and a model's, the fullest. */
const byLength = (a: CandidateWindow, b: CandidateWindow): number =>
  (b.lengthMinutes ?? 0) - (a.lengthMinutes ?? 0) || (b.usedPercent ?? 101) - (a.usedPercent ?? 101)

const DAY_MINUTES = 24 * 60

/** A short window, such as the 5-hour one, refills soon. Its account comes later only while little of it is left. */
const isNearlyFull = ({ lengthMinutes = DAY_MINUTES, usedPercent = 0 }: CandidateWindow): boolean =>
  lengthMinutes < DAY_MINUTES && usedPercent > 90

/** Picks the account with the fewest requests in flight, then the least quota used, then the least recently used. */
export function leastUsed(): Strategy {
  return function leastUsed(accounts) {
    const fewest = accounts.reduce((least, { inFlight }) => Math.min(least, inFlight), Infinity)
    const idlest = accounts.filter(({ inFlight }) => inFlight === fewest)
    // Quotas are compared only if all are known: an unknown one read as 0 would draw every conversation, as 100 none.
    const known = idlest.every(({ usedPercent }) => usedPercent !== undefined)
    return firstBy(idlest, (a, b) => (known ? byQuota(a, b) : 0) || byAge(a, b))
  }
}

const byQuota = (a: Candidate, b: Candidate): number => (a.usedPercent ?? 0) - (b.usedPercent ?? 0)

const byAge = (a: Candidate, b: Candidate): number =>
  (a.lastUsedAt ?? 0) - (b.lastUsedAt ?? 0) || (a.id < b.id ? -1 : 1)

const byFlight = (a: Candidate, b: Candidate): number => a.inFlight - b.inFlight || byAge(a, b)

/** The first in order, without the cost of sorting the others. */
function firstBy<T>(items: readonly T[], compare: (a: T, b: T) => number): T | undefined {
  let first = items[0]
  for (const item of items) if (first === undefined || compare(item, first) < 0) first = item
  return first
}

/** Picks each account in turn, in the order of their names. */
export function roundRobin(): Strategy {
  let last = ''
  return function roundRobin(accounts) {
    const inOrder = [...accounts].sort((a, b) => (a.id < b.id ? -1 : 1))
    // Keeps a name, not an index: the list changes with every cooldown, and an index would skip or repeat accounts.
    const next = inOrder.find((account) => account.id > last) ?? inOrder[0]
    last = next?.id ?? last
    return next
  }
}
