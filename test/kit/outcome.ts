import type { Verdict } from '../../config/provider.js'
import { Account } from '../../src/accounts/account.js'
import { available, usable } from '../../src/accounts/selection.js'

/** What follows from a refusal: for the client, the account, and the next requests. */
export interface Outcome {
  /** Another account is asked, the same one again, or the client gets this answer. */
  readonly client: 'moves' | 'again' | 'gets it'
  readonly account: string
  /** Whether the account is asked first by the next request for this model, and for another model. */
  readonly next: readonly [sameModel: boolean, otherModel: boolean]
}

export const outcomes = {
  'is the request’s own': { client: 'gets it', account: 'ready', next: [true, true] },
  'is the upstream’s trouble': { client: 'moves', account: 'ready', next: [true, true] },
  'cools the model': { client: 'moves', account: 'cooling', next: [false, true] },
  'cools the account': { client: 'moves', account: 'cooling', next: [false, false] },
  'exhausts the model': { client: 'moves', account: 'exhausted', next: [false, true] },
  'exhausts the account': { client: 'moves', account: 'exhausted', next: [false, false] },
  'goes to another account': { client: 'moves', account: 'ready', next: [true, true] },
  'refuses the model': { client: 'moves', account: 'ready', next: [false, true] },
  'asks for a login': { client: 'moves', account: 'needs-login', next: [false, false] },
  'refreshes the token': { client: 'again', account: 'ready', next: [true, true] },
  'repairs the history': { client: 'again', account: 'ready', next: [true, true] },
} satisfies Record<string, Outcome>

const accountNamed = (id: string) => new Account(id, 'p', `${id}.json`, {}, {}, 'digest')

/** Applies a verdict on a request for `model` as the pool does. */
export function outcomeOf(verdict: Verdict, model: string): Outcome {
  const now = Date.now()
  const [alice, bob] = [accountNamed('alice'), accountNamed('bob')]
  if (verdict.kind === 'needs-login') alice.loginNeeded = { reason: verdict.reason, since: now }
  if (verdict.kind === 'cooling' || verdict.kind === 'exhausted') alice.cool(verdict, now)
  if (verdict.kind === 'refused' && verdict.model !== undefined) alice.cool(verdict, now)
  const first = (asked: string) => available(usable([alice, bob]), new Set(), asked, now + 1).includes(alice)
  const again = verdict.kind === 'unauthorized' || verdict.kind === 'repair'
  return {
    client: again ? 'again' : verdict.kind === 'pass' ? 'gets it' : 'moves',
    account: alice.state(now, model),
    next: [first(model), first('another model')],
  }
}
