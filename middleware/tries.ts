import type { Account } from '../src/accounts/account.js'
import type { HeldAnswer } from './exchange.js'

/** Why an account may be asked a second time for one request; once for each reason. */
export type Replay = 'refresh' | 'stale' | 'repair'

/** What one request has been through so far. */
export class Tries {
  readonly accounts = new Set<Account>()
  /** Those of them that had to rest. */
  readonly rested = new Set<Account>()
  /** Tries that failed for no fault of an account. */
  spent = 0
  /** The last trouble of the upstream or the network. */
  trouble: Trouble | undefined
  /** Accounts for which the upstream was in trouble; if another one then serves, it was their own. */
  readonly troubled = new Set<Account>()
  /** Accounts that cannot serve this model or path, and the last answer that said so. */
  readonly refusing = new Set<Account>()
  refusal: { readonly account: Account; readonly answer: HeldAnswer } | undefined
  #replays = new Set<string>()

  mayReplay(account: Account, reason: Replay): boolean {
    const key = `${reason} ${account.key}`
    if (this.#replays.has(key)) return false
    this.#replays.add(key)
    return true
  }

  /** Keeps the answer: if all refuse, the client hears it. */
  refuse(account: Account, answer: HeldAnswer): void {
    this.refusing.add(account)
    this.refusal?.answer.discard()
    this.refusal = { account, answer }
  }
}

export interface Trouble {
  /** 502, 503 or 504. */
  readonly status: number
  readonly reason: string
  readonly retryAfterMs?: number | undefined
}

/** Trouble as the client will hear it, if nobody else can help. */
export function troubleOf(met: {
  reason: string
  status?: number
  retryAfterMs?: number | undefined
}): Trouble {
  const late = met.status === 504 || met.status === 408 || met.reason.endsWith('_timeout')
  const status = late ? 504 : met.status === 503 || met.status === 529 ? 503 : 502
  return { status, reason: met.reason, retryAfterMs: met.retryAfterMs }
}
