import type { ResolvedConfig } from '../../config/config.js'
import { openStateStore, type StateStore } from '../state/store.js'
import { bounded, openRequestLog, type RequestRecord } from './request-log.js'
import { type AccountTotals, openRollups, type Rollup } from './rollups.js'

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

/** Records what each account, provider and model was used for. Days are those of UTC. */
export interface Ledger {
  /** Never throws and never waits. */
  record(record: RequestRecord): void
  /** By account id; from the roll-ups. */
  totals(): ReadonlyMap<string, AccountTotals>
  rollups(): Rollup[]
  /** Writes the records and the roll-ups. Never rejects. */
  flush(): Promise<void>
  /** Flushes; the store stays open. */
  close(): Promise<void>
  /** Why records do not reach the disk. */
  readonly failing: string | undefined
}

const HOUR = 3_600_000
const DAY = 24 * HOUR

export function openLedger(options: LedgerOptions): Ledger {
  const { database, store, now, onDropped, keepDays = 30, maxPerDay = 100_000 } = options
  const rollups = openRollups(store, now)
  const log = database === false ? undefined : openRequestLog(`${database}.requests`)
  let today = ''
  /** Requests of today, kept or not. */
  let counted = 0
  let told = false

  function turnDay(): void {
    const day = dayOf(now())
    if (day === today) return
    today = day
    counted = rollups.requestsSince(Date.parse(day))
    told = false
    rollups.prune(Date.parse(day) - keepDays * DAY)
    log?.forget(dayOf(Date.parse(day) - keepDays * DAY))
  }

  turnDay()
  // Old records are removed also while no requests come.
  const timer = setInterval(turnDay, HOUR).unref()

  return {
    record(record) {
      turnDay()
      const kept = bounded(record)
      rollups.add(kept)
      counted += 1
      if (!log || (counted <= maxPerDay && log.add(today, kept))) return
      if (!told) onDropped?.(today)
      told = true
    },
    totals: rollups.totals,
    rollups: rollups.all,
    async flush() {
      await Promise.all([log?.flush(), store.flush()])
    },
    async close() {
      clearInterval(timer)
      await Promise.all([log?.close(), store.flush()])
    },
    get failing() {
      return log?.failing
    },
  }
}

function dayOf(time: number): string {
  return new Date(time).toISOString().slice(0, 10)
}

/** What is kept on disk beside the credentials. */
export interface Stores {
  readonly state: StateStore
  readonly ledger: Ledger
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
  const ledger = openLedger({
    database,
    store: state,
    now,
    onDropped: (day) => warn(`no more request records are kept for ${day}: the day's limit is reached`),
  })
  return {
    state,
    ledger,
    failing: () => [
      ...(state.failing ? [`state is not written: ${state.failing}`] : []),
      ...(ledger.failing ? [`request records are not written: ${ledger.failing}`] : []),
    ],
    async close() {
      // First the ledger: its roll-ups go into the state store.
      await ledger.close()
      await state.close()
    },
  }
}
