import type { CodexSettings, CommonFields } from '../../config/provider-entry.js'
import type { Credential, Inspection, Provider, ProviderAccount } from '../../config/provider.js'
import { fitsHeader } from '../http.js'
import { type Fields, fields, list, number, text } from '../json.js'
import { fingerprint, jwtClaims, jwtExpiry } from '../tokens.js'

/** A ChatGPT login, as `codex login` writes it into `auth.json`, or as another program keeps it. */
export interface Login {
  readonly kind: 'chatgpt'
  readonly accessToken: string
  readonly refreshToken: string | undefined
  readonly idToken: string | undefined
  readonly accountId: string | undefined
  readonly person: Person
  /** When the access token ends: by its own claim, else by the file; ms since 1970. */
  readonly expiresAt: number | undefined
  /** The OAuth client that the login was issued to, where the file or a token tells it. */
  readonly clientId: string | undefined
  /** Where in the file the tokens are. */
  readonly place: Place
}

/** The person that the tokens name. */
export interface Person {
  readonly userId: string | undefined
  readonly email: string | undefined
  readonly plan: string | undefined
  readonly fedramp: boolean
}

interface ApiKey {
  readonly kind: 'api-key'
  readonly key: string
}

/** A personal access token (`codex login --with-access-token`). Its workspace is found out by a call. */
interface AccessToken {
  readonly kind: 'access-token'
  readonly token: string
}

const ORDER = {
  never: 'when-alone',
  'when-needed': 'when-needed',
  'when-exhausted': 2,
  always: undefined,
} as const

/** Where a program keeps the tokens of a login, and their names there. */
interface Place {
  /** The field that holds them; the file itself if there is none. */
  readonly field: string | undefined
  readonly access: string
  readonly refresh: string
  readonly id: string
}

const OAUTH = { access: 'access_token', refresh: 'refresh_token', id: 'id_token' }
const CAMEL = { access: 'accessToken', refresh: 'refreshToken', id: 'idToken' }
const SHORT = { access: 'access', refresh: 'refresh', id: 'id_token' }

/** Codex itself first, then the forms of other programs: other poolers' flat files, cockpit's, opencode's and pi's. */
const PLACES: readonly Place[] = [
  { field: 'tokens', ...OAUTH },
  { field: 'tokens', ...CAMEL },
  { field: 'openai', ...SHORT },
  { field: 'openai-codex', ...SHORT },
  { field: 'chatgpt', ...OAUTH },
  { field: 'oauth', ...OAUTH },
  { field: 'token', ...OAUTH },
  { field: 'data', ...OAUTH },
  { field: 'credentials', ...OAUTH },
  { field: undefined, ...OAUTH },
  { field: undefined, ...CAMEL },
  { field: undefined, ...SHORT },
]

type Auth = Login | ApiKey | AccessToken

/** What was read, by credential: every request asks it of every account, and the tokens' claims are JSON to parse. */
const known = new WeakMap<Credential, Auth>()

/**
 * Reads the credential that Codex would use. Of tokens and a key `auth_mode` chooses; without it, the tokens win. It is
 * read once: a change of the login is another credential.
 */
export function readAuth(credential: Credential): Auth | undefined {
  const before = known.get(credential)
  if (before) return before
  const auth = authIn(credential)
  if (auth) known.set(credential, auth)
  return auth
}

function authIn(credential: Credential): Auth | undefined {
  const file = fields(credential) ?? {}
  const key = text(file.OPENAI_API_KEY)
  const login = file.auth_mode === 'apikey' && key !== undefined ? undefined : loginIn(file)
  if (login) return login
  if (key !== undefined) return { kind: 'api-key', key }
  const token = text(file.personal_access_token)
  return token === undefined ? undefined : { kind: 'access-token', token }
}

export function isApiKey(credential: Credential): boolean {
  return readAuth(credential)?.kind === 'api-key'
}

function loginIn(file: Fields): Login | undefined {
  for (const place of PLACES) {
    const holder = place.field === undefined ? file : fields(file[place.field])
    const accessToken = text(holder?.[place.access])
    if (!holder || accessToken === undefined) continue
    const refreshToken = text(holder[place.refresh])
    const idToken = text(holder[place.id])
    const { accountId = accountIn(file), ...person } = personOf(accessToken, idToken)
    const named = accountIn(holder) ?? accountId
    // The names other than `tokens` are used by other services as well.
    if (place.field !== 'tokens' && !isChatGpt({ holder, accessToken, refreshToken, named })) continue
    return {
      kind: 'chatgpt',
      accessToken,
      refreshToken,
      idToken,
      accountId: named,
      person: { ...person, email: person.email ?? text(file.email) },
      expiresAt: jwtExpiry(accessToken) ?? endOf(holder),
      clientId: clientOf(file, holder, accessToken, idToken),
      place,
    }
  }
  return undefined
}

