import type { Answer } from '../config/provider.js'
import type { Account } from '../src/accounts/account.js'
import type { Exchange } from './exchange.js'
import { failureAnswer } from './failure.js'
import { GatewayFailure } from './gateway-failure.js'
import type { Tries } from './tries.js'

/** Told to a client that should come back although nobody knows when; ms. */
const SOME_TIME_MS = 5_000

/**
 * What the client hears when no account could serve: the truth about the pool, never one account's limit, never an
 * upstream's 401, never a challenge page. `fitting` are the accounts that could ever serve this request.
 */
export function finalAnswer(
  exchange: Exchange,
  fitting: readonly Account[],
  tries: Tries,
  now: number,
): Answer {
  const { model, provider } = exchange
  const usable = fitting.filter((account) => !account.disabled && !account.loginNeeded)
  if (usable.length === 0) return failureAnswer(noAccount(exchange, fitting), exchange)
  if (tries.trouble) return failureAnswer(upstreamDown(tries), exchange)
  if (usable.every((account) => account.state(now, model) === 'exhausted')) {
    const resets = usable.flatMap((account) => account.resetsAt(now, model) ?? [])
    const resetsAt = resets.length > 0 ? Math.min(...resets) : undefined
    const plan = usable.find((account) => account.resetsAt(now, model) === resetsAt)?.plan
    return provider.exhausted?.({ resetsAt, plan, model }, exchange) ?? { status: 429 }
  }
  // One that is free was busy proving itself, or the body could not be sent again: the next request may well get it.
  const ends = usable.map((account) => account.availableAt(now, model) ?? now)
  const wait = Math.max(Math.min(...ends) - now, 1_000)
  const message = `no account of the pool can take this request now; try again in ${Math.ceil(wait / 1000)} s`
  return failureAnswer(new GatewayFailure(503, 'accounts_cooling', message, wait), exchange)
}

/** Terminal: trying again helps nobody, so it is no 5xx. */
function noAccount(exchange: Exchange, fitting: readonly Account[]): GatewayFailure {
  const { providerName } = exchange.matched
  if (fitting.length === 0) {
    const way = 'codex-pool login, codex-pool add FILE, or put a credential file into the pool folder'
    return new GatewayFailure(
      400,
      'no_accounts',
      `the pool has no ${providerName} account for this request: ${way}`,
    )
  }
  if (fitting.every(({ disabled }) => disabled))
    return new GatewayFailure(
      400,
      'accounts_disabled',
      `every ${providerName} account that could serve this is disabled`,
    )
  const why = fitting.map(({ id, loginNeeded }) => `${id}: ${loginNeeded?.reason ?? 'disabled'}`).join('; ')
  const way =
    'Unless it says otherwise: codex-pool login, or log in with the client and put its credential file into the pool folder'
  return new GatewayFailure(
    400,
    'login_required',
    `every ${providerName} account needs a new login (${why}). ${way}`,
  )
}

function upstreamDown({ trouble }: Tries): GatewayFailure {
  const { status, reason, retryAfterMs } = trouble!
  const message = `the upstream cannot be had now (${reason}); this is no limit of an account`
  return new GatewayFailure(status, 'upstream_unavailable', message, retryAfterMs ?? SOME_TIME_MS)
}
