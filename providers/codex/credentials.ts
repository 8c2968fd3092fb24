import type { CodexSettings } from '../../config/provider-entry.js'
import type { Credential, Inspection, Provider, ProviderAccount } from '../../config/provider.js'
import { fitsHeader } from '../http.js'
import { fields, text } from '../json.js'
import { fingerprint, jwtClaims, jwtExpiry } from '../tokens.js'

/** A ChatGPT login, as `codex login` leaves it in `auth.json`. */
interface Login {
  readonly kind: 'chatgpt'
  readonly accessToken: string
  readonly refreshToken: string | undefined
  readonly accountId: string | undefined
  readonly claims: Claims
}

interface Claims {
  readonly email: string | undefined
  readonly plan: string | undefined
  readonly fedramp: boolean
}

interface ApiKey {
  readonly kind: 'api-key'
  readonly key: string
}

/** A personal access token (`codex login --with-access-token`). It is for one workspace, which only a call tells. */
interface AccessToken {
  readonly kind: 'access-token'
  readonly token: string
}

const STANDBY = { never: 'when-alone', 'when-exhausted': 'when-exhausted', always: undefined } as const

/** What Codex would use of a file. If it holds tokens and a key, `auth_mode` decides; without it, the tokens win. */
export function readAuth(credential: Credential): Login | ApiKey | AccessToken | undefined {
  const { OPENAI_API_KEY, auth_mode, ...rest } = fields(credential) ?? {}
  const key = text(OPENAI_API_KEY)
  const tokens = fields(rest.tokens)
  const accessToken = text(tokens?.access_token)
  if (tokens && accessToken !== undefined && !(auth_mode === 'apikey' && key !== undefined)) {
    const refreshToken = text(tokens.refresh_token)
    const { accountId, ...claims } = readClaims(tokens.id_token, accessToken)
    return {
      kind: 'chatgpt',
      accessToken,
      refreshToken,
      accountId: text(tokens.account_id) ?? accountId,
      claims,
    }
  }
  if (key !== undefined) return { kind: 'api-key', key }
  const token = text(rest.personal_access_token)
  return token === undefined ? undefined : { kind: 'access-token', token }
}

export function isApiKey(credential: Credential): boolean {
  return readAuth(credential)?.kind === 'api-key'
}

/** Both tokens carry claims; an opaque access token has none. */
function readClaims(idToken: unknown, accessToken: string): Claims & { accountId: string | undefined } {
  const both = [jwtClaims(idToken) ?? {}, jwtClaims(accessToken) ?? {}]
  const auth = both.map((claims) => fields(claims['https://api.openai.com/auth']) ?? {})
  const profile = both.map((claims) => fields(claims['https://api.openai.com/profile']) ?? {})
  const first = (name: string) => auth.map((claims) => text(claims[name])).find(Boolean)
  return {
    accountId: first('chatgpt_account_id'),
    plan: first('chatgpt_plan_type'),
    email: [...both, ...profile].map(({ email }) => text(email)).find(Boolean),
    fedramp: auth.some((claims) => claims.chatgpt_account_is_fedramp === true),
  }
}

/** Reads an `auth.json`. */
export function inspect({ apiKeys }: ResolvedCodexSettings): NonNullable<Provider['inspect']> {
  return function inspect(credential): Inspection | string {
    const auth = readAuth(credential)
    if (!auth) return whyUnusable(credential)
    if (auth.kind === 'api-key') {
      if (!fitsHeader(auth.key))
        return 'OPENAI_API_KEY holds a space, a line break or another character no key has'
      return { kind: 'api-key', label: 'API key', refreshable: false, standby: STANDBY[apiKeys] }
    }
    if (auth.kind === 'access-token') {
      if (!fitsHeader(auth.token)) return 'its personal_access_token holds a character that no token has'
      return { kind: auth.kind, label: 'access token', expiresAt: jwtExpiry(auth.token) }
    }
    const { accessToken, refreshToken, accountId, claims } = auth
    if (!fitsHeader(accessToken)) return 'tokens.access_token holds a character that no token has'
    return {
      kind: 'chatgpt',
      identity: accountId,
      label: claims.email,
      plan: claims.plan,
      expiresAt: jwtExpiry(accessToken),
      refreshable: refreshToken !== undefined,
      login: refreshToken === undefined ? undefined : fingerprint(refreshToken),
    }
  }
}

