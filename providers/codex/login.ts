import {
  type CallContext,
  type Credential,
  CredentialRejected,
  type DeviceCode,
  type DeviceProgress,
  type LoginFlow,
  type Provider,
  type TokenAnswer,
} from '../../config/provider.js'
import { join } from '../http.js'
import { fields, number, parseJson, text, type Fields } from '../json.js'
import { callTokenEndpoint, errorCode, jwtExpiry } from '../tokens.js'
import { authHeaders, type Login, readAuth, type ResolvedCodexSettings } from './credentials.js'

type Issuer = Pick<ResolvedCodexSettings, 'refreshBase'>

/** The OAuth client of Codex CLI's logins; public in its source. */
const CLIENT_ID = 'app_EMoamEEZ73f0CkXaXp7hrann'
const JSON_CALL = {
  'content-type': 'application/json',
  accept: 'application/json',
  'user-agent': 'codex-pool',
}

const FINAL: Readonly<Record<string, string>> = {
  refresh_token_expired: 'the refresh token has expired',
  refresh_token_reused: 'the refresh token was already used by another copy of this login',
  refresh_token_invalidated: 'the refresh token was revoked',
}

/** Every 401, and OAuth's code for a grant that is over (RFC 6749 §5.2). */
function isFinal(status: number, code: string | undefined): boolean {
  return (
    status === 401 || (status === 400 && code !== undefined && (code === 'invalid_grant' || code in FINAL))
  )
}

function explain(code: string): string {
  const what = FINAL[code] ?? `the login was refused (${code})`
  return `${what}: run \`codex-pool login codex\`, or \`codex login\` and copy the new auth.json into the pool`
}

/** Refreshes a ChatGPT login with the same request that Codex makes. */
export function refresh({ refreshBase }: Issuer): NonNullable<Provider['refresh']> {
  return async function refresh(credential, context) {
    const auth = readAuth(credential)
    if (auth?.kind !== 'chatgpt' || auth.refreshToken === undefined)
      throw new Error('there is no refresh token')
    const body = JSON.stringify({
      client_id: auth.clientId ?? CLIENT_ID,
      grant_type: 'refresh_token',
      refresh_reason: reasonFor(credential, auth.accessToken),
      refresh_token: auth.refreshToken,
    })
    const url = join(refreshBase, '/oauth/token')
    const answer = await callTokenEndpoint({ url, headers: JSON_CALL, body, isFinal, explain }, context)
    const refreshed = withTokens(credential, auth, answer)
    return { credential: refreshed, expiresAt: jwtExpiry(refreshed.tokens.access_token) }
  }
}

/**
 * Merges the tokens of the answer, each of which is optional, into the credential. None may be lost: the old refresh
 * token is spent. A login in another program's form is rewritten in Codex's form, which the client copy has.
 */
function withTokens(credential: Credential, login: Login, answer: Fields): Credential {
  const names = ['id_token', 'access_token', 'refresh_token'] as const
  const given = names.flatMap((name) =>
    text(answer[name]) === undefined ? [] : [[name, answer[name]] as const],
  )
  // A TypeError is read as a lost answer, after which the refresh token counts as possibly spent.
  if (given.length === 0) throw new TypeError('the token endpoint answered without a token')
  const { place, idToken, accessToken, refreshToken, accountId } = login
  const isOwn = place.field === 'tokens' && place.access === 'access_token'
  const kept = isOwn
    ? fields(credential.tokens)
    : { id_token: idToken, access_token: accessToken, refresh_token: refreshToken, account_id: accountId }
  const tokens = { ...kept, ...Object.fromEntries(given) }
  const rest = isOwn ? credential : withoutTokens(credential, place)
  return { ...rest, tokens, last_refresh: new Date().toISOString() }
}

/** Sets the old token fields to null: a field that is only left out stays in the file, and is read as a second login. */
function withoutTokens(credential: Credential, { field, access, refresh, id }: Login['place']): Credential {
  const without = (holder: Fields) =>
    Object.fromEntries(
      Object.entries(holder).map(([name, value]) => [
        name,
        [access, refresh, id].includes(name) ? null : value,
      ]),
    )
  return field === undefined
    ? without(credential)
    : { ...credential, [field]: without(fields(credential[field]) ?? {}) }
}

const SOON_MS = 10 * 60_000
/** Codex refreshes a login after this time if the access token does not tell its end. */
const OLD_MS = 8 * 86_400_000

function reasonFor({ last_refresh }: Credential, accessToken: string): string {
  const expiresAt = jwtExpiry(accessToken)
  if (expiresAt !== undefined && expiresAt - Date.now() < SOON_MS) return 'proactive_expiry'
  const age = Date.now() - Date.parse(String(last_refresh))
  return expiresAt === undefined && age > OLD_MS ? 'scheduled' : 'unauthorized_recovery'
}

