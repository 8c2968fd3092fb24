import type { ServerResponse } from 'node:http'
import type { ErrorRequestHandler } from 'express'
import type { Answer, Exhaustion } from '../config/provider.js'
import type { Account } from '../src/accounts/account.js'
import { exhaustionOf, usable } from '../src/accounts/selection.js'
import { type Exchange, findExchange } from './exchange.js'
import { failureAnswer, failureOf, GatewayFailure, sendJson } from './failure.js'

export interface FailureOptions {
  /** Told of errors that no answer explains. */
  readonly onUnexpected: (error: Error) => void
}

/** Answers every error that was thrown in the chain. */
export function answerFailure({ onUnexpected }: FailureOptions): ErrorRequestHandler {
  return function answerFailure(error: Error, request, response, _next) {
    const failure = failureOf(error, onUnexpected)
    const exchange = findExchange(request)
    const answer = failureAnswer(failure, exchange)
    if (exchange) exchange.outcome ??= { kind: 'own', answer }
    if (exchange?.keepAlive?.begun) return endStream(exchange, response, answer)
    if (response.headersSent || response.destroyed) return void response.destroy()
    sendJson(response, answer)
  }
}

/** Tells an answer at the end of a stream whose head has been sent while an answer was held back. */
export function endStream(exchange: Exchange, response: ServerResponse, answer: Answer): void {
  exchange.keepAlive?.stop()
  exchange.toldStatus = answer.status
  const end = exchange.provider.streamFailure?.(answer, exchange)
  if (end === undefined) response.destroy()
  else response.end(end)
}

/** Why the upstream or the network cannot serve now, as the client hears it if no account helps. */
export interface Trouble {
  /** 502, 503 or 504. */
  readonly status: number
  readonly reason: string
  readonly retryAfterMs?: number | undefined
}

/** The trouble that a failed attempt has met. `status` is the upstream's, if it gave one. */
export function troubleOf(met: {
  reason: string
  status?: number
  retryAfterMs?: number | undefined
}): Trouble {
  const late = met.status === 504 || met.status === 408 || /_timeout\b/.test(met.reason)
  const status = late ? 504 : met.status === 503 || met.status === 529 ? 503 : 502
  return { status, reason: met.reason, retryAfterMs: met.retryAfterMs }
}

/** `Retry-After` where the time to wait is unknown; ms. */
const SOME_TIME_MS = 5_000

/**
 * The answer when no account could serve. It tells the state of the pool, never one account's limit, an upstream's 401
 * or a challenge page. `fitting` are those of `all` accounts that could ever serve this request.
 */
export function finalAnswer(
  exchange: Exchange,
  { fitting, all }: { readonly fitting: readonly Account[]; readonly all: readonly Account[] },
  trouble: Trouble | undefined,
  now: number,
): Answer {
  const { model, provider, home } = exchange
  const able = usable(fitting)
  if (able.length === 0) return failureAnswer(noAccount(exchange, fitting, all, now), exchange)
  if (trouble) return failureAnswer(upstreamDown(trouble), exchange)
  const exhausted = exhaustionOf(able, model, now)
  if (exhausted) {
    const exhaustion = home ? { ...exhausted, resource: home.resource } : exhausted
    return final(provider.exhausted?.(exhaustion, exchange) ?? { status: 429 }, exhaustion, now)
  }
  // A free account was probed by another request, or the body could not be sent twice: the next request may be served.
  const ends = able.map((account) => account.availableAt(now, model) ?? now)
  const wait = Math.max(Math.min(...ends) - now, 1_000)
  const who = home ? `the account that has "${home.resource}" cannot` : 'no account of the pool can'
  const message = `${who} take this request now; try again in ${Math.ceil(wait / 1000)} s`
  return failureAnswer(new GatewayFailure(503, 'accounts_cooling', message, wait), exchange)
}

/**
 * Without the first of these headers OpenAI's SDKs repeat a 429, although the answer stays the same until the reset. The
 * second one tells the time until then.
 */
function final(answer: Answer, { resetsAt }: Exhaustion, now: number): Answer {
  const headers: Record<string, string> = { 'x-should-retry': 'false' }
  if (resetsAt !== undefined) headers['retry-after'] = String(Math.max(1, Math.ceil((resetsAt - now) / 1000)))
  return { ...answer, headers: { ...headers, ...answer.headers } }
}

/** The answer when only the user can help. Not a 5xx, after which the client would try again in vain. */
function noAccount(
  exchange: Exchange,
  fitting: readonly Account[],
  all: readonly Account[],
  now: number,
): GatewayFailure {
  const { providerName } = exchange.route
  if (fitting.length === 0 && all.length > 0) {
    const accounts = all.map((account) => account.forAnswers(now))
    const why = exchange.provider.unserved?.(exchange, accounts)
    const message = why ?? `none of the pool's ${providerName} accounts can serve ${exchange.path}`
    return new GatewayFailure(400, 'no_accounts', message)
  }
  const { home } = exchange
  const its = home && `"${home.resource}" belongs to the account ${home.account.id}, which`
  if (fitting.length === 0) {
    const way = 'codex-pool login, codex-pool add FILE, or put a credential file into the pool folder'
    const message = `the pool has no ${providerName} account for this request: ${way}`
    return new GatewayFailure(400, 'no_accounts', message)
  }
  if (fitting.every(({ disabled }) => disabled)) {
    const message = its
      ? `${its} is disabled: codex-pool enable ${home.account.id}`
      : `every ${providerName} account that could serve this is disabled`
    return new GatewayFailure(400, 'accounts_disabled', message)
  }
  const why = fitting.map(({ id, loginNeeded }) => `${id}: ${loginNeeded?.reason ?? 'disabled'}`).join('; ')
  const way =
    'Unless it says otherwise: codex-pool login, or log in with the client and put its credential file into the pool folder'
  const message = `${its ?? `every ${providerName} account`} needs a new login (${why}). ${way}`
  return new GatewayFailure(400, 'login_required', message)
}

function upstreamDown({ status, reason, retryAfterMs }: Trouble): GatewayFailure {
  const message = `the upstream cannot be had now (${reason}); this is no limit of an account`
  return new GatewayFailure(status, 'upstream_unavailable', message, retryAfterMs ?? SOME_TIME_MS)
}

/** Every account that may serve the request was refused, with 401 or 403. `reason`: the upstream's words. */
export function refusedByAll({ route }: Exchange, reason: string): GatewayFailure {
  const message = `the upstream refuses this request for every ${route.providerName} account of the pool: ${reason}`
  return new GatewayFailure(400, 'accounts_refused', message)
}
