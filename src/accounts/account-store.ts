import { isDeepStrictEqual } from 'node:util'
import { isRecord, numberFrom, quotaFrom, timeFrom } from '../../config/index.js'
import type { StateStore } from '../state/store.js'
import type { Account, SavedAccount } from './account.js'
import type { Cooldown } from './cooldowns.js'
import { Pins, type PinStore } from './pins.js'
import type { SavedQuota } from './windows.js'

/** Keeps the pool's state over a restart, in the state store, by kind of document. */
export class AccountStore {
  #accounts: Map<string, SavedAccount>
  readonly spent: SpentLogins

  /** @param onWrong gets the saved values that are impossible and are left out */
  constructor(
    private readonly store: StateStore,
    private readonly onWrong: (message: string) => void = () => {},
  ) {
    this.#accounts = new Map(
      store.all('account').map(({ _id, ...saved }) => [keyOf(_id), this.#readAccount(keyOf(_id), saved)]),
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

  #readAccount(key: string, document: object): SavedAccount {
    const saved = accountFrom(document)
    const before: Record<string, unknown> = JSON.parse(JSON.stringify(document))
    const after: Record<string, unknown> = JSON.parse(JSON.stringify(saved))
    // A field that is kept no longer, of an older version, is not wrong.
    const wrong = Object.keys(saved).filter((name) => !isDeepStrictEqual(before[name], after[name]))
    if (wrong.length > 0)
      this.onWrong(`of the saved state of ${key}, values that cannot be were left out: ${wrong.join(', ')}`)
    return saved
  }

  openPins(
    kind: 'pin' | 'issued' | 'resource' | 'trail',
    options: { max: number; idleMs: number },
    now: () => number,
  ): Pins {
    const field = kind === 'trail' ? 'conversations' : 'account'
    const store: PinStore = {
      put: (key, { value, at }) => this.store.put(kind, key, { [field]: value, at }),
      remove: (key) => this.store.remove(kind, key),
    }
    const pins = new Pins(options, store, now)
    pins.restore(
      this.store.all(kind).flatMap(({ _id, at, [field]: value }) => {
        const time = timeFrom(at)
        return typeof value === 'string' && time !== undefined ? { key: keyOf(_id), value, at: time } : []
      }),
    )
    return pins
  }
}

const keyOf = (id: string): string => id.slice(id.indexOf(':') + 1)

/**
 * A saved account as it is read back. The store may hold values of another version, or times of an upstream that no date
 * can hold: with one of those in it, the gateway would not start again.
 */
function accountFrom(document: object): SavedAccount {
  const { cooldowns, windows, facts, disabled, lastUsedAt, digest }: Record<string, unknown> = { ...document }
  const quota = quotaFrom(windows)
  const observed = (quota?.windows ?? []) as SavedQuota['windows']
  return {
    cooldowns: Array.isArray(cooldowns) ? cooldowns.flatMap((entry) => cooldownFrom(entry)) : [],
    windows: { ...quota, windows: observed.filter(({ seenAt }) => timeFrom(seenAt) !== undefined) },
    facts: isRecord(facts) ? (facts as Record<string, string>) : {},
    disabled: disabled === true,
    lastUsedAt: timeFrom(lastUsedAt),
    digest: typeof digest === 'string' ? digest : undefined,
  }
}

/** No or one entry. */
function cooldownFrom(entry: unknown): [string, Cooldown][] {
  const [scope, value]: unknown[] = Array.isArray(entry) ? entry : []
  const { kind, reason, strikes, ...times } = isRecord(value) ? value : {}
  const [since, until] = [timeFrom(times.since), timeFrom(times.until)]
  if (typeof scope !== 'string' || typeof reason !== 'string' || since === undefined || until === undefined)
    return []
  if (kind !== 'cooling' && kind !== 'exhausted' && kind !== 'refused') return []
  const counted = numberFrom(strikes, 1, 1000) ?? 1
  return [[scope, { kind, reason, since, until, resetsAt: timeFrom(times.resetsAt), strikes: counted }]]
}

/** Remembers refresh tokens that were presented, by fingerprint, over restarts. */
export interface SpentLogins {
  has(login: string): boolean
  add(login: string): void
}
