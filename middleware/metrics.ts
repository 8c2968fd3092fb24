import type { RequestHandler } from 'express'
import type { Usage } from '../config/provider.js'
import type { Events, RequestEvent } from '../src/telemetry/events.js'
import type { Metrics } from '../src/telemetry/metrics.js'
import type { Ledger } from '../src/usage/ledger.js'
import { exchangeOf, type Exchange } from './exchange.js'
import { clientOf, type Explanations, reasonOf } from './explanation.js'

/** Shown for a request whose client left before it was answered; nginx's number for it. */
export const CLIENT_LEFT = 499

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
      const toldStatus = response.headersSent ? (exchange.toldStatus ?? response.statusCode) : undefined
      const status = toldStatus ?? CLIENT_LEFT
      explanations.end(exchange, toldStatus)
      count(counters, exchange, status)
      const { id, method, path, servedBy, attempts, startedAt, model, firstByteAt, usage } = exchange
      const last = attempts.at(-1)
      if (last && !isPooled(exchange)) {
        const account = servedBy?.id ?? idOf(last.account)
        ledger.record(requestRecord(exchange, { ...exchange, account, status, attempts: attempts.length }))
        if (status < 400 && exchange.usesQuota) servedBy?.count(exchange.model, exchange.usage)
      }
      const told = { id, method, path, status, account: servedBy?.key, attempts: attempts.length }
      events.emit('request', requestEvent(exchange, { ...told, model, startedAt, firstByteAt, usage }))
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
  if (servedBy && usage) recordTokens(metrics, servedBy.id, usage)
}

/** Many accounts were asked, and none of them in place of another. */
const isPooled = ({ outcome }: Exchange): boolean => outcome?.kind === 'pooled'

export function recordTokens(metrics: Metrics, account: string, usage: Usage): void {
  const kinds = { input: usage.inputTokens, cached: usage.cachedTokens, output: usage.outputTokens }
  for (const [kind, tokens] of Object.entries(kinds))
    if (tokens !== undefined && tokens >= 0) metrics.tokens.inc({ account, kind }, tokens)
}

const idOf = (key: string): string => key.slice(key.indexOf('/') + 1)

/** One request, or one response on a WebSocket, as the ledger keeps it. */
export function requestRecord(
  { route, conversationKey, client }: Exchange,
  told: {
    readonly id: string
    readonly account: string
    readonly model: string | undefined
    readonly status: number
    readonly attempts: number
    readonly startedAt: number
    readonly firstByteAt: number | undefined
    readonly usage: Usage | undefined
  },
): Parameters<Ledger['record']>[0] {
  const { id, account, model, status, attempts, startedAt, firstByteAt, usage } = told
  return {
    id,
    at: startedAt,
    provider: route.providerName,
    account,
    route: route.path,
    model,
    conversation: conversationKey,
    client,
    status,
    attempts,
    durationMs: Date.now() - startedAt,
    firstByteMs: firstByteAt === undefined ? undefined : firstByteAt - startedAt,
    usage,
  }
}

/** The same, as listeners are told it. */
export function requestEvent(
  exchange: Exchange,
  told: Pick<
    RequestEvent,
    'id' | 'method' | 'path' | 'status' | 'account' | 'attempts' | 'model' | 'usage'
  > & {
    readonly startedAt: number
    readonly firstByteAt: number | undefined
  },
): RequestEvent {
  const { startedAt, firstByteAt, ...rest } = told
  return {
    ...rest,
    durationMs: Date.now() - startedAt,
    firstByteMs: firstByteAt === undefined ? undefined : firstByteAt - startedAt,
    client: clientOf(exchange),
    reason: reasonOf(exchange),
  }
}