/** `facts` are what `discover` found. `undefined` removes the client's header and sets none. */
export function authHeaders(
  credential: Credential,
  facts: ProviderAccount['facts'] = {},
): Record<string, string | undefined> {
  const auth = readAuth(credential)
  if (!auth) throw new Error(whyUnusable(credential))
  const { token, accountId, fedramp } = keyOf(auth, facts)
  return {
    authorization: `Bearer ${token}`,
    'chatgpt-account-id': accountId,
    // Codex sends it for accounts of the US government's cloud only; other backends refuse it.
    'x-openai-fedramp': fedramp ? 'true' : undefined,
  }
}

interface Key {
  readonly token: string
  readonly accountId?: string | undefined
  readonly fedramp?: boolean
}

function keyOf(auth: Login | ApiKey | AccessToken, facts: ProviderAccount['facts']): Key {
  if (auth.kind === 'api-key') return { token: auth.key }
  if (auth.kind === 'chatgpt')
    return { token: auth.accessToken, accountId: auth.accountId, fedramp: auth.claims.fedramp }
  return { token: auth.token, accountId: facts.accountId, fedramp: facts.fedramp === 'true' }
}

type Form = readonly [recognise: (credential: Credential) => unknown, reason: string]

const AGAIN = 'Run `codex-pool login codex`, or `codex login` and copy the new auth.json here'

/** Files that people put into pool folders by mistake, and the way out. */
const FORMS: readonly Form[] = [
  [Array.isArray, `is a list, not a login. ${AGAIN}`],
  [(it) => it.agent_identity, `holds an agent identity, which works for one machine only. ${AGAIN}`],
  [
    (it) => it.bedrock_api_key ?? it.bedrock_access_keys,
    'holds Amazon Bedrock keys, which neither upstream accepts',
  ],
  [(it) => it.access_token ?? it.expiry_date, 'looks like a Gemini CLI login: name it gemini_NAME.json'],
  [(it) => it.api_key, 'looks like a Gemini API key: name it gemini_NAME.json'],
  [
    (it) => it.token,
    'has a "token": such a file belongs to a bearer provider and is named PROVIDER_NAME.json',
  ],
  [(it) => it.type === 'service_account', 'is a Google service account, which Codex does not know'],
  [(it) => it.poolDir ?? it.routes ?? it.providers ?? it.listen, 'is a configuration, not a login'],
  [(it) => it.dependencies ?? it.compilerOptions, 'is a file of a program, not a login'],
  [(it) => fields(it.tokens), `has "tokens" without an access_token: the login did not finish. ${AGAIN}`],
  [(it) => 'OPENAI_API_KEY' in it, `is signed out: it holds neither tokens nor a key. ${AGAIN}`],
  [(it) => Object.keys(it).length === 0, `is empty. ${AGAIN}`],
]

/** Why a file is no account for Codex. Never repeats a value of the file. */
function whyUnusable(credential: Credential): string {
  if (typeof credential !== 'object' || credential === null) return `is not a JSON object. ${AGAIN}`
  const form = FORMS.find(([recognise]) => Boolean(recognise(credential)))
  const mode = text(credential.auth_mode) === undefined ? '' : ' of a kind that a pool cannot use'
  return form?.[1] ?? `is not an auth.json${mode}: it has neither "tokens" nor "OPENAI_API_KEY"`
}

/** Codex settings with every default filled in. */
export type ResolvedCodexSettings = Required<Omit<CodexSettings, 'type' | 'proxy'>>
