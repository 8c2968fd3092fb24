import type { Account } from '../accounts/account.js'
import type { Cooldown } from '../accounts/cooldowns.js'

/** Refusals within this time count as one event; ms. */
const AT_ONCE_MS = 60_000

/** The accounts whose token the upstream refuses although it should be good. */
export class Unauthorized {
  #lately = new Map<Account, { at: number; cooldown?: Cooldown }>()
  /** Since when a credential has been refused, without a success; ms since 1970. */
  #since = new WeakMap<object, number>()

  constructor(private readonly now: () => number) {}

  /**
   * The upstream refuses an account.
   * @returns for how long it has done so, and whether it refuses most of the accounts `alike` at once
   */
  refused(account: Account, alike: readonly Account[]): { forMs: number; most: boolean } {
    const now = this.now()
    const since = this.#since.get(account.credential) ?? now
    this.#since.set(account.credential, since)
    this.#lately.set(account, { at: now })
    for (const [one, { at }] of this.#lately) if (at < now - AT_ONCE_MS) this.#lately.delete(one)
    const refused = alike.filter((one) => this.#lately.has(one)).length
    return { forMs: now - since, most: refused > 1 && refused > alike.length / 2 }
  }

  cooled(account: Account, cooldown: Cooldown): void {
    this.#lately.set(account, { at: this.now(), cooldown })
  }

  /** Ends the cooldowns that refusals have started lately. @returns their accounts */
  acquit(): Account[] {
    return [...this.#lately].flatMap(([account, { cooldown }]) => {
      if (!cooldown) return []
      account.cancelCooldown(cooldown)
      return [account]
    })
  }

  succeeded(account: Account): void {
    this.#lately.delete(account)
    this.#since.delete(account.credential)
  }
}
