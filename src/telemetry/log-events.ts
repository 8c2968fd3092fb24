import type { RefreshOutcome } from '../refresh/refresh.js'
import type { Events } from './events.js'
import type { Health } from './health.js'
import type { Log } from './log.js'
import type { Metrics } from './metrics.js'

/** Passes events to the log, `/healthz` and `/metrics`, and the outcome of a refresh to the listeners of `refresh`. */
export function logEvents(to: { events: Events; log: Log; health: Health; metrics: Metrics }): void {
  const { events, log, health, metrics } = to
  const warn = (message: string) => {
    log.warn(message)
    health.error(message)
  }
  events.on('refreshOutcome', ({ account, outcome }) => {
    const told = wordsOf(outcome)
    events.emit('refresh', { account, outcome: told })
    if (outcome.kind === 'written') return log.info(`${account}: its files hold its login again`)
    metrics.refreshes.inc({ outcome: COUNTED[outcome.kind] })
    if (outcome.kind === 'refreshed' || outcome.kind === 'adopted') log.info(`${account}: token ${told}`)
    else warn(`${account}: token refresh: ${told}`)
  })
  events.on('cooldown', ({ account, kind, reason, until, model }) => {
    const what = model === undefined ? kind : `${kind} for ${model}`
    log.info(`${account}: ${what} until ${new Date(until).toISOString()} (${reason})`)
  })
  events.on('state', ({ account, from, to }) => {
    // The way into any other state has been told with its reason.
    if (to === 'ready') log.info(`${account}: ready again, was ${from}`)
    if (to === 'disabled') log.info(`${account}: disabled, was ${from}`)
  })
  events.on('poll', ({ account, trouble }) => {
    if (trouble === undefined) log.info(`${account}: its quota is told again`)
    else warn(`${account}: its quota cannot be asked: ${trouble}`)
  })
  events.on('attempt', ({ id, account, status, outcome, durationMs }) => {
    if (outcome !== 'pass') health.error(`${account}: ${status ?? 'no answer'}: ${outcome}`)
    if (log.isDebugEnabled()) log.debug(`${id} ${account} ${status ?? '-'} ${outcome} ${durationMs} ms`)
  })
  events.on('request', ({ id, method, path, status, account, attempts, durationMs, reason }) => {
    const level = status >= 500 ? 'warn' : reason !== undefined ? 'info' : 'debug'
    if (level === 'debug' && !log.isDebugEnabled()) return
    const what = `${id} ${method} ${path} ${status} by ${account ?? 'the gateway'}`
    const why = reason === undefined ? '' : `: ${reason}`
    log[level](`${what} after ${attempts} attempts, ${durationMs} ms${why}`)
  })
}

/** How `/metrics` counts an outcome. */
const COUNTED = {
  refreshed: 'refreshed',
  unsaved: 'refreshed',
  adopted: 'adopted',
  'needs-login': 'failed',
  failed: 'failed',
} as const satisfies Partial<Record<RefreshOutcome['kind'], string>>

/** The outcome as the public event `refresh` tells it. */
function wordsOf(outcome: RefreshOutcome): string {
  switch (outcome.kind) {
    case 'unsaved':
      return `refreshed, but not written: ${outcome.reason}`
    case 'needs-login':
      return `needs login: ${outcome.reason}`
    case 'failed':
      return `failed: ${outcome.reason}`
    default:
      return outcome.kind
  }
}