const accountIn = (holder: Fields): string | undefined =>
  text(holder.account_id) ?? text(holder.chatgpt_account_id) ?? text(holder.accountId)

const AUTH = 'https://api.openai.com/auth'
const PROFILE = 'https://api.openai.com/profile'

interface Candidate {
  readonly holder: Fields
  readonly accessToken: string
  readonly refreshToken: string | undefined
  readonly named: string | undefined
}

/** Whether tokens in another program's form are ChatGPT's. Tokens of another service must not be sent to OpenAI. */
function isChatGpt({ holder, accessToken, refreshToken = '', named }: Candidate): boolean {
  const type = (text(holder.type) ?? text(holder.provider) ?? '').toLowerCase()
  if (!/^(codex|openai|chatgpt|oauth|bearer|)$/.test(type) || isGoogle(accessToken, refreshToken, holder))
    return false
  const claims = jwtClaims(accessToken)
  if (claims) return fields(claims[AUTH]) !== undefined || /\bopenai\.com\b/.test(text(claims.iss) ?? '')
  return type === 'codex' || type === 'chatgpt' || refreshToken.startsWith('rt_') || named !== undefined
}

function isGoogle(accessToken: string, refreshToken: string, holder: Fields): boolean {
  return accessToken.startsWith('ya29.') || refreshToken.startsWith('1//') || holder.expiry_date !== undefined
}

/** The end of an opaque access token as the file has it: ms or seconds since 1970, or an ISO date. */
function endOf(holder: Fields): number | undefined {
  const told = holder.expires ?? holder.expires_at ?? holder.expired
  const at = number(told) ?? Date.parse(text(told) ?? '')
  if (Number.isNaN(at)) return undefined
  return at >= 1e11 ? at : at * 1000
}

/** Reads the person from the claims of all tokens; an opaque token has none. */
export function personOf(...tokens: unknown[]): Person & { readonly accountId: string | undefined } {
  const all = tokens.map((token) => jwtClaims(token) ?? {})
  const auth = all.map((claims) => fields(claims[AUTH]) ?? {})
  const profile = all.map((claims) => fields(claims[PROFILE]) ?? {})
  const first = (name: string) => auth.map((claims) => text(claims[name])).find(Boolean)
  return {
    accountId: first('chatgpt_account_id'),
    userId: first('chatgpt_user_id') ?? first('user_id'),
    plan: first('chatgpt_plan_type'),
    email: [...all, ...profile].map(({ email }) => text(email)).find(Boolean),
    fedramp: auth.some((claims) => claims.chatgpt_account_is_fedramp === true),
  }
}

/** People of one workspace share its account id, so the identity is account id and user. */
export function identityOf(accountId: string | undefined, { userId, email }: Person): string | undefined {
  const user = userId ?? email?.toLowerCase()
  return accountId === undefined || user === undefined ? undefined : `${accountId}/${user}`
}

/** The OAuth client that the login was issued to. A refresh with another client's id is refused. */
function clientOf(file: Fields, holder: Fields, ...tokens: unknown[]): string | undefined {
  const provenance = fields(holder.oauth_provenance) ?? fields(file.oauth_provenance)
  const claimed = tokens.flatMap((token) => {
    const { client_id, azp, aud } = jwtClaims(token) ?? {}
    // The audience of an access token is often an API, not a client.
    const audience = [aud].flat().filter((one) => text(one)?.startsWith('app_'))
    return [client_id, azp, ...audience]
  })
  const told = [provenance?.client_id, holder.client_id, file.client_id, ...claimed]
  return told.map(text).find((id) => id !== undefined && /^[\w.-]{4,128}$/.test(id))
}

