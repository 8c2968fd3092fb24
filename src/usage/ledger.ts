import { join } from 'node:path'
import type { ResolvedConfig } from '../../config/config.js'
import { openStateStore, type StateStore } from '../state/store.js'
import { ExplanationLog } from './explanation-log.js'
import { bounded, RequestLog, type RequestRecord } from './request-log.js'
import { type AccountTotals, type Rollup, Rollups } from './rollups.js'

export interface LedgerOptions {
  /** Where the state store is: the records lie beside it, in `DATABASE.requests/`. `false`: no records, only sums. */
  database: string | false
  /** Keeps the hourly roll-ups. */
  store: StateStore
  /** ms since 1970 */
  now: () => number
  /** Days before today for which records and roll-ups are kept. @default 30 */
  keepDays?: number
  /** Records kept of one day; further requests are counted, but not kept. @default 100000 */
  maxPerDay?: number
  /** Called once a day, when its first record is not kept. */
  onDropped?: (day: string) => void
}

const HOUR = 3_600_000
const DAY = 24 * HOUR

/** Records the use of each account, provider and model. Days are those of UTC. */
export class Ledger {
  readonly #rollups: Rollups
  readonly #log: RequestLog | undefined
  readonly #timer: NodeJS.Timeout
  #today = ''
  /** Requests of today, kept or not. */
  #counted = 0
  #toldOfDropped = false

  constructor(private readonly options: LedgerOptions) {
    const { database, store, now } = options
    this.#rollups = new Rollups(store, now)
    this.#log = database === false ? undefined : new RequestLog(`${database}.requests`)
    this.#turnDay()
    // Old records are removed also while no requests come.
    this.#timer = setInterval(() => this.#turnDay(), HOUR).unref()
  }

  #turnDay(): void {
    const { now, keepDays = 30 } = this.options
    const day = dayOf(now())
    if (day === this.#today) return
    this.#today = day
    this.#counted = this.#rollups.requestsSince(Date.parse(day))
    this.#toldOfDropped = false
    this.#rollups.prune(Date.parse(day) - keepDays * DAY)
    this.#log?.forget(dayOf(Date.parse(day) - keepDays * DAY))
  }

  /** Never throws and never waits. */
  record(record: RequestRecord): void {
    this.#turnDay()
    const kept = bounded(record)
    this.#rollups.add(kept)
    this.#counted += 1
    const { maxPerDay = 100_000, onDropped } = this.options
    if (!this.#log || (this.#counted <= maxPerDay && this.#log.add(this.#today, kept))) return
    if (!this.#toldOfDropped) onDropped?.(this.#today)
    this.#toldOfDropped = true
  }

  /** By account id; from the roll-ups. */
  totals(): ReadonlyMap<string, AccountTotals> {
    return this.#rollups.totals()
  }

  rollups(): Rollup[] {
    return this.#rollups.all()
  }

  /** Writes the records and the roll-ups. Never rejects. */
  async flush(): Promise<void> {
    await Promise.all([this.#log?.flush(), this.options.store.flush()])
  }

  /** Flushes; the store stays open. */
  async close(): Promise<void> {
    clearInterval(this.#timer)
    await Promise.all([this.#log?.close(), this.options.store.flush()])
  }

  /** Why records do not reach the disk. */
  get failing(): string | undefined {
    return this.#log?.failing
  }
}

function dayOf(time: number): string {
  return new Date(time).toISOString().slice(0, 10)
}

/** The stores on disk, beside the credentials. */
export interface Stores {
  readonly state: StateStore
  readonly ledger: Ledger
  /** `undefined` without a database. */
  readonly explanations: ExplanationLog | undefined
  /** Why some of it does not reach the disk. */
  failing(): string[]
  close(): Promise<void>
}

/** @throws `StoreLockedError`, `DatabaseError` */
export async function openStores(
  { database }: ResolvedConfig,
  warn: (message: string) => void,
  now: () => number,
): Promise<Stores> {
  const state = await openStateStore(database, {
    onTorn: (backup) => warn(`the database had unreadable lines; they are kept in ${backup}`),
  })
  const ledger = new Ledger({
    database,
    store: state,
    now,
    onDropped: (day) => warn(`no more request records are kept for ${day}: the day's limit is reached`),
  })
  const explanations =
    database === false ? undefined : new ExplanationLog(join(`${database}.requests`, 'explanations.jsonl'))
  return {
    state,
    ledger,
    explanations,
    failing: () => [
      ...(state.failing ? [`state is not written: ${state.failing}`] : []),
      ...(explanations?.failing ? [`explanations are not written: ${explanations.failing}`] : []),
      ...(ledger.failing ? [`request records are not written: ${ledger.failing}`] : []),
    ],
    async close() {
      // First the ledger: its roll-ups go into the state store.
      await ledger.close()
      await explanations?.close()
      await state.close()
    },
  }
}
