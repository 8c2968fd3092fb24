import type { ErrorRequestHandler, RequestHandler } from 'express'
import type { ResolvedConfig } from '../config/config.js'
import type { Pool } from '../src/pool/pool.js'
import type { Network } from '../src/network.js'
import { attempt } from './attempt.js'
import { authInjection } from './auth-injection.js'
import { body, type ReplayBudget } from './body.js'
import { exchange, type Snapshot } from './exchange.js'
import { answerFailure, type FailureOptions } from './final-answer.js'
import { forward } from './forward.js'
import { guard } from './guard.js'
import { hostMiddleware } from './host-middleware.js'
import { metrics, type MetricsOptions } from './metrics.js'
import { localAnswers, pooledAnswer } from './pool-answers.js'
import { respond } from './respond.js'
import { retry } from './retry.js'
import { stickiness } from './stickiness.js'

export interface ChainParts extends MetricsOptions, FailureOptions {
  readonly pool: Pool
  readonly network: Network
  readonly budget: ReplayBudget
  readonly snapshot: () => Snapshot
  readonly access: () => ResolvedConfig['access']
  readonly tellOfParser: () => void
}

/** The life of one request, in this order. */
export function chain(parts: ChainParts): (RequestHandler | ErrorRequestHandler)[] {
  const { pool, network, budget, events, tellOfParser } = parts
  const askOne = attempt(pool, authInjection(pool, network), forward(), events)
  return [
    guard(parts.access), //         Host, Origin and access key are allowed
    exchange(parts.snapshot), //    the route; everything from here on is aborted when the client leaves
    metrics(parts), //              counted and timed at the end, however the request ends
    hostMiddleware(), //            the user's own Express middleware (`use`)
    localAnswers(pool), //          answered by the provider, without an upstream
    body(budget, tellOfParser), //  kept, so that it can be sent again
    localAnswers(pool, 'body'), //  answered by what the body says
    stickiness(pool.trails), //     which conversation and model
    pooledAnswer(pool, askOne), //  asks all accounts where one account's answer would be wrong for the pool
    retry(pool, askOne), //         asks accounts one after the other: auth injection → forward → judge
    respond(pool, parts), //        sends the chosen answer, byte for byte
    answerFailure(parts), //        answers whatever was thrown on the way
  ]
}
