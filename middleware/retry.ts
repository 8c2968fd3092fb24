import type { RequestHandler } from 'express'
import type { Pool } from '../src/pool/pool.js'
import type { Attempted, AttemptOne } from './attempt.js'
import { type Exchange, exchangeOf, type Outcome } from './exchange.js'
import { KeepAlive } from './keep-alive.js'
import { Search } from './search.js'
import type { Tries } from './tries.js'

/** Tries accounts until one of them serves the request or none is left. Nothing reaches the client in here. */
export function retry(pool: Pool, attempt: AttemptOne): RequestHandler {
  return async function retry(request, response, next) {
    const exchange = exchangeOf(request)
    const { keepAlive } = exchange.provider
    if (keepAlive) {
      const event = keepAlive.instead?.(exchange) ?? keepAlive.event
      const settings = { ...keepAlive, event }
      if (event !== '') exchange.keepAlive = new KeepAlive(response, settings, exchange.startedAt)
    }
    exchange.outcome ??= await failover(exchange, pool, attempt)
    // Middleware of the user's own has answered meanwhile, so this answer cannot be sent.
    if (exchange.outcome.kind === 'upstream' && response.headersSent && !exchange.keepAlive?.begun) {
      exchange.outcome.release()
      exchange.outcome.answer.discard()
      return
    }
    next(exchange.outcome.kind === 'upstream' ? undefined : exchange.overflow)
  }
}

/** The loop over the accounts, for requests and for WebSocket handshakes. */
export async function failover(
  exchange: Exchange,
  pool: Pool,
  attempt: AttemptOne,
  search: Search = new Search(exchange, pool),
): Promise<Outcome> {
  let leased = await search.next()
  while (leased) {
    const { account, release } = leased
    const attempted = await attempt(exchange, account, search.tries).catch((error: unknown) => {
      release()
      throw error
    })
    if (attempted.kind === 'answered') return search.commit(account, attempted, release)
    release()
    const decision = exchange.signal.aborted ? 'give-up' : decide(attempted, exchange, search.tries)
    if (decision === 'give-up') break
    leased = decision === 'next' ? await search.next() : search.lease(account)
  }
  return exchange.signal.aborted ? { kind: 'left' } : search.giveUp()
}

type Decision =
  /** The same account once more. */
  | 'again'
  /** Another account. */
  | 'next'
  /** No further account; the gateway answers. */
  | 'give-up'

/**
 * The one place that decides what follows an attempt without an answer for the client. Never sent: any account may be
 * tried. Sent: another account only if this one refused the request or the request may be done twice. Committed: such
 * a request never comes here, since nothing is retried after the first byte.
 */
function decide(attempted: Failed, exchange: Exchange, tries: Tries): Decision {
  if (attempted.kind === 'declined') return 'next'
  const { attempts } = exchange.route.retry
  if (attempts === 1) return 'give-up'
  // A body that was streamed through cannot be sent again.
  if (exchange.body.kind === 'streaming' && attempted.kind !== 'unfit') return 'give-up'
  switch (attempted.kind) {
    case 'refreshed':
    case 'repaired':
    case 'stale':
      return 'again'
    case 'unfit':
    case 'turned-away':
      return 'next'
    case 'never-sent':
      // Another account may have another address; but the client must not wait through a row of connect timeouts.
      return attempted.slow ? spend(tries, attempts) : 'next'
    case 'sent':
      return exchange.replayable ? spend(tries, attempts) : 'give-up'
  }
}

type Failed = Exclude<Attempted, { kind: 'answered' }>

function spend(tries: Tries, attempts: number): Decision {
  tries.spent++
  return tries.spent < attempts ? 'next' : 'give-up'
}
