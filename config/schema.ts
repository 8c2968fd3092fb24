import type {
  AccessConfig,
  BearerSettings,
  CodexSettings,
  CustomSettings,
  GeminiApiKeySettings,
  GeminiSettings,
  ProviderEntry,
  RetryPolicy,
  RouteEntry,
  UserConfig,
} from './config.js'
import type { LoginFlow } from './provider.js'
import type { RuleName } from './rules.js'

/** The part of JSON Schema that is used here, and `rule`: a check of ours by its name in `rules.ts`. */
export interface Schema {
  readonly [keyword: string]: unknown
}

export const rule = (name: RuleName): Schema => ({ rule: name })
export const callable = rule('callable')
export const boolean = { type: 'boolean' }
export const oneOf = (...values: string[]): Schema => ({ enum: values })
export const integer = (minimum: number, maximum: number = Number.MAX_SAFE_INTEGER): Schema => ({
  type: 'integer',
  minimum,
  maximum,
})
// setTimeout runs at once when it is given more than this.
export const ms = (minimum = 0): Schema => integer(minimum, 2_147_483_647)
export const list = (items: Schema): Schema => ({ type: 'array', items })
export const named = (values: Schema): Schema => ({ type: 'object', additionalProperties: values })

/** Every field of `T` has to be here: one that is forgotten would be refused as unknown. */
export function object<T>(properties: Record<keyof T, Schema>, required: (keyof T)[] = []): Schema {
  return { type: 'object', properties, required, additionalProperties: false }
}

/** `value`, or else what `schema` describes; `says` is what the error calls the two. */
export function valueOr(value: unknown, schema: Schema, says: string): Schema {
  return { if: { const: value }, else: { ...schema, says } }
}

const common = (type: ProviderEntry['type']) => ({ type: { const: type }, proxy: rule('proxy') })
const upstream = rule('upstream')

const codex = object<CodexSettings>({
  ...common('codex'),
  apiKeys: oneOf('never', 'when-exhausted', 'always'),
  allow: list(rule('text')),
  codexHome: rule('textOrFalse'),
  responsesBase: upstream,
  whamBase: upstream,
  refreshBase: upstream,
  openaiBase: upstream,
})

const gemini = object<GeminiSettings>({
  ...common('gemini'),
  upstream,
  refreshBase: upstream,
  loginBase: upstream,
  oauthClientId: rule('text'),
  oauthClientSecret: rule('text'),
})

const geminiApiKey = object<GeminiApiKeySettings>({ ...common('gemini-api-key'), upstream })

const bearer = object<BearerSettings>({ ...common('bearer'), upstream, credentials: rule('filePattern') }, [
  'upstream',
])

const login = object<LoginFlow>(
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

const custom = object<CustomSettings>(
  {
    ...common('custom'),
    upstream,
    authorize: callable,
    credentials: rule('filePattern'),
    inspect: callable,
    path: callable,
    conversation: callable,
    model: callable,
    serves: callable,
    replayable: callable,
    rewriteBody: callable,
    discover: callable,
    clientFiles: list(rule('text')),
    loginFields: list(rule('text')),
    refresh: callable,
    login,
    classify: callable,
    classifyEvent: callable,
    keepAlive: object<NonNullable<CustomSettings['keepAlive']>>({ afterMs: ms(1), event: rule('text') }, [
      'afterMs',
      'event',
    ]),
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
    failure: callable,
    aliases: callable,
  },
  ['upstream', 'authorize'],
)

/** One entry of `providers`; its `type` says which fields it has. */
export const providerEntry = {
  type: 'object',
  discriminator: { propertyName: 'type' },
  required: ['type'],
  oneOf: [codex, gemini, geminiApiKey, bearer, custom],
}

const retryPolicy = object<RetryPolicy>({
  attempts: integer(1),
  waitForCooldownMs: ms(),
  connectTimeoutMs: ms(1),
  headersTimeoutMs: ms(1),
  idleTimeoutMs: ms(1),
})

const strategyChoice = {
  if: { type: 'string' },
  else: {
    ...object<{ sticky: string }>({ sticky: rule('text') }, ['sticky']),
    says: 'a name or { sticky: NAME }',
  },
}

const route = object<RouteEntry>(
  {
    path: rule('routePath'),
    provider: rule('text'),
    strategy: strategyChoice,
    retry: rule('text'),
    websocket: boolean,
  },
  ['path', 'provider'],
)

const keys = { type: 'object', additionalProperties: rule('accessKey'), minProperties: 1 }

const access = object<AccessConfig>({
  hosts: list(rule('host')),
  origins: list(rule('origin')),
  keys: valueOr(false, keys, 'false or names with their keys'),
})

type Section<K extends 'refresh' | 'pins' | 'log'> = NonNullable<UserConfig[K]>

/** The shape of a `UserConfig`. */
export const configSchema = object<UserConfig>({
  listen: rule('listen'),
  poolDir: rule('text'),
  database: rule('textOrFalse'),
  providers: named(valueOr(false, providerEntry, 'the settings of a provider, or false')),
  strategies: named(callable),
  retry: named(retryPolicy),
  routes: list(route),
  builtinRoutes: boolean,
  access: valueOr('host-app', access, "'host-app' or { hosts, origins, keys }"),
  use: list(callable),
  maxReplayBytes: integer(0),
  maxReplayTotalBytes: integer(0),
  maxBodyBytes: integer(1),
  refresh: object<Section<'refresh'>>({ enabled: boolean, leadMs: ms(), spacingMs: ms(), timeoutMs: ms(1) }),
  watch: boolean,
  quotaPollMs: ms(),
  pins: object<Section<'pins'>>({ max: integer(1), idleMs: ms(1) }),
  log: object<Section<'log'>>({ level: oneOf('error', 'warn', 'info', 'debug', 'silent') }),
})
