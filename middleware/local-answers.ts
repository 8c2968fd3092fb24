import type { RequestHandler } from 'express'
import type { Pool } from '../src/pool/pool.js'
import { exchangeOf } from './exchange.js'
import { sendJson } from './failure.js'

/** What the provider answers itself, for the pool as a whole. */
export function localAnswers(pool: Pool): RequestHandler {
  return function localAnswers(request, response, next) {
    const exchange = exchangeOf(request)
    const accounts = pool.forAnswers(exchange.route.providerName)
    const answer = exchange.provider.answer?.(exchange, { accounts, now: pool.now() })
    if (!answer) return next()
    // An unread body would be taken for the next request of this connection.
    request.resume()
    sendJson(response, answer)
  }
}
