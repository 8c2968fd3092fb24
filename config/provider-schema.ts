import type {
  BearerSettings,
  CodexSettings,
  CustomSettings,
  GeminiApiKeySettings,
  GeminiSettings,
  ProviderEntry,
} from './config.js'
import type { Login } from './provider.js'
import { boolean, callable, integer, list, named, object, oneOf, rule } from './schema-parts.js'

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

const login = object<Login>(
  {
    issuer: rule('text'),
    authorizeUrl: upstream,
    tokenUrl: upstream,
    clientId: rule('text'),
    clientSecret: rule('text'),
    scope: rule('text'),
    parameters: named({ type: 'string' }),
    callback: object<Login['callback']>({ port: integer(0, 65_535), path: rule('text') }, ['port', 'path']),
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
    twins: list(rule('text')),
    loginFields: list(rule('text')),
    refresh: callable,
    login,
    classify: callable,
    classifyEvent: callable,
    usage: callable,
    usageMarker: rule('text'),
    quota: callable,
    pollQuota: callable,
    socket: { type: 'object' },
    boundHeaders: list(rule('text')),
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
