import type { ErrorRequestHandler, RequestHandler } from 'express'
import type { ResolvedConfig } from '../config/config.js'
import type { Pool } from '../src/pool/pool.js'
import type { Network } from '../src/network.js'
import { attempt } from './attempt.js'
import { authInjection } from './auth-injection.js'
import { body, type ReplayBudget } from './body.js'
import { exchange, type Snapshot } from './exchange.js'
import { answerFailure, type FailureOptions } from './failure.js'
import { forward } from './forward.js'
import { guard } from './guard.js'
import { hostMiddleware } from './host-middleware.js'
import { localAnswers } from './local-answers.js'
import { metrics, type MetricsOptions } from './metrics.js'
import { pooledAnswer } from './pooled-answer.js'
import { respond } from './respond.js'
import { retry } from './retry.js'
import { stickiness } from './stickiness.js'

export interface ChainParts extends MetricsOptions, FailureOptions {
  readonly pool: Pool
  readonly network: Network
  readonly budget: ReplayBudget
  readonly snapshot: () => Snapshot
  readonly access: () => ResolvedConfig['access']
}

/** The life of one request, in this order. */
export function chain(parts: ChainParts): (RequestHandler | ErrorRequestHandler)[] {
  const { pool, network, budget, events } = parts
  const askOne = attempt(pool, authInjection(pool, network), forward(), events)
  return [
    guard(parts.access), //         who may come in: Host, Origin, access key
    exchange(parts.snapshot), //    which route; from here on everything ends when the client leaves
    metrics(parts), //              counted and timed at its end, however it ends
    hostMiddleware(), //            the user's own Express middleware (`use`)
    localAnswers(pool), //          what the gateway answers itself
    body(budget), //                kept, so that it can be sent again
    stickiness(), //                which conversation and model
    pooledAnswer(pool, askOne), //  asks all accounts, where one's answer would not do for all
    retry(pool, askOne), //         ask accounts, one after the other: auth injection → forward → verdict
    respond(pool), //               the chosen answer, byte for byte
    answerFailure(parts), //        whatever was thrown on the way
  ]
}
