import type { StateStore } from '../state/store.js'
import type { Account, SavedAccount } from './account.js'
import { Pins, type PinStore } from './pins.js'

/** What the state store keeps of the pool over a restart, by kind of document. */
export class AccountStore {
  #accounts: Map<string, SavedAccount>
  readonly spent: SpentLogins

  constructor(private readonly store: StateStore) {
    this.#accounts = new Map(
      store.all('account').map(({ _id, ...saved }) => [keyOf(_id), saved as unknown as SavedAccount]),
    )
    const spent = new Set(store.all('spent').map(({ _id }) => keyOf(_id)))
    this.spent = {
      has: (login) => spent.has(login),
      add(login) {
        spent.add(login)
        store.put('spent', login, { at: Date.now() })
      },
    }
  }

  savedAccount(key: string): SavedAccount | undefined {
    return this.#accounts.get(key)
  }

  saveAccount(account: Account): void {
    const saved = account.toJSON()
    // A file that goes and comes back gets the state that its account had then, not the one from the start.
    this.#accounts.set(account.key, saved)
    this.store.put('account', account.key, saved)
  }

  openPins(kind: 'pin' | 'issued', options: { max: number; idleMs: number }, now: () => number): Pins {
    const store: PinStore = {
      put: (key, pin) => this.store.put(kind, key, pin),
      remove: (key) => this.store.remove(kind, key),
    }
    const pins = new Pins(options, store, now)
    pins.restore(
      this.store.all(kind).map((saved) => ({ ...(saved as unknown as SavedPin), key: keyOf(saved._id) })),
    )
    return pins
  }
}

interface SavedPin {
  account: string
  at: number
}

const keyOf = (id: string): string => id.slice(id.indexOf(':') + 1)

/** Remembers refresh tokens that were presented, by fingerprint, over restarts. */
export interface SpentLogins {
  has(login: string): boolean
  add(login: string): void
}
