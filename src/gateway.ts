import type { IncomingMessage, Server } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import express from 'express'
import type { Middleware, ResolvedConfig } from '../config/config.js'
import { forget, remember } from '../config/index.js'
import { ReplayBudget } from '../middleware/body.js'
import { chain } from '../middleware/chain.js'
import { Explanations } from '../middleware/explanation.js'
import { isOurs, scope } from '../middleware/exchange.js'
import { parserInFront, tellOnce } from '../middleware/parser-in-front.js'
import { toOriginForm } from '../middleware/web-pages.js'
import { ignoreUpgrade, offersWebSocket } from '../middleware/websocket/ignore-upgrade.js'
import { WebSockets } from '../middleware/websocket/upgrade.js'
import type { Background } from './pool/background.js'
import type { Pool } from './pool/pool.js'
import type { SkippedFile } from './accounts/accounts.js'
import { reportOf, type AccountReport } from './admin/reports.js'
import type { ReloadReport } from './admin/reports.js'
import { adminRouter } from './admin/router.js'
import type { Events } from './telemetry/events.js'
import type { Health } from './telemetry/health.js'
import { type Log, poolLines } from './telemetry/log.js'
import type { Metrics } from './telemetry/metrics.js'
import type { Network } from './network.js'
import type { PoolFiles } from './pool/pool-files.js'
import type { CurrentSettings } from './settings.js'
import { forecast, type Forecast } from './usage/forecast.js'
import type { Stores } from './usage/ledger.js'
import { type Grouping, usageBy, type UsageRow } from './usage/report.js'

/**
 * What a gateway is made of; see `create-gateway.ts`.
 * @internal
 */
export interface GatewayParts {
  readonly mountPath: string
  readonly settings: CurrentSettings
  readonly log: Log
  readonly stores: Stores
  readonly network: Network
  readonly events: Events
  readonly pool: Pool
  readonly background: Background
  readonly files: PoolFiles
  readonly metrics: Metrics
  readonly health: Health
  readonly adminToken: string
  /** Ends the gateway's own calls. */
  readonly closing: AbortController
  readonly onUnexpected: (error: Error) => void
}

/** A running pool. Listens on no port itself: mount {@link Gateway.middleware}, or see `startServer`. */
export class Gateway {
  /** Express middleware: everything that goes to an upstream. Under a path of its own it answers 404 where no route matches. */
  readonly middleware: Middleware
  /** Express router: `/healthz`, `/metrics`, `/admin/…`. */
  readonly admin: Middleware
  /** Emits `request`, `attempt`, `refresh` and `cooldown`. */
  readonly events: Events
  readonly on: Events['on']
  readonly once: Events['once']
  readonly off: Events['off']
  readonly #parts: GatewayParts
  readonly #sockets: WebSockets
  #closed: Promise<void> | undefined

  /** @internal */
  constructor(parts: GatewayParts) {
    this.#parts = parts
    remember(this, { adminToken: parts.adminToken })
    const { settings, stores, events, log } = parts
    const snapshot = () => settings.current
    const access = () => settings.config.access
    const explanations = new Explanations(stores.explanations)
    const budget = new ReplayBudget(() => settings.config.maxReplayTotalBytes)
    const tellOfParser = tellOnce((message) => log.warn(message))
    const links = { ...parts, snapshot, access, explanations, budget, ledger: stores.ledger, tellOfParser }
    const router = express.Router()
    router.use(
      scope(() => snapshot().routes),
      parserInFront(router, tellOfParser),
      ...chain(links),
    )
    this.middleware = router
    this.#sockets = new WebSockets(links)
    this.admin = adminRouter({ ...links, token: parts.adminToken, gateway: this })
    this.events = events
    this.on = events.on.bind(events)
    this.once = events.once.bind(events)
    this.off = events.off.bind(events)
  }

  get config(): ResolvedConfig {
    return this.#parts.settings.config
  }

  get log(): Log {
    return this.#parts.log
  }

