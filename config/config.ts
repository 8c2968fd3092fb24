import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AccountEntry, Strategy } from './account.js'
import type { BuiltinProvider, ProviderEntry } from './provider-entry.js'
import type { ListenAddress } from './rules.js'
import { hidden, hideInAddress } from './secrets.js'

/**
 * Express or Connect middleware. The types are Node's: with Express's own, every importer of a config type would need
 * `@types/express`, in our version. Written as a method, so that a handler that takes Express's `Request` fits.
 */
export type Middleware = {
  handle(request: IncomingMessage, response: ServerResponse, next: (error?: unknown) => void): void
}['handle']

export const builtinStrategies = ['least-used', 'pressure', 'round-robin', 'sticky'] as const
export type BuiltinStrategy = (typeof builtinStrategies)[number]

/** A name, or "keep a conversation on its account and place new ones with NAME". */
export type StrategyChoice<S extends string = string> = S | { sticky: Exclude<S, 'sticky'> }

export interface RouteEntry<P extends string = string, S extends string = string, R extends string = string> {
  /** A prefix that ends at a segment border; one that ends in `:` or `/` is a plain prefix. First match wins. */
  path: string
  /** Name of the provider that serves it. */
  provider: P
  /** @default 'sticky' */
  strategy?: StrategyChoice<S>
  /** `false`: upgrades are answered 426 at once, on which Codex uses HTTP without delay. @default true */
  websocket?: boolean
  /** Name of a retry policy. @default 'default' */
  retry?: R
}

export interface RetryPolicy {
  /** Tries that may fail for no fault of an account; 1 turns failover off. @default 3 (PROXY_MAX_ATTEMPTS for `default`) */
  attempts?: number
  /** How long a request may wait for the nearest cooldown to end; ms. @default 0 */
  waitForCooldownMs?: number
  /** How long a request may wait while as many run on an account as its `concurrency` allows; ms. @default 10000 */
  waitForSlotMs?: number
  /** TCP and TLS; ms. @default 10000 */
  connectTimeoutMs?: number
  /** From the end of the request to the response's head; ms. @default 300000 */
  headersTimeoutMs?: number
  /** Silence between two chunks of a response; ms. @default 600000 */
  idleTimeoutMs?: number
}

export interface AccessConfig {
  /** Names that a Host header may carry besides `localhost` and IP addresses. @default [] */
  hosts?: string[]
  /** Origins of web pages that may call the gateway: `https://example.com`. @default [] */
  origins?: string[]
  /**
   * Addresses of reverse proxies in front. A request with `X-Forwarded-For` from one of them comes from the address that it
   * names; all other requests with `X-Forwarded-For`, `Forwarded` or `Via` count as not from this machine. @default []
   */
  proxies?: string[]
  /**
   * Access keys, by name: `{ laptop: '…' }`, each key at least 16 letters, digits or `-._~` (it travels in a
   * path). `false` states that the network in front of a listener beyond loopback is trusted.
   * @default undefined (loopback only, no key asked)
   */
  keys?: Record<string, string> | false
}

/**
 * The configuration that a user writes. Paths are relative to the file. `P`, `S` and `R` are the names declared under
 * `providers`, `strategies` and `retry`. `NoInfer` because a route would otherwise declare the very name it misspells.
 */
export interface UserConfig<P extends string = string, S extends string = string, R extends string = string> {
  /** `host:port`, or `unix:PATH` for a Unix socket of mode 0600; port 0 picks a free one. @default `127.0.0.1:8989` (PROXY_LISTEN_ADDR) */
  listen?: string
  /** Folder of the credential files. @default `./pool` (POOL_DIR) */
  poolDir?: string
  /** State store; `false` keeps state in memory. @default `./data/proxy.db` (PROXY_DB_PATH) */
  database?: string | false
  /**
   * How accounts are used, by id (the file's name without `.json`) or by a pattern for ids such as `work_*`. All entries
   * that match an account apply, later ones over earlier ones. @default {}
   */
  accounts?: Record<string, AccountEntry>
  /** Merged by name over the built-in ones; `false` takes one away. */
  providers?: { [Name in P]: ProviderEntry | false }
  /** Strategies of your own, by name. */
  strategies?: { [Name in S]: Strategy }
  /** Retry policies, by name; `default` is used where a route names none. */
  retry?: { [Name in R]: RetryPolicy }
  /** Yours come first, the built-in ones follow. */
  routes?: RouteEntry<NoInfer<P> | BuiltinProvider, NoInfer<S> | BuiltinStrategy, NoInfer<R> | 'default'>[]
  /** `false` drops the built-in routes. @default true */
  builtinRoutes?: boolean
  /** `'host-app'`: the app that embeds the gateway has already decided who may come in. */
  access?: AccessConfig | 'host-app'
  /** Express middleware of your own, before the retry. @default [] */
  use?: Middleware[]
  /** Largest body that is kept for a second try; bytes. @default 16 MiB */
  maxReplayBytes?: number
  /** Same, of all requests together; bytes. @default 256 MiB */
  maxReplayTotalBytes?: number
  /** Largest body at all; bytes, 413 above. @default 256 MiB */
  maxBodyBytes?: number
  refresh?: {
    /** `false`: never call a token endpoint. @default true (PROXY_DISABLE_REFRESH=1 turns it off) */
    enabled?: boolean
    /**
     * How long before its end a token is refreshed; ms. At least 7 minutes if the client has a copy of the login, which it
     * refreshes 5 minutes before. @default 300000
     */
    leadMs?: number
    /** Pause between two background refreshes at one token endpoint; ms. @default 5000 */
    spacingMs?: number
    /** After this a token call is given up; ms. @default 10000 */
    timeoutMs?: number
  }
  /** Whether files that appear, change or vanish in the pool folder are noticed at once. @default true */
  watch?: boolean
  /** How often each account's quota is asked for; ms, ±20 %. 0: never. @default 300000 */
  quotaPollMs?: number
  pins?: {
    /** Conversations remembered; the least recently used are forgotten. @default 10000 */
    max?: number
    /** A conversation that has been silent for so long is forgotten; ms. @default 86400000 (24 h) */
    idleMs?: number
  }
  log?: {
    /** @default 'info' (PROXY_DEBUG=1: 'debug') */
    level?: 'error' | 'warn' | 'info' | 'debug' | 'silent'
  }
}

