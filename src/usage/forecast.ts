import { Pace } from './pace.js'
import type { Rollup } from './rollups.js'

/** An account as the forecast sees it. */
export interface ForecastAccount {
  readonly id: string
  readonly provider: string
  readonly plan?: string | undefined
  /** Whether it is in use: neither disabled nor without a login. */
  readonly inUse: boolean
  readonly windows: readonly SeenWindow[]
}

export interface SeenWindow {
  readonly name: string
  readonly model?: string | undefined
  readonly usedPercent?: number | undefined
  readonly lengthMinutes?: number | undefined
  /** ms since 1970, as all times here. */
  readonly resetsAt?: number | undefined
  readonly seenAt: number
}

/** What is to be expected of quota. */
export interface Outlook {
  /** Expected pace until the reset, of all quota that it speaks of. */
  readonly percentPerHour: number
  /** Absent if some is left at the reset. */
  readonly runsDryAt?: number | undefined
  /** Percent that the reset is expected to find unused; absent if it runs dry before. */
  readonly unusedPercent?: number | undefined
  readonly resetsAt: number
  /** When the quota was reported on which this rests: of several reports the oldest. */
  readonly seenAt: number
}

export interface WindowOutlook extends Outlook {
  readonly window: string
  readonly model?: string | undefined
}

/** Of the longest windows of several accounts. `resetsAt` is the last of their resets. */
export interface SharedOutlook extends Outlook {
  /** How many accounts it speaks of; an account that tells no such window is not among them. */
  readonly accounts: number
}

/** Where too little is known, an entry is absent. */
export interface Forecast {
  /** By id. */
  readonly accounts: ReadonlyMap<string, readonly WindowOutlook[]>
  readonly providers: ReadonlyMap<string, SharedOutlook>
  readonly pool: SharedOutlook | undefined
}

const HOUR = 3_600_000

/** Below this the rounding of a report is too large a part of it; percent. */
const LEAST_USED = 5

/** When quota runs out, or what of it expires: from the last reports, and from the use of the last hours and days. */
export function forecast(
  accounts: readonly ForecastAccount[],
  rollups: readonly Rollup[],
  now: number,
): Forecast {
  const byAccount = grouped(rollups, ({ account }) => account)
  const told = accounts.map(
    (account) => [account, measuredWindows(account, byAccount.get(account.id) ?? [], now)] as const,
  )
  const shared = told.filter(([{ inUse }]) => inUse)
  const outlooks = told.map(
    ([{ id }, windows]) => [id, windows.flatMap((one) => outlookOf(one, now))] as const,
  )
  const providers = grouped(shared, ([{ provider }]) => provider)
  const ofProviders = [...providers].flatMap(([name, members]) => {
    const outlook = sharedOutlook(
      members,
      rollups.filter(({ provider }) => provider === name),
      now,
    )
    return outlook ? [[name, outlook] as const] : []
  })
  return {
    accounts: new Map(outlooks.filter(([, windows]) => windows.length > 0)),
    providers: new Map(ofProviders),
    pool: sharedOutlook(shared, rollups, now),
  }
}

/** A running window of which use, length and reset are known. */
interface Measured {
  readonly window: SeenWindow
  readonly length: number
  readonly resetsAt: number
  readonly pace: Pace
  /** Percent that one unit of use takes; `undefined` while too little is used to tell. */
  readonly perUnit: number | undefined
  /** Now: as reported, and what has been used since; percent. */
  readonly usedPercent: number
}

function measuredWindows({ windows }: ForecastAccount, rollups: readonly Rollup[], now: number): Measured[] {
  return windows.flatMap((window) => {
    const { usedPercent, lengthMinutes, resetsAt, seenAt, model } = window
    if (usedPercent === undefined || !lengthMinutes || resetsAt === undefined || resetsAt <= now) return []
    const length = lengthMinutes * 60_000
    const counted = model === undefined ? rollups : rollups.filter((rollup) => rollup.model === model)
    const pace = new Pace(counted, now)
    const units = pace.used(resetsAt - length, seenAt)
    const perUnit = usedPercent >= LEAST_USED && units > 0 ? usedPercent / units : undefined
    if (perUnit !== undefined) pace.withoutDryTimes(resetsAt, length, 100 / perUnit)
    const since = (perUnit ?? 0) * pace.used(seenAt, now)
    return [{ window, length, resetsAt, pace, perUnit, usedPercent: Math.min(100, usedPercent + since) }]
  })
}

/** None or one. */
function outlookOf(measured: Measured, now: number): WindowOutlook[] {
  const { window, resetsAt } = measured
  const percentAt = percentPerHour(measured, now)
  if (!percentAt) return []
  let used = measured.usedPercent
  let runsDryAt = used >= 100 ? now : undefined
  for (const { from, hours } of steps(now, resetsAt)) {
    const percent = percentAt(from) * hours
    if (runsDryAt === undefined && used + percent >= 100)
      runsDryAt = from + ((100 - used) / percent) * hours * HOUR
    used += percent
  }
  const { name, model, seenAt } = window
  const pace = (used - measured.usedPercent) / ((resetsAt - now) / HOUR)
  const unusedPercent = runsDryAt === undefined ? 100 - used : undefined
  return [{ window: name, model, percentPerHour: pace, runsDryAt, unusedPercent, resetsAt, seenAt }]
}

