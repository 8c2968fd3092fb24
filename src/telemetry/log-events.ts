import { standbyNotices } from '../accounts/selection.js'
import type { Accounts } from '../accounts/accounts.js'
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

/** Tells the log what has changed in the pool since it was last looked at. */
export class PoolNews {
  #known: ReadonlySet<string> | undefined
  #ids: ReadonlySet<string> = new Set()

  constructor(
    private readonly accounts: Accounts,
    private readonly log: Log,
  ) {}

  /** The first time nothing is news. */
  tell(): void {
    const { infos, warnings } = poolLines(this.accounts)
    const ids = new Set(this.accounts.all().map(({ key }) => key))
    const known = this.#known
    if (known) {
      for (const key of this.#ids) if (!ids.has(key)) this.log.info(`account ${key} has left the pool`)
      for (const line of infos) if (!known.has(line)) this.log.info(line)
      for (const line of warnings) if (!known.has(line)) this.log.warn(line)
    }
    this.#known = new Set([...infos, ...warnings])
    this.#ids = ids
  }
}

/** The pool in sentences: who is in it, what applies to them, and what is wrong with files. */
export function poolLines(accounts: Accounts): { infos: string[]; warnings: string[] } {
  const all = accounts.all()
  const members = all.map(
    ({ id, provider, inspection: { kind, plan } }) =>
      `account ${id}: ${[provider, kind, plan].filter(Boolean).join(', ')}`,
  )
  return {
    infos: [...members, ...standbyNotices(all)],
    warnings: [...accounts.skipped, ...accounts.warnings].map(({ file, reason }) => `${file}: ${reason}`),
  }
}
