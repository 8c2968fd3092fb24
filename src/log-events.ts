import type { Events } from './events.js'
import type { Health } from './health.js'
import type { Log } from './log.js'
import type { Metrics } from './metrics.js'

/** Tells the log, `/healthz` and `/metrics` what happens. */
export function logEvents(to: { events: Events; log: Log; health: Health; metrics: Metrics }): void {
  const { events, log, health, metrics } = to
  events.on('refresh', ({ account, outcome }) => {
    if (outcome === 'written') return log.info(`${account}: its files hold its login again`)
    const good = outcome === 'refreshed' || outcome === 'adopted'
    metrics.refreshes.inc({ outcome: good ? outcome : 'failed' })
    if (good) return log.info(`${account}: token ${outcome}`)
    log.warn(`${account}: token refresh: ${outcome}`)
    health.error(`${account}: token refresh: ${outcome}`)
  })
  events.on('cooldown', ({ account, kind, reason, until, model }) => {
    const what = model === undefined ? kind : `${kind} for ${model}`
    log.info(`${account}: ${what} until ${new Date(until).toISOString()} (${reason})`)
  })
  events.on('attempt', ({ id, account, status, outcome, durationMs }) => {
    if (outcome !== 'pass') health.error(`${account}: ${status ?? 'no answer'}: ${outcome}`)
    if (log.isDebugEnabled()) log.debug(`${id} ${account} ${status ?? '-'} ${outcome} ${durationMs} ms`)
  })
  events.on('request', ({ id, method, path, status, account, attempts, durationMs }) => {
    const failed = status >= 500
    if (!failed && !log.isDebugEnabled()) return
    const what = `${id} ${method} ${path} ${status} by ${account ?? 'the gateway'}`
    log[failed ? 'warn' : 'debug'](`${what} after ${attempts} attempts, ${durationMs} ms`)
  })
}
