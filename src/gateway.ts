import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import express, { type RequestHandler, type Router } from 'express'
import type { UserConfig } from '../config/config.js'
import type { Environment, Flags } from '../config/index.js'
import { ReplayBudget } from '../middleware/body.js'
import { Explanations } from '../middleware/explanation.js'
import { chain } from '../middleware/chain.js'
import { isOurs, scope } from '../middleware/scope.js'
import { WebSockets } from '../middleware/websocket/upgrade.js'
import { reportOf, type AccountReport } from './admin/account-report.js'
import { adminRouter, type ReloadReport } from './admin/router.js'
import { openAdminToken } from './admin/token.js'
import { ConfigError, readConfig, type ConfigSource } from './config-source.js'
import type { Pool } from './accounts/pool.js'
import { sweepLeftovers } from './accounts/leftovers.js'
import type { SkippedFile } from './accounts/registry.js'
import { Watcher } from './accounts/watcher.js'
import { standbyNotices } from './accounts/standby.js'
import { Events } from './events.js'
import { Health } from './health.js'
import { logEvents } from './log-events.js'
import { openLog, type Log } from './log.js'
import { Memory } from './memory.js'
import { Metrics } from './metrics.js'
import { Network } from './network.js'
import { assemblePool } from './pool-assembly.js'
import { settingsOf, type Settings } from './snapshot.js'
import { openStateStore } from './state/store.js'
import { builtinStrategies } from './strategies/index.js'
import { openLedger } from './usage/ledger.js'

export interface GatewayOptions {
  /** The path under which the host app mounts `middleware`; `upgrade` leaves other paths alone. @default '' (the root) */
  readonly mountPath?: string
  /** @default process.env */
  readonly env?: Environment
  /** What relative paths in flags and environment start from, and where a config file is looked for. @default process.cwd() */
  readonly cwd?: string
  /** Settings that go before all others. */
  readonly flags?: Flags
}

/** A running pool. Listens on no port itself: mount {@link Gateway.middleware}, or see `startServer`. */
export class Gateway {
  /** Express middleware: everything that goes to an upstream. Under a path of its own it answers 404 where no route matches. */
  readonly middleware: RequestHandler
  /** Express router: `/healthz`, `/metrics`, `/admin/…`. */
  readonly admin: Router
  /** For the `upgrade` event of the HTTP server. */
  readonly upgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => void
  /** Emits `request`, `attempt`, `refresh` and `cooldown`. */
  readonly events: Events
  readonly on: Events['on']
  readonly once: Events['once']
  readonly off: Events['off']

  /** @internal */
  constructor(private readonly parts: GatewayParts) {
    const { middleware, admin, upgrade, events } = parts
    this.middleware = middleware
    this.admin = admin
    this.upgrade = upgrade
    this.events = events
    this.on = events.on.bind(events)
    this.once = events.once.bind(events)
    this.off = events.off.bind(events)
  }

  get config(): Settings['config'] {
    return this.parts.settings().config
  }

  get log(): Log {
    return this.parts.log
  }

  /** State of every account; no secret. */
  accounts(): readonly AccountReport[] {
    return this.parts.accounts()
  }

  /** Files of the pool folder that are no accounts, and why. */
  skipped(): readonly SkippedFile[] {
    return this.parts.pool.accounts.skipped
  }

  /** What applies and is worth knowing at the start, in sentences. */
  notices(): readonly string[] {
    return standbyNotices(this.parts.pool.accounts.all())
  }

  /** Reads the configuration and the pool again. A bad configuration is reported, and the running one kept. */
  reload(): Promise<ReloadReport> {
    return this.parts.reload()
  }

  /** Before a stop: WebSockets end as soon as no response runs on them, in a way that makes clients connect again. */
  drain(): void {
    this.parts.drain()
  }

  /** Lets go of everything. Requests still running lose their upstream. A second call does nothing. */
  close(): Promise<void> {
    return this.parts.close()
  }
}

interface GatewayParts {
  readonly middleware: RequestHandler
  readonly admin: Router
  readonly upgrade: Gateway['upgrade']
  readonly events: Events
  readonly log: Log
  readonly settings: () => Settings
  readonly pool: Pool
  readonly accounts: () => readonly AccountReport[]
  readonly reload: () => Promise<ReloadReport>
  readonly drain: () => void
  readonly close: () => Promise<void>
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
  const { mountPath = '', env = process.env, cwd = process.cwd(), flags = {} } = options
  const source: ConfigSource = { config, cwd, env, flags }
  const builtins = builtinStrategies()
  let settings = settingsOf(await readConfig(source), builtins)
  const now = Date.now

