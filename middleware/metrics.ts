import type { RequestHandler } from 'express'
import type { Usage } from '../config/provider.js'
import type { Events } from '../src/telemetry/events.js'
import type { Metrics } from '../src/telemetry/metrics.js'
import type { Ledger } from '../src/usage/ledger.js'
import { exchangeOf, type Exchange } from './exchange.js'
import type { Explanations } from './explanation.js'

/** Shown for a request whose client left before it was answered; nginx's number for it. */
const CLIENT_LEFT = 499

export interface MetricsOptions {
  readonly metrics: Metrics
  readonly ledger: Ledger
  readonly events: Events
  readonly explanations: Explanations
}

/** Counts and times every request, once, at its end. */
export function metrics({ metrics: counters, ledger, events, explanations }: MetricsOptions): RequestHandler {
  return function metrics(request, response, next) {
    const exchange = exchangeOf(request)
    explanations.begin(exchange)
    response.once('close', () => {
      const status = response.headersSent ? response.statusCode : CLIENT_LEFT
      explanations.end(exchange, response.headersSent ? response.statusCode : undefined)
      count(counters, exchange, status)
      if (exchange.attempts.length > 0 && !isPooled(exchange)) ledger.record(recordOf(exchange, status))
      const { id, method, path, servedBy, attempts } = exchange
      const durationMs = Date.now() - exchange.startedAt
      events.emit('request', {
        id,
        method,
        path,
        status,
        account: servedBy?.key,
        attempts: attempts.length,
        durationMs,
      })
    })
    next()
  }
}

function count(metrics: Metrics, exchange: Exchange, status: number): void {
  const { prefix, attempts, servedBy, usage } = exchange
  const since = (at: number) => (at - exchange.startedAt) / 1000
  metrics.requests.inc({ status })
  metrics.duration.observe({ route: prefix }, since(Date.now()))
  if (exchange.firstByteAt !== undefined)
    metrics.firstByte.observe({ route: prefix }, since(exchange.firstByteAt))
  for (const attempt of attempts)
    metrics.accountRequests.inc({ account: idOf(attempt.account), status: attempt.status ?? 0 })
  if (isPooled(exchange)) return
  metrics.attempts.observe({ route: prefix }, attempts.length)
  const replays = attempts.slice(0, -1).filter(({ sent }) => sent).length
  if (replays > 0) metrics.replays.inc(replays)
  if (!servedBy || !usage) return
  recordTokens(metrics, servedBy.id, usage)
}

/** Many were asked, and none of them in another's place. */
const isPooled = ({ outcome }: Exchange): boolean => outcome?.kind === 'pooled'

export function recordTokens(metrics: Metrics, account: string, usage: Usage): void {
  const kinds = { input: usage.inputTokens, cached: usage.cachedTokens, output: usage.outputTokens }
  for (const [kind, tokens] of Object.entries(kinds))
    if (tokens !== undefined && tokens >= 0) metrics.tokens.inc({ account, kind }, tokens)
}

const idOf = (key: string): string => key.slice(key.indexOf('/') + 1)

function recordOf(exchange: Exchange, status: number): Parameters<Ledger['record']>[0] {
  const { route, servedBy, attempts } = exchange
  return {
    id: exchange.id,
    at: exchange.startedAt,
    provider: route.providerName,
    account: servedBy?.id ?? idOf(attempts.at(-1)!.account),
    route: route.path,
    model: exchange.model,
    conversation: exchange.conversationKey,
    client: exchange.client,
    status,
    attempts: attempts.length,
    durationMs: Date.now() - exchange.startedAt,
    firstByteMs: exchange.firstByteAt === undefined ? undefined : exchange.firstByteAt - exchange.startedAt,
    usage: exchange.usage,
  }
}
