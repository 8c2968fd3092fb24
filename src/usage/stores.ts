import type { ResolvedConfig } from '../../config/config.js'
import { openStateStore, type StateStore } from '../state/store.js'
import { openLedger, type Ledger } from './ledger.js'

/** What is kept on disk beside the credentials. */
export interface Stores {
  readonly state: StateStore
  readonly ledger: Ledger
  /** Why something of it does not reach the disk. */
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
      // Its roll-ups go into the state store.
      await ledger.close()
      await state.close()
    },
  }
}