/** A {@link UserConfig} with every default filled in, so that no other file has a default. */
export interface ResolvedConfig {
  /** The file it came from; `undefined` for an object or none. */
  readonly file: string | undefined
  readonly listen: ListenAddress
  /** Absolute. */
  readonly poolDir: string
  /** Absolute. */
  readonly database: string | false
  /** As written. Which accounts the patterns match is known once the pool folder is read. */
  readonly accounts: Readonly<Record<string, AccountEntry>>
  readonly providers: Readonly<Record<string, ProviderEntry>>
  readonly strategies: Readonly<Record<string, Strategy>>
  readonly retry: Readonly<Record<string, Required<RetryPolicy>>>
  readonly routes: readonly ResolvedRoute[]
  readonly access:
    | {
        readonly hosts: string[]
        readonly origins: string[]
        readonly proxies: string[]
        readonly keys: Record<string, string> | false | undefined
      }
    | 'host-app'
  readonly use: readonly Middleware[]
  readonly maxReplayBytes: number
  readonly maxReplayTotalBytes: number
  readonly maxBodyBytes: number
  readonly refresh: Readonly<Required<NonNullable<UserConfig['refresh']>>>
  readonly watch: boolean
  readonly quotaPollMs: number
  readonly pins: Readonly<Required<NonNullable<UserConfig['pins']>>>
  readonly log: Readonly<Required<NonNullable<UserConfig['log']>>>
}

export interface ResolvedRoute {
  readonly path: string
  readonly provider: string
  /** Name of the strategy that picks the account of a request. */
  readonly strategy: string
  /** Whether a conversation stays on its account. */
  readonly sticky: boolean
  readonly retry: string
  readonly websocket: boolean
}

/**
 * Types a configuration: names that a route uses must be declared or built in, or it does not compile.
 * Returns its argument.
 */
export function defineConfig<P extends string = never, S extends string = never, R extends string = never>(
  config: UserConfig<P, S, R>,
): UserConfig<P, S, R> {
  return config
}

const MiB = 1024 * 1024

export const retryPolicy: Required<RetryPolicy> = {
  attempts: 3,
  waitForCooldownMs: 0,
  waitForSlotMs: 10_000,
  connectTimeoutMs: 10_000,
  headersTimeoutMs: 300_000,
  idleTimeoutMs: 600_000,
}

/** Fields that the resolved configuration takes as they were written. */
export const plainDefaults = {
  maxReplayBytes: 16 * MiB,
  maxReplayTotalBytes: 256 * MiB,
  maxBodyBytes: 256 * MiB,
  watch: true,
  quotaPollMs: 300_000,
}

export const defaults = {
  listen: '127.0.0.1:8989',
  poolDir: './pool',
  database: './data/proxy.db',
  builtinRoutes: true,
  strategy: 'sticky',
  placement: 'pressure',
  retry: 'default',
  ...plainDefaults,
  refresh: { enabled: true, leadMs: 300_000, spacingMs: 5_000, timeoutMs: 10_000 },
  pins: { max: 10_000, idleMs: 86_400_000 },
  log: { level: 'info' },
} as const

/** JSON-safe, for people: functions as `[function NAME]`, access keys and client secrets hidden. */
export function describeConfig(config: ResolvedConfig): Record<string, unknown> {
  const shown = describe(config) as Record<string, unknown>
  return { ...shown, access: describeAccess(config.access) }
}

function describeAccess(access: ResolvedConfig['access']): unknown {
  if (access === 'host-app' || !access.keys) return access
  return { ...access, keys: Object.fromEntries(Object.keys(access.keys).map((name) => [name, hidden])) }
}

function describe(value: unknown, key = ''): unknown {
  if (key === 'oauthClientSecret' || key === 'clientSecret') return hidden
  // A proxy's address may hold its password.
  if (typeof value === 'string') return URL.canParse(value) ? hideInAddress(value) : value
  if (typeof value === 'function') return value.name ? `[function ${value.name}]` : '[function]'
  if (Array.isArray(value)) return value.map((item) => describe(item))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, describe(field, name)]))
}