  const log = openLog(settings.config.log)
  const store = await openStateStore(settings.config.database, {
    onTorn: (backup) => log.warn(`the database had unreadable lines; they are kept in ${backup}`),
  })
  const ledger = openLedger({
    database: settings.config.database,
    store,
    now,
    onDropped: (day) => log.warn(`no more request records are kept for ${day}: the day's limit is reached`),
  })
  const events = new Events()
  const explanations = new Explanations()
  const network = new Network()
  const closing = new AbortController()
  const memory = new Memory(store)
  const { pool, background } = assemblePool({
    settings: () => settings,
    memory,
    network,
    events,
    closing: closing.signal,
    now,
  })
  const metrics = new Metrics(pool.accounts, now)
  const failing = () => [
    store.failing && `state is not written: ${store.failing}`,
    ledger.failing && `request records are not written: ${ledger.failing}`,
  ]
  const health = new Health(pool.accounts, failing, now)
  logEvents({ events, log, health, metrics })
  const onUnexpected = (error: Error) => {
    log.error(error.stack ?? error.message)
    health.error(error.message)
  }
  const scan = async () => {
    await pool.accounts.scan(settings.config.poolDir, settings.providers)
    const twins = [...settings.providers.values()].flatMap((provider) => provider.twins ?? [])
    if (settings.config.watch) await watcher.watch({ poolDir: settings.config.poolDir, twins })
  }
  const watcher = new Watcher(() => {
    const hasTwin = (name: string) => (settings.providers.get(name)?.twins?.length ?? 0) > 0
    const look = () =>
      Promise.all(
        pool.accounts.all().map((account) => hasTwin(account.provider) && pool.tokens.lookAround(account)),
      )
    scan().then(look).catch(onUnexpected)
  })
  await sweepLeftovers(settings.config.poolDir)
  await scan()
  background.start()

  const access = () => settings.config.access
  const accounts = () => {
    const totals = ledger.totals()
    return pool.accounts.all().map((account) => reportOf(account, totals.get(account.id), now()))
  }

  async function reload(): Promise<ReloadReport> {
    try {
      const { listen, database } = settings.config
      // Neither can be changed while it is in use.
      settings = settingsOf({ ...(await readConfig(source)), listen, database }, builtins)
      health.configProblem = undefined
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      health.configProblem = `the configuration was not reloaded: ${error.message}`
      log.error(health.configProblem)
    }
    await scan()
    const { skipped } = pool.accounts
    return { accounts: pool.accounts.all().length, skipped, configProblem: health.configProblem }
  }

  const admin = adminRouter({
    access,
    token: await openAdminToken(settings.config.database),
    health,
    metrics,
    accounts,
    skipped: () => pool.accounts.skipped,
    explanations,
    reload,
    onUnexpected,
  })
  const budget = new ReplayBudget(() => settings.config.maxReplayTotalBytes)
  const parts = {
    pool,
    network,
    budget,
    snapshot: () => settings,
    access,
    metrics,
    ledger: () => ledger,
    explanations,
    events,
    onUnexpected,
  }
  const router = express.Router()
  router.use(
    scope(() => settings.routes),
    ...chain(parts),
  )
  const sockets = new WebSockets(parts)

  let closed: Promise<void> | undefined
  async function close(): Promise<void> {
    closing.abort()
    sockets.close()
    await watcher.close()
    await background.stop()
    await pool.tokens.settled()
    await ledger.close()
    await store.close()
    await network.close()
  }

  return new Gateway({
    middleware: router,
    admin,
    upgrade: (request, socket, head) => {
      const path = under(mountPath, request.url ?? '/')
      if (path === undefined || !isOurs(settings.routes, path)) return
      request.url = path
      void sockets.upgrade(request, socket as Socket, head)
    },
    events,
    log,
    settings: () => settings,
    pool,
    accounts,
    reload,
    drain: () => sockets.drain(),
    close: () => (closed ??= close()),
  })
}

/** The rest of a URL under a mount path; `undefined` if it is elsewhere. */
function under(mountPath: string, url: string): string | undefined {
  const prefix = mountPath.replace(/\/$/, '')
  if (!url.startsWith(prefix)) return undefined
  const rest = url.slice(prefix.length)
  return rest === '' || rest.startsWith('/') || rest.startsWith('?') ? rest || '/' : undefined
}
