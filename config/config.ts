import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Provider } from './provider.js'
import type { Strategy } from './account.js'

/**
 * Express or Connect middleware. Typed by Node alone: with Express's own types everybody who imports a config type would
 * need `@types/express`, in our version. Written as a method, so that what asks for Express's `Request` fits.
 */
export type Middleware = {
  handle(request: IncomingMessage, response: ServerResponse, next: (error?: unknown) => void): void
}['handle']

interface ProviderSettings {
  /** Proxy towards this provider's upstream and token endpoint. @default `HTTPS_PROXY`, unless `NO_PROXY` names the host */
  proxy?: string
}

/** Codex CLI over ChatGPT accounts and OpenAI API keys. */
export interface CodexSettings extends ProviderSettings {
  type: 'codex'
  /** API keys cost money per token. @default 'never' (while ChatGPT accounts exist) */
  apiKeys?: 'never' | 'when-exhausted' | 'always'
  /** More path families that may pass under `/backend-api`, such as `files/`. @default [] */
  allow?: string[]
  /**
   * Where Codex CLI keeps its own login. A pool file that is a copy of it is kept together with it; `false` never
   * looks there. @default `~/.codex` (CODEX_HOME)
   */
  codexHome?: string | false
  /** @default `https://chatgpt.com/backend-api/codex` (UPSTREAM_RESPONSES_BASE) */
  responsesBase?: string
  /** @default `https://chatgpt.com/backend-api` (UPSTREAM_WHAM_BASE) */
  whamBase?: string
  /** @default `https://auth.openai.com` (UPSTREAM_REFRESH_BASE) */
  refreshBase?: string
  /** For accounts that hold an API key. @default `https://api.openai.com/v1` (UPSTREAM_OPENAI_BASE) */
  openaiBase?: string
}

/** Gemini CLI over Code Assist OAuth accounts. */
export interface GeminiSettings extends ProviderSettings {
  type: 'gemini'
  /** @default `https://cloudcode-pa.googleapis.com` (UPSTREAM_GEMINI_BASE) */
  upstream?: string
  /** @default `https://oauth2.googleapis.com` (UPSTREAM_GEMINI_REFRESH_BASE) */
  refreshBase?: string
  /** The page where a person logs in. @default `https://accounts.google.com` (UPSTREAM_GEMINI_LOGIN_BASE) */
  loginBase?: string
  /** @default the Gemini CLI's public pair (GEMINI_OAUTH_CLIENT_ID) */
  oauthClientId?: string
  /** @default the Gemini CLI's public pair (GEMINI_OAUTH_CLIENT_SECRET) */
  oauthClientSecret?: string
}

/** The Gemini API with API keys. */
export interface GeminiApiKeySettings extends ProviderSettings {
  type: 'gemini-api-key'
  /** @default `https://generativelanguage.googleapis.com` (UPSTREAM_GEMINI_API_BASE) */
  upstream?: string
}

/** Any upstream that takes `Authorization: Bearer`, with `{ "token": "…" }` files. */
export interface BearerSettings extends ProviderSettings {
  type: 'bearer'
  upstream: string
  /** A glob on the file name. @default `NAME_*.json` */
  credentials?: string
}

/** A provider of your own. */
export interface CustomSettings extends ProviderSettings, Provider {
  type: 'custom'
}

export type ProviderEntry =
  CodexSettings | GeminiSettings | GeminiApiKeySettings | BearerSettings | CustomSettings

export type BuiltinProvider = 'codex' | 'gemini' | 'gemini-api-key'
export type BuiltinStrategy = 'round-robin' | 'least-used' | 'sticky'

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
   * Who may come in, by name: `{ laptop: '…' }`, each key at least 16 letters, digits or `-._~` (it travels in a
   * path). `false` states that the network in front of a listener beyond loopback is trusted.
   * @default undefined (loopback only, no key asked)
   */
  keys?: Record<string, string> | false
}

/**
 * What a user writes. Paths are relative to the file. `P`, `S` and `R` are the names declared under `providers`,
 * `strategies` and `retry`. `NoInfer` because a route would otherwise declare the very name it misspells.
 */
export interface UserConfig<P extends string = string, S extends string = string, R extends string = string> {
  /** `host:port`; port 0 picks a free one. @default `127.0.0.1:8989` (PROXY_LISTEN_ADDR) */
  listen?: string
  /** Folder of the credential files. @default `./pool` (POOL_DIR) */
  poolDir?: string
  /** State store; `false` keeps state in memory. @default `./data/proxy.db` (PROXY_DB_PATH) */
  database?: string | false
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
    /** How long before its end a token is renewed; ms. @default 300000 */
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

/** A {@link UserConfig} with every default filled in: nobody after this asks what is missing. */
export interface ResolvedConfig {
  /** The file it came from; `undefined` for an object or none. */
  readonly file: string | undefined
  readonly listen: { readonly host: string; readonly port: number }
  /** Absolute. */
  readonly poolDir: string
  /** Absolute. */
  readonly database: string | false
  readonly providers: Readonly<Record<string, ProviderEntry>>
  readonly strategies: Readonly<Record<string, Strategy>>
  readonly retry: Readonly<Record<string, Required<RetryPolicy>>>
  readonly routes: readonly ResolvedRoute[]
  readonly access:
    | {
        readonly hosts: string[]
        readonly origins: string[]
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
  /** Name of the strategy that places requests. */
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
