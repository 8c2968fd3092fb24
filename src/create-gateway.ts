import type { UserConfig } from '../config/config.js'
import { type Environment, type Flags, messageOf } from '../config/index.js'
import { AccountStore } from './accounts/account-store.js'
import { openAdminToken } from './admin/access.js'
import { Gateway } from './gateway.js'
import { Network } from './network.js'
import { Background } from './pool/background.js'
import { PoolFiles } from './pool/pool-files.js'
import { Pool } from './pool/pool.js'
import { CurrentSettings } from './settings.js'
import { openStores } from './usage/ledger.js'
import { Events } from './telemetry/events.js'
import { Health } from './telemetry/health.js'
import { logEvents } from './telemetry/log-events.js'
import { openLog, PoolLog } from './telemetry/log.js'
import { Metrics } from './telemetry/metrics.js'

export interface GatewayOptions {
  /** The path under which the host app mounts `middleware`; `upgrade` leaves other paths alone. @default '' (the root) */
  readonly mountPath?: string
  /** @default process.env */
  readonly env?: Environment
  /** What relative paths in flags and environment start from. @default process.cwd() */
  readonly cwd?: string
  /** Where a config file is looked for, and what the defaults `./pool` and `./data` are relative to. @default cwd */
  readonly home?: string
  /** Settings that go before all others. */
  readonly flags?: Flags
}

/**
 * Opens a pool.
 * @param config a configuration, a configuration file, or nothing: then a file is looked for, and without one the
 * defaults run
 * @throws {ConfigError} with every problem of the configuration
 * @throws `StoreLockedError`, `DatabaseError`
 */
export async function createGateway(
  config?: string | UserConfig,
  options: GatewayOptions = {},
): Promise<Gateway> {
  const { mountPath = '', env = process.env, cwd = process.cwd(), home = cwd, flags = {} } = options
  const now = Date.now
  const settings = await CurrentSettings.open({ config, cwd, home, env, flags })
  const log = openLog(settings.config.log)
  const stores = await openStores(settings.config, (message) => log.warn(message), now)
  const network = new Network()
  const events = new Events((event, error) => {
    metrics.listenerFailures.inc({ event })
    const message = `a listener of "${event}" failed: ${messageOf(error)}`
    log.error(message)
    health.error(message)
  })
  const closing = new AbortController()
  const pool = new Pool({
    settings: () => settings.current,
    store: new AccountStore(stores.state, (message) => log.warn(message)),
    network,
    events,
    closing: closing.signal,
    now,
  })
  const metrics = new Metrics(pool.accounts, now)
  const health = new Health({
    accounts: pool.accounts,
    configProblem: () => settings.problem,
    stores,
    log,
    now,
  })
  logEvents({ events, log, health, metrics })
  settings.onProviderError = (message) => {
    log.error(message)
    health.error(message)
  }
  const onUnexpected = (error: Error) => {
    log.error(error.stack ?? error.message)
    health.error(error.message)
  }
  const poolLog = new PoolLog(pool.accounts, log)
  const files = new PoolFiles({
    pool,
    onScanned: () => poolLog.scanned(),
    onError: onUnexpected,
    warn: (message) => log.warn(message),
  })
  const background = new Background({
    tokens: pool.tokens,
    accounts: () => pool.accounts.all(),
    settings: () => settings.config,
    pollQuota: (account) => pool.pollQuota(account),
    now,
  })
  await files.open()
  background.start()
  return new Gateway({
    mountPath,
    settings,
    log,
    stores,
    network,
    events,
    pool,
    background,
    files,
    metrics,
    health,
    adminToken: await openAdminToken(settings.config.database, (message) => log.warn(message)),
    closing,
    onUnexpected,
  })
}