/** Reads an `auth.json`. */
export function inspect({
  apiKeys,
}: Pick<ResolvedCodexSettings, 'apiKeys'>): NonNullable<Provider['inspect']> {
  return function inspect(credential): Inspection | string {
    const auth = readAuth(credential)
    if (!auth) return whyUnusable(credential)
    if (auth.kind === 'api-key') {
      if (!fitsHeader(auth.key))
        return 'OPENAI_API_KEY holds a space, a line break or another character no key has'
      return { kind: 'api-key', label: 'API key', refreshable: false, order: ORDER[apiKeys] }
    }
    if (auth.kind === 'access-token') {
      if (!fitsHeader(auth.token)) return 'its personal_access_token holds a character that no token has'
      return { kind: auth.kind, label: 'access token', expiresAt: jwtExpiry(auth.token) }
    }
    const { accessToken, refreshToken, accountId, person } = auth
    if (!fitsHeader(accessToken)) return `its ${auth.place.access} holds a character that no token has`
    if (accountId !== undefined && !fitsHeader(accountId))
      return 'its account id holds a character that no id has'
    return {
      kind: 'chatgpt',
      identity: identityOf(accountId, person) ?? accountId,
      workspace: accountId,
      label: person.email,
      plan: person.plan,
      expiresAt: auth.expiresAt,
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

function keyOf(auth: Auth, facts: ProviderAccount['facts']): Key {
  if (auth.kind === 'api-key') return { token: auth.key }
  if (auth.kind === 'chatgpt')
    return { token: auth.accessToken, accountId: auth.accountId, fedramp: auth.person.fedramp }
  return { token: auth.token, accountId: facts.accountId, fedramp: facts.fedramp === 'true' }
}

type Form = readonly [recognise: (credential: Credential) => unknown, reason: string]

const AGAIN = 'Run `codex-pool login codex`, or `codex login` and copy the new auth.json here'

/** Recognises files that are often put into pool folders by mistake, and tells the way out. */
const FORMS: readonly Form[] = [
  [Array.isArray, `is a list, not a login. ${AGAIN}`],
  [(it) => it.agent_identity, `holds an agent identity, which works for one machine only. ${AGAIN}`],
  [
    (it) => it.bedrock_api_key ?? it.bedrock_access_keys,
    'holds Amazon Bedrock keys, which neither upstream accepts',
  ],
  [(it) => it.ciphertext ?? it.encrypted ?? it.nonce, `is encrypted by another program. ${AGAIN}`],
  [
    (it) => list(it.accounts).length > 0,
    'lists several accounts of another program: give each account a file of its own',
  ],
  [
    (it) => isGoogle(text(it.access_token) ?? '', text(it.refresh_token) ?? '', it),
    'looks like a Gemini CLI login: name it gemini_NAME.json',
  ],
  [(it) => text(it.api_key)?.startsWith('AIza'), 'looks like a Gemini API key: name it gemini_NAME.json'],
  [(it) => it.api_key, 'has an "api_key": a key of OpenAI stands in the field "OPENAI_API_KEY"'],
  [
    (it) =>
      PLACES.some(({ field, access }) => text((field === undefined ? it : fields(it[field]))?.[access])),
    `holds the login of another service than ChatGPT, or not all of one. ${AGAIN}`,
  ],
  [
    (it) => it.refresh_token ?? it.refreshToken ?? it.refresh,
    `has a refresh token without an access token. ${AGAIN}`,
  ],
  [
    (it) => text(it.token),
    'has a "token": such a file belongs to a bearer provider and is named PROVIDER_NAME.json',
  ],
  [
    (it) => it.anthropic ?? it.claudeAiOauth,
    `holds a login of Anthropic, which neither upstream accepts. ${AGAIN}`,
  ],
  [
    (it) => it['github.com'] ?? it['github-copilot'],
    `holds a login of GitHub Copilot, which neither upstream accepts. ${AGAIN}`,
  ],
  [
    (it) => text(fields(it.openai)?.key),
    'holds an API key in the form of another program: write { "OPENAI_API_KEY": "…" }',
  ],
  [(it) => it.type === 'service_account', 'is a Google service account, which Codex does not know'],
  [(it) => it.poolDir ?? it.routes ?? it.providers ?? it.listen, 'is a configuration, not a login'],
  [(it) => it.dependencies ?? it.compilerOptions, 'is a file of a program, not a login'],
  [(it) => fields(it.tokens), `has "tokens" without an access_token: the login did not finish. ${AGAIN}`],
  [(it) => 'OPENAI_API_KEY' in it, `is signed out: it holds neither tokens nor a key. ${AGAIN}`],
  [(it) => Object.keys(it).length === 0, `is empty. ${AGAIN}`],
]

/** Why a file is no account for Codex. Repeats no value of the file. */
function whyUnusable(credential: Credential): string {
  if (typeof credential !== 'object' || credential === null) return `is not a JSON object. ${AGAIN}`
  const form = FORMS.find(([recognise]) => Boolean(recognise(credential)))
  const mode = text(credential.auth_mode) === undefined ? '' : ' of a kind that a pool cannot use'
  return form?.[1] ?? `is not an auth.json${mode}: it has neither "tokens" nor "OPENAI_API_KEY"`
}

/** Codex settings with every default filled in. */
export type ResolvedCodexSettings = Required<Omit<CodexSettings, CommonFields>>
