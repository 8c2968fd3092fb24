import type { Answer } from '../config/provider.js'
import { type Account, roomOn } from '../src/accounts/account.js'
import type { Trouble } from './final-answer.js'
import type { HeldAnswer } from './forward.js'

/** Why an account may be asked a second time for one request; once for each reason. */
export type Replay = 'refresh' | 'stale' | 'repair'

export interface Refusal {
  readonly account: Account
  readonly answer: HeldAnswer
  /** The upstream's words. */
  readonly reason: string
  /** Whether it speaks of the account's login or rights: the client would take that for its own login. */
  readonly ofLogin: boolean
  /** The answer that the client gets in place of the upstream's refusal. */
  readonly replacement?: Answer | undefined
}

/** The state of one request's attempts so far. */
export class Tries {
  readonly accounts = new Set<Account>()
  /** Tried accounts that this request found cooling or exhausted. */
  readonly cooled = new Set<Account>()
  /** Tries that failed for no fault of an account; `retry.attempts` bounds them. */
  spent = 0
  /** How long the request has waited for accounts to have room; ms. */
  waitedMs = 0
  /** The last trouble of the upstream or the network. */
  trouble: Trouble | undefined
  /** Accounts for which the upstream was in trouble; if another account then serves, the trouble was their own. */
  readonly troubled = new Set<Account>()
  /** Accounts that cannot serve this model or path, and the last answer that said so. */
  readonly refusing = new Set<Account>()
  refusal: Refusal | undefined
  /** Why no upstream of such an account takes a request of this form. */
  declined: Answer | undefined
  /** The last stream that ended well without output, and the accounts that gave one. */
  empty: { readonly account: Account; readonly answer: HeldAnswer } | undefined
  readonly #empty = new Set<Account>()
  #replays = new Set<string>()

  /** Waits until one of these accounts may have room, `mostMs` at most in the whole life of the request. */
  async waitForRoom(busy: readonly Account[], mostMs: number, signal: AbortSignal): Promise<void> {
    const startedAt = performance.now()
    await roomOn(busy, mostMs - this.waitedMs, signal)
    // At least one, so that timers that fire early come to an end.
    this.waitedMs += Math.max(1, performance.now() - startedAt)
  }

  mayReplay(account: Account, reason: Replay): boolean {
    const key = `${reason} ${account.key}`
    if (this.#replays.has(key)) return false
    this.#replays.add(key)
    return true
  }

  /** Keeps a stream without output. Returns whether a second account gave one, so that the request itself is the cause. */
  isEmptyAgain(account: Account, answer: HeldAnswer): boolean {
    this.empty?.answer.discard()
    this.empty = { account, answer }
    this.#empty.add(account)
    this.troubled.add(account)
    if (this.#empty.size < 2) return false
    for (const one of this.#empty) this.troubled.delete(one)
    return true
  }

  /** Keeps the answer: if all accounts refuse, the client gets it. */
  refuse(refusal: Refusal): void {
    this.refusing.add(refusal.account)
    this.refusal?.answer.discard()
    this.refusal = refusal
  }
}
