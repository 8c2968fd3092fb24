import type { RequestHandler } from 'express'
import type { Pool } from '../src/accounts/pool.js'
import type { AttemptOne } from './attempt.js'
import { decide } from './decide.js'
import { exchangeOf, type Exchange } from './exchange.js'
import type { Outcome } from './outcome.js'
import { Search } from './search.js'

/** Tries accounts until one of them serves the request or none is left. Nothing reaches the client in here. */
export function retry(pool: Pool, attempt: AttemptOne): RequestHandler {
  return async function retry(request, response, next) {
    const exchange = exchangeOf(request)
    exchange.outcome ??= await failover(exchange, pool, attempt)
    // Middleware of the user's own has answered meanwhile, and nobody is left to take this answer.
    if (exchange.outcome.kind === 'upstream' && response.headersSent) {
      exchange.outcome.release()
      exchange.outcome.answer.discard()
      return
    }
    next(exchange.outcome.kind === 'upstream' ? undefined : exchange.overflow)
  }
}

/** The loop; an upgrade goes through it as well. */
export async function failover(exchange: Exchange, pool: Pool, attempt: AttemptOne): Promise<Outcome> {
  const search = new Search(exchange, pool)
  let account = await search.next()
  while (account) {
    const release = search.lease(account)
    const attempted = await attempt(exchange, account, search.tries).catch((error: unknown) => {
      release()
      throw error
    })
    if (attempted.kind === 'answered') return search.commit(account, attempted.answer, release)
    release()
    const decision = exchange.signal.aborted ? 'give-up' : decide(attempted, exchange, search.tries)
    if (decision === 'give-up') break
    if (decision === 'next') account = await search.next()
  }
  return exchange.signal.aborted ? { kind: 'left' } : search.giveUp()
}
