import type { Account } from '../src/accounts/account.js'
import type { PickRecord } from './records.js'

/** What an account was chosen from. */
export interface Choice {
  readonly chosen: Account | undefined
  /** All of the route's provider. */
  readonly all: readonly Account[]
  /** Those that could ever serve the request. */
  readonly fitting: readonly Account[]
  /** Those that could be asked now. */
  readonly offered: readonly Account[]
  readonly tried: ReadonlySet<Account>
  readonly model: string | undefined
  readonly now: number
}

/** Why the others were not asked; for `explain`. */
export function passedOver(choice: Choice): PickRecord['others'] {
  return choice.all
    .filter((account) => account !== choice.chosen)
    .map((account) => ({ account: account.key, why: whyNot(account, choice) }))
}

function whyNot(account: Account, { fitting, offered, tried, model, now }: Choice): string {
  if (offered.includes(account)) return 'not chosen'
  if (!fitting.includes(account)) return 'not for this request'
  if (tried.has(account)) return 'tried'
  const state = account.unavailable(model, now)
  if (state !== undefined) return state
  return account.refuses(model, now) ? 'cannot serve this model' : 'held back'
}