  /** For the `upgrade` event of the HTTP server. */
  readonly upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    // An object of its own: other listeners of the app must still find the client's request as it came.
    const own = Object.create(request, {
      url: { value: request.url ?? '/', writable: true },
      headers: { value: { ...request.headers } },
    }) as IncomingMessage
    toOriginForm(own)
    const path = under(this.#parts.mountPath, own.url!)
    const ours = path !== undefined && isOurs(this.#parts.settings.current.routes, path)
    if (!ours || !offersWebSocket(request)) return leaveAlone(request, socket, head)
    own.url = path
    this.#sockets.upgrade(own, socket as Socket, head).catch((error: Error) => {
      this.#parts.onUnexpected(error)
      socket.destroy()
    })
  }

  /** State of every account; no secret. */
  accounts(): readonly AccountReport[] {
    const { pool, stores } = this.#parts
    const totals = stores.ledger.totals()
    return pool.accounts.all().map((account) => reportOf(account, totals.get(account.id), pool.now()))
  }

  /** When quota runs out, or what of it expires unused. Absent where too little is known. */
  forecast(): Forecast {
    const { pool, stores } = this.#parts
    const now = pool.now()
    const accounts = pool.accounts.all().map((account) => ({
      id: account.id,
      provider: account.provider,
      plan: account.plan,
      inUse: !account.disabled && account.loginNeeded === undefined,
      windows: account.windows.current(now),
    }))
    return forecast(accounts, stores.ledger.rollups(), now)
  }

  /** Requests and tokens since a time; ms since 1970. */
  usage(by: Grouping, since: number): readonly UsageRow[] {
    return usageBy(this.#parts.stores.ledger.rollups(), by, since)
  }

  /** Files of the pool folder that are not accounts, and why. */
  skipped(): readonly SkippedFile[] {
    return this.#parts.pool.accounts.skipped
  }

  /** The pool in sentences, as the log tells it at the start. */
  describe(): { readonly infos: readonly string[]; readonly warnings: readonly string[] } {
    return poolLines(this.#parts.pool.accounts)
  }

  /** Files that are accounts although something is wrong with them, and what. */
  warnings(): readonly SkippedFile[] {
    return this.#parts.pool.accounts.warnings
  }

  /** Reads the configuration and the pool again. A bad configuration is reported, and the running one kept. */
  async reload(): Promise<ReloadReport> {
    const { settings, files, log, pool, background } = this.#parts
    await settings.reload()
    if (settings.problem) log.error(settings.problem)
    await files.scan()
    pool.doubtAll()
    background.pollSoon()
    const { poolDir } = this.config
    return {
      poolDir,
      accounts: this.accounts().length,
      skipped: this.skipped(),
      configProblem: settings.problem,
    }
  }

  /**
   * Takes an account out of use, or back into it; kept over a restart. Requests that run on it may end.
   * `undefined` if there is no account of this id.
   */
  setDisabled(id: string, disabled: boolean): AccountReport | undefined {
    this.#parts.pool.setDisabled(id, disabled)
    return this.accounts().find((one) => one.id === id)
  }

  /**
   * Looks at an account again, or at all of them, whatever is known against it: a login that seems to be needed, a
   * cooldown, an exhaustion, a refresh that has failed. Only `disabled` stays.
   * @returns the accounts; none if there is no account of this id
   */
  retry(id?: string): readonly AccountReport[] {
    const { pool } = this.#parts
    const accounts = pool.accounts.all().filter((account) => id === undefined || account.id === id)
    for (const account of accounts) pool.retry(account)
    const ids = accounts.map((account) => account.id)
    return this.accounts().filter((report) => ids.includes(report.id))
  }

  /**
   * Redeems the account's reset credit that expires soonest. `undefined` if there is no account of this id.
   * @throws with the reason if there is none, or the upstream refuses
   */
  async redeem(id: string): Promise<AccountReport | undefined> {
    const { pool } = this.#parts
    const account = pool.accounts.all().find((one) => one.id === id)
    if (account) await pool.redeem(account)
    return this.accounts().find((report) => report.id === id)
  }

  /** Before a stop: WebSockets end as soon as no response runs on them, in a way that makes clients connect again. */
  drain(): void {
    this.#sockets.drain()
    this.events.emit('drain')
  }

  /**
   * Ends a server that this gateway is mounted in, and then the gateway: no new requests, and those that run may take a
   * while longer. A WebSocket ends after its turn.
   * @param graceMs after this, what still runs is cut; ms
   */
  async stop(server: Server, graceMs = 30_000): Promise<void> {
    this.drain()
    await closed(server, graceMs)
    await this.close()
  }

  /** Stops everything and releases the files. Requests still running lose their upstream. A second call does nothing. */
  close(): Promise<void> {
    return (this.#closed ??= this.#close())
  }

  async #close(): Promise<void> {
    const { closing, settings, files, background, pool, stores, network } = this.#parts
    // From here on no request may begin to refresh or to send. Refreshes in flight end.
    network.closed = true
    closing.abort()
    this.#sockets.close()
    await files.close()
    await background.stop()
    await pool.tokens.settled()
    await stores.close()
    await network.close()
    pool.accounts.close()
    forget(settings)
    forget(this)
  }
}

/** Resolves when a server has ended its last answer, or when the time is up. */
export function closed(server: Server, graceMs: number): Promise<void> {
  return new Promise((resolve) => {
    // A client may keep its connection open after the answer.
    const idle = setInterval(() => server.closeIdleConnections(), 100)
    const done = () => {
      clearInterval(idle)
      clearTimeout(deadline)
      resolve()
    }
    const deadline = setTimeout(() => {
      server.closeAllConnections()
      // The server no longer knows upgraded connections; the gateway ends them when it closes.
      done()
    }, graceMs)
    server.close(done)
    server.closeIdleConnections()
  })
}

/** The rest of a URL under a mount path; `undefined` if it is elsewhere. */
function under(mountPath: string, url: string): string | undefined {
  const prefix = mountPath.replace(/\/$/, '')
  if (!url.startsWith(prefix)) return undefined
  const rest = url.slice(prefix.length)
  return rest === '' || rest.startsWith('/') || rest.startsWith('?') ? rest || '/' : undefined
}

/**
 * An upgrade that is not the gateway's: the host app answers as it would without the gateway. Other listeners of the app
 * go first; an offer that none of them takes up, such as `h2c`, is ignored.
 */
function leaveAlone(request: IncomingMessage, socket: Duplex, head: Buffer): void {
  // Node has taken its own listener off: without one, a client that resets the connection ends the host's process.
  socket.on('error', () => socket.destroy())
  const { server } = socket as Duplex & { server?: Server }
  if (!server) return
  if (server.listenerCount('upgrade') === 1) return ignoreUpgrade(request, socket, head, server)
  if (offersWebSocket(request)) return
  setImmediate(() => {
    const untouched = socket.readableFlowing === null && !socket.writableEnded && !socket.destroyed
    if (untouched && (socket as Socket).bytesWritten === 0) ignoreUpgrade(request, socket, head, server)
  })
}
