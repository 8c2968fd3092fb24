import type { CommonFields, GeminiSettings } from '../../config/provider-entry.js'
import { timeFrom } from '../../config/index.js'
import type { Credential, Inspection, LoginFlow, Provider, TokenAnswer } from '../../config/provider.js'
import { fitsHeader, join } from '../http.js'
import { type Fields, fields, number, text, time } from '../json.js'
import { callTokenEndpoint, fingerprint, jwtClaims } from '../tokens.js'

const WAY_OUT =
  'Run `codex-pool login gemini`, or log in with Gemini CLI and copy oauth_creds.json here as gemini_NAME.json'

/** Reads an `oauth_creds.json`, a login of gcloud's (`authorized_user`), or a file with the login under `token`. */
export function inspect(credential: Credential): Inspection | string {
  const file = fields(credential)
  if (!file) return `is not a JSON object. ${WAY_OUT}`
  const login = loginOf(file)
  const accessToken = text(login.access_token)
  const refreshToken = text(login.refresh_token)
  if (accessToken === undefined && refreshToken === undefined) return whyUnusable(file)
  if (accessToken !== undefined && !fitsHeader(accessToken))
    return 'its access_token holds a character that no token has'
  const email = text(jwtClaims(login.id_token)?.email) ?? text(file.email) ?? text(file.account)
  return {
    kind: 'code-assist',
    identity: email,
    label: email,
    // Without an access token the file is refreshed before its first use.
    expiresAt: accessToken === undefined ? 0 : time(login.expiry_date ?? login.expiry),
    refreshable: refreshToken !== undefined,
    login: refreshToken === undefined ? undefined : fingerprint(refreshToken),
  }
}

/** Other pools keep the login in a field of its own. */
function loginOf(file: Fields): Fields {
  const inner = fields(file.token)
  return inner?.access_token === undefined && inner?.refresh_token === undefined ? file : inner
}

function whyUnusable(file: Fields): string {
  if (file.api_key !== undefined) return 'holds an API key, which is no Code Assist login'
  if (file.type === 'service_account')
    return `is a service account, which Code Assist does not take. ${WAY_OUT}`
  if (/external_account|impersonated/.test(text(file.type) ?? ''))
    return `is a workload identity of Google Cloud, which Code Assist does not take. ${WAY_OUT}`
  if (file.installed !== undefined || file.web !== undefined)
    return `is an OAuth client, not a login. ${WAY_OUT}`
  if (file.tokens !== undefined || file.OPENAI_API_KEY !== undefined)
    return 'is a login of Codex CLI, which Google does not take'
  if (file.active !== undefined) return `is Gemini CLI's list of accounts, not a login. ${WAY_OUT}`
  return `has neither access_token nor refresh_token. ${WAY_OUT}`
}

export function authHeaders(credential: Credential): Record<string, string> {
  const token = text(loginOf(credential).access_token)
  if (token === undefined) throw new Error('there is no access token')
  return { authorization: `Bearer ${token}` }
}

/** Gemini settings with every default filled in. */
export type ResolvedGeminiSettings = Required<Omit<GeminiSettings, CommonFields>>

/** The grant is over, or belongs to another client (RFC 6749 §5.2). `invalid_client` is not here: the login is fine. */
const FINAL = new Set(['invalid_grant', 'unauthorized_client'])

function explain(code: string): string {
  const what =
    code === 'unauthorized_client'
      ? 'this login was issued to another OAuth client than the one configured (GEMINI_OAUTH_CLIENT_ID)'
      : 'the refresh token has expired or was revoked'
  return `${what}: run \`codex-pool login gemini\`, or log in with Gemini CLI and copy oauth_creds.json into the pool`
}

/** Refreshes a login at Google's token endpoint. The refresh token stays valid. */
export function refresh(settings: ResolvedGeminiSettings): NonNullable<Provider['refresh']> {
  const { refreshBase } = settings
  return async function refresh(credential, context) {
    const login = loginOf(credential)
    const refreshToken = text(login.refresh_token)
    if (refreshToken === undefined) throw new Error('there is no refresh token')
    const body = new URLSearchParams({
      refresh_token: refreshToken,
      ...clientOf(login, settings),
      grant_type: 'refresh_token',
    })
    const call = {
      url: join(refreshBase, '/token'),
      headers: {
        'content-type': 'application/x-www-form-urlencoded;charset=UTF-8',
        'user-agent': 'codex-pool',
      },
      body: body.toString(),
      isFinal: (status: number, code: string | undefined) =>
        status < 500 && code !== undefined && FINAL.has(code),
      explain,
    }
    const { expires_in, ...answer } = await callTokenEndpoint(call, context)
    if (text(answer.access_token) === undefined)
      throw new Error('the token endpoint answered without a token')
    const expiresAt = endOf(expires_in)
    // Files have the time of expiry, not the lifetime: Gemini CLI's in ms, others as a date.
    const expiry =
      login.expiry === undefined
        ? { expiry_date: expiresAt }
        : { expiry: expiresAt && new Date(expiresAt).toISOString() }
    const refreshed = { ...login, ...answer, ...expiry }
    return { credential: login === credential ? refreshed : { ...credential, token: refreshed }, expiresAt }
  }
}

/** A refresh token works only with the OAuth client that it was issued to; some files name theirs. */
function clientOf(
  login: Fields,
  settings: ResolvedGeminiSettings,
): { client_id: string; client_secret: string } {
  const id = text(login.client_id)
  const secret = text(login.client_secret)
  return id === undefined || secret === undefined
    ? { client_id: settings.oauthClientId, client_secret: settings.oauthClientSecret }
    : { client_id: id, client_secret: secret }
}

/** When a token that has just been issued ends; ms since 1970. */
function endOf(expiresIn: unknown): number | undefined {
  const seconds = number(expiresIn)
  return seconds === undefined ? undefined : timeFrom(Date.now() + seconds * 1000)
}

/** The Gemini CLI's scopes: packages/core/src/code_assist/oauth2.ts of google-gemini/gemini-cli. */
const SCOPES = ['cloud-platform', 'userinfo.email', 'userinfo.profile'].map(
  (scope) => `https://www.googleapis.com/auth/${scope}`,
)

/** The login of Gemini CLI. Google accepts any port of 127.0.0.1 from an installed app. */
export function login(settings: ResolvedGeminiSettings): LoginFlow {
  const { loginBase, refreshBase, oauthClientId, oauthClientSecret } = settings
  return {
    issuer: 'https://accounts.google.com',
    authorizeUrl: join(loginBase, '/o/oauth2/v2/auth'),
    tokenUrl: join(refreshBase, '/token'),
    clientId: oauthClientId,
    clientSecret: oauthClientSecret,
    scope: SCOPES.join(' '),
    // The browser is often signed in with another account; and without a new consent there may be no refresh token.
    parameters: { access_type: 'offline', prompt: 'select_account consent' },
    callback: { port: 0, path: '/oauth2callback' },
    credential,
  }
}

/** An `oauth_creds.json` as Gemini CLI writes it. */
function credential({ expires_in, ...answer }: TokenAnswer): Credential | string {
  if (text(answer.access_token) === undefined) return 'Google gave no access token'
  if (text(answer.refresh_token) === undefined)
    return 'Google gave no refresh token, so the login would end within the hour'
  const expiresAt = endOf(expires_in)
  return { ...answer, ...(expiresAt !== undefined && { expiry_date: expiresAt }) }
}
