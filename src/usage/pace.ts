import type { Rollup } from './rollups.js'

const HOUR = 3_600_000
const DAY_HOURS = 24
/** Older use says little of the present one; days. */
const LONGEST_MEMORY = 21
/** A history that is shorter tells no pace; ms. */
const LEAST_HISTORY_MS = 2 * HOUR
/** How fast the pace of the last hours gives way to that of the same hours of earlier days; ms. */
const FADES_MS = 3 * HOUR

/** How much less a day counts than the day after it. */
const FORGETTING = 0.95
/** Over so many days the present level of use is compared with the usual one. */
const LEVEL_DAYS = 7

/** Tokens, or requests where the upstream counts no tokens. */
type Unit = 'totalTokens' | 'requests'

/** What some accounts use per hour: what they have used, and what is to be expected. */
export class Pace {
  readonly unit: Unit
  readonly #byHour = new Map<number, number>()
  /** Start of the first hour of which something is known; ms since 1970. */
  readonly #since: number
  #level = 1
  /** How much more than usual was used per hour lately. */
  #unusual = 0
  /** Hours in which nothing could be used. */
  readonly #dry = new Set<number>()

  constructor(
    rollups: readonly Rollup[],
    private readonly now: number,
  ) {
    this.unit = rollups.some(({ totalTokens }) => totalTokens > 0) ? 'totalTokens' : 'requests'
    const known = rollups.filter(({ hour }) => hour > now - LONGEST_MEMORY * DAY_HOURS * HOUR && hour <= now)
    for (const rollup of known)
      this.#byHour.set(rollup.hour, (this.#byHour.get(rollup.hour) ?? 0) + rollup[this.unit])
    this.#since = known.reduce((first, { hour }) => Math.min(first, hour), Infinity)
    this.#compare()
  }

  /**
   * Leaves out the hours between the end of a window's quota and its reset, since they tell nothing of the demand.
   * @param resetsAt the next reset of a window that resets regularly
   * @param whole units that the window holds
   */
  withoutDryTimes(resetsAt: number, length: number, whole: number): void {
    // The resets of a short window go by its first use.
    if (length < DAY_HOURS * HOUR) return
    for (let reset = resetsAt - length; reset > this.#since; reset -= length) {
      if (this.used(reset - length, reset) < 0.9 * whole) continue
      for (let hour = hourOf(reset) - HOUR; hour >= this.#since && !this.#byHour.get(hour); hour -= HOUR)
        this.#dry.add(hour)
    }
    this.#compare()
  }

  /** Whether enough is known to expect anything. */
  get isKnown(): boolean {
    return this.now - this.#since >= LEAST_HISTORY_MS
  }

  /** Units used between two times, of which hours count in part. */
  used(from: number, to: number): number {
    let sum = 0
    for (let hour = hourOf(Math.max(from, this.#since)); hour < to; hour += HOUR) {
      const units = this.#byHour.get(hour) ?? 0
      // The running hour has its units so far.
      const end = Math.min(hour + HOUR, Math.max(this.now, hour + 1))
      const share = (Math.min(to, end) - Math.max(from, hour)) / (end - hour)
      if (units > 0 && share > 0) sum += units * share
    }
    return sum
  }

  /** Units per hour that are to be expected at a time to come. */
  expectedAt(time: number): number {
    const usual = this.#usualAt(time) * this.#level
    return Math.max(0, usual + this.#unusual * Math.exp((this.now - time) / FADES_MS))
  }

  #hoursOf(ms: number): number {
    return Math.max(1, Math.min(ms, this.now - this.#since) / HOUR)
  }

  /** The mean of the same hour of earlier days, those of the same kind above all: nights and weekends differ. */
  #usualAt(time: number): number {
    let [sum, weights] = [0, 0]
    const first = hourOf(time)
    // Days back to the last same hour of the day that is over: for an hour to come, one that lies before the present.
    const daysAhead = Math.ceil((first + HOUR - hourOf(this.now)) / (DAY_HOURS * HOUR))
    for (let day = Math.max(1, daysAhead); ; day++) {
      const hour = first - day * DAY_HOURS * HOUR
      if (hour < this.#since) break
      if (this.#dry.has(hour)) continue
      const weight = (isWeekend(hour) === isWeekend(first) ? 1 : 0.1) * FORGETTING ** day
      sum += weight * (this.#byHour.get(hour) ?? 0)
      weights += weight
    }
    // In the first day no hour has an earlier one of its kind.
    return weights > 0 ? sum / weights : this.used(this.#since, this.now) / this.#hoursOf(Infinity)
  }

  /** Compares the last days, and then the last hours, with what was usual before them. */
  #compare(): void {
    const end = hourOf(this.now)
    const days = Math.min(LEVEL_DAYS, Math.floor((end - this.#since) / HOUR / DAY_HOURS / 2))
    const ratio = days > 0 ? this.#usedToUsual(end - days * DAY_HOURS * HOUR, end) : 1
    this.#level = Math.min(2, Math.max(0.5, ratio))
    if (this.#dry.has(end - HOUR) || !this.isKnown) return
    const from = Math.max(this.#since, end - FADES_MS)
    let usual = 0
    for (let hour = from; hour < this.now; hour += HOUR)
      usual += this.#usualAt(hour) * Math.min(1, (this.now - hour) / HOUR)
    this.#unusual = (this.used(from, this.now) - usual * this.#level) / ((this.now - from) / HOUR)
  }

  #usedToUsual(from: number, to: number): number {
    let usual = 0
    for (let hour = from; hour < to; hour += HOUR) if (!this.#dry.has(hour)) usual += this.#usualAt(hour)
    return usual > 0 ? this.used(from, to) / usual : 1
  }
}

const hourOf = (time: number): number => Math.floor(time / HOUR) * HOUR

/** By the clock of this machine, which is most likely that of its users. */
const isWeekend = (time: number): boolean => [0, 6].includes(new Date(time).getDay())