/** Asks for the account of a personal access token, which the token does not name. Codex asks in the same way. */
export function discover({ refreshBase }: Issuer): NonNullable<Provider['discover']> {
  return async function discover({ credential }, { fetch, signal }) {
    const kind = readAuth(credential)?.kind ?? 'unknown'
    // `kind` is stored as a fact: without any fact, every request would ask again.
    if (kind !== 'access-token') return { kind }
    const { authorization = '' } = authHeaders(credential)
    const headers = { authorization, accept: 'application/json', 'user-agent': 'codex-pool' }
    const url = join(refreshBase, '/api/accounts/v1/user-auth-credential/whoami')
    const response = await fetch(url, { headers, signal, redirect: 'manual' })
    const answer = fields(parseJson(await response.text()))
    if (response.status === 401)
      throw new CredentialRejected(
        'access_token_refused',
        'the personal access token was refused: make a new one',
      )
    const accountId = text(answer?.chatgpt_account_id)
    if (!response.ok || accountId === undefined) throw new Error(`whoami answered ${response.status}`)
    return { kind, accountId, ...(answer?.chatgpt_account_is_fedramp === true && { fedramp: 'true' }) }
  }
}

/** The login of Codex CLI. Its OAuth client accepts only this callback. */
export function login(issuer: Issuer): LoginFlow {
  const { refreshBase } = issuer
  return {
    issuer: 'https://auth.openai.com',
    authorizeUrl: join(refreshBase, '/oauth/authorize'),
    tokenUrl: join(refreshBase, '/oauth/token'),
    clientId: CLIENT_ID,
    scope: 'openid profile email offline_access api.connectors.read api.connectors.invoke',
    parameters: {
      // Without this parameter the ID token does not name the account's workspaces.
      id_token_add_organizations: 'true',
      codex_cli_simplified_flow: 'true',
      originator: 'codex_cli_rs',
    },
    callback: { port: 1455, path: '/auth/callback' },
    singleUse: true,
    credential: credentialFrom,
    device: (context) => deviceCode(issuer, context),
  }
}

/** The `auth.json` that `codex login` would write. */
function credentialFrom(answer: TokenAnswer): Credential | string {
  const [id_token, access_token, refresh_token] = ['id_token', 'access_token', 'refresh_token'].map((name) =>
    text(answer[name]),
  )
  if (access_token === undefined) return 'the issuer gave no access token'
  if (refresh_token === undefined)
    return 'the issuer gave no refresh token, so the login would end within days'
  const tokens = { id_token, access_token, refresh_token }
  const auth = readAuth({ tokens })
  const account_id = auth?.kind === 'chatgpt' ? auth.accountId : undefined
  return {
    auth_mode: 'chatgpt',
    OPENAI_API_KEY: null,
    tokens: { ...tokens, account_id },
    last_refresh: new Date().toISOString(),
  }
}

/** The issuer does not tell how long a code lives; Codex gives up after this time. */
const LIFETIME_MS = 15 * 60_000
const SECONDS_BETWEEN_POLLS = 5

/**
 * OpenAI's own device flow, which differs from RFC 8628: the code is exchanged for an authorization code, and the
 * issuer chooses the PKCE verifier.
 */
async function deviceCode({ refreshBase }: Issuer, context: CallContext): Promise<DeviceCode> {
  const post = (path: string, body: object, context: CallContext) =>
    postJson(join(refreshBase, `/api/accounts/deviceauth/${path}`), body, context)
  const { status, answer } = await post('usercode', { client_id: CLIENT_ID }, context)
  if (status === 404) throw new Error('the issuer gives no device codes; log in with --browser')
  const device_auth_id = text(answer.device_auth_id)
  const user_code = text(answer.user_code) ?? text(answer.usercode)
  if (device_auth_id === undefined || user_code === undefined)
    throw new Error(`the issuer answered ${status} to the request for a device code`)
  return {
    page: join(refreshBase, '/codex/device'),
    code: user_code,
    intervalMs: Math.max(1, number(answer.interval) ?? SECONDS_BETWEEN_POLLS) * 1000,
    expiresAt: Date.now() + LIFETIME_MS,
    poll: async (context) => {
      const polled = await post('token', { device_auth_id, user_code }, context)
      return progressOf(polled, join(refreshBase, '/deviceauth/callback'))
    },
  }
}

interface Answered {
  readonly status: number
  readonly answer: Fields
}

const REFUSALS: Readonly<Record<string, string>> = {
  access_denied: 'the login was refused in the browser',
  expired_token: 'the code has expired; start again',
}

function progressOf({ status, answer }: Answered, redirectUri: string): DeviceProgress {
  const code = text(answer.authorization_code)
  const verifier = text(answer.code_verifier)
  if (status === 200 && code !== undefined && verifier !== undefined)
    return { kind: 'granted', code, verifier, redirectUri }
  const refusal = REFUSALS[errorCode(answer) ?? '']
  if (refusal !== undefined) return { kind: 'refused', reason: refusal }
  // Codex takes both statuses as "not entered yet", whatever the body says.
  if (status === 403 || status === 404) return { kind: 'pending' }
  if (status === 429 || status >= 500) throw new Error(`the issuer answered ${status}`)
  return { kind: 'refused', reason: `the issuer answered ${status} instead of a login` }
}

async function postJson(url: string, body: object, { fetch, signal }: CallContext): Promise<Answered> {
  const init = { method: 'POST', headers: JSON_CALL, redirect: 'manual' as const, signal }
  const response = await fetch(url, { ...init, body: JSON.stringify(body) })
  return { status: response.status, answer: fields(parseJson(await response.text())) ?? {} }
}