/** The percent of a window that each hour to come is expected to use; `undefined` if it cannot be told. */
function percentPerHour(
  { window, pace, perUnit, length, resetsAt }: Measured,
  now: number,
): ((time: number) => number) | undefined {
  const { usedPercent = 0, seenAt } = window
  if (perUnit !== undefined) return pace.isKnown ? (time) => perUnit * pace.expectedAt(time) : undefined
  const elapsed = seenAt - (resetsAt - length)
  const isIdle = pace.used(-Infinity, now) === 0
  // The gateway has used nothing of it: then only the window's own report tells a pace.
  if (!isIdle || elapsed < Math.max(HOUR, length / 20)) return undefined
  return () => usedPercent / (elapsed / HOUR)
}

/** Whole hours of the clock, and the parts of hours at both ends. */
function* steps(from: number, to: number): Generator<{ from: number; hours: number }> {
  for (let time = from; time < to;) {
    const end = Math.min(to, (Math.floor(time / HOUR) + 1) * HOUR)
    yield { from: time, hours: (end - time) / HOUR }
    time = end
  }
}

/** The longest window of one account, in units of use. */
interface Share {
  left: number
  resetsAt: number
  /** What its first reset finds unused. */
  lost?: number
  readonly whole: number
  readonly length: number
  readonly seenAt: number
}

type Members = readonly (readonly [ForecastAccount, readonly Measured[]])[]

/**
 * The longest windows of some accounts together: each hour takes its use from the window that resets first. A window that
 * resets meanwhile is full again. `undefined` if a window cannot be measured.
 */
function sharedOutlook(members: Members, rollups: readonly Rollup[], now: number): SharedOutlook | undefined {
  const shares = sharesOf(members)
  const pace = new Pace(rollups, now)
  if (!shares || shares.length === 0 || !pace.isKnown) return undefined
  const whole = sum(shares, (share) => share.whole)
  const end = Math.max(...shares.map(({ resetsAt }) => resetsAt))
  const seenAt = Math.min(...shares.map((share) => share.seenAt))
  let expected = 0
  let runsDryAt: number | undefined
  for (const { from, hours } of steps(now, end)) {
    for (const share of shares) if (share.resetsAt <= from) renew(share)
    const units = pace.expectedAt(from) * hours
    const left = sum(shares, (share) => share.left)
    if (runsDryAt === undefined && left < units) runsDryAt = from + (left / units) * hours * HOUR
    expected += units
    take(units, shares)
  }
  const lost = sum(shares, (share) => share.lost ?? share.left)
  return {
    accounts: shares.length,
    percentPerHour: ((expected / whole) * 100) / ((end - now) / HOUR),
    runsDryAt,
    unusedPercent: runsDryAt === undefined ? (lost / whole) * 100 : undefined,
    resetsAt: end,
    seenAt,
  }
}

function renew(share: Share): void {
  share.lost ??= share.left
  share.left = share.whole
  share.resetsAt += share.length
}

function take(units: number, shares: Share[]): void {
  let rest = units
  for (const share of shares.sort((a, b) => a.resetsAt - b.resetsAt)) {
    const taken = Math.min(rest, share.left)
    share.left -= taken
    rest -= taken
  }
}

/** `undefined` if it is not known how much use one of the windows holds, not even from another account of its plan. */
function sharesOf(members: Members): Share[] | undefined {
  const longest = members.flatMap(([account, windows]) => {
    const common = windows.filter(({ window }) => window.model === undefined)
    const [first] = common.toSorted((a, b) => b.length - a.length)
    return first ? [{ account, ...first }] : []
  })
  const shares: Share[] = []
  for (const { account, length, perUnit, usedPercent, resetsAt, window } of longest) {
    const like = longest.filter(
      (other) =>
        other.perUnit !== undefined &&
        other.length === length &&
        other.account.plan === account.plan &&
        other.account.provider === account.provider,
    )
    const known = perUnit ?? mean(like.map((other) => other.perUnit!))
    if (known === undefined) return undefined
    const [left, whole] = [(100 - usedPercent) / known, 100 / known]
    shares.push({ left, whole, length, resetsAt, seenAt: window.seenAt })
  }
  // Tokens and requests cannot be added up.
  const units = new Set(longest.flatMap(({ perUnit, pace }) => (perUnit === undefined ? [] : [pace.unit])))
  return units.size > 1 ? undefined : shares
}

function mean(values: readonly number[]): number | undefined {
  return values.length > 0 ? sum(values, (value) => value) / values.length : undefined
}

function sum<T>(items: readonly T[], value: (item: T) => number): number {
  return items.reduce((total, item) => total + value(item), 0)
}

function grouped<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>()
  for (const item of items) {
    const group = groups.get(keyOf(item))
    if (group) group.push(item)
    else groups.set(keyOf(item), [item])
  }
  return groups
}
