import type { GeminiSettings } from '../../config/config.js'
import type { Credential, Inspection, LoginFlow, Provider, TokenAnswer } from '../../config/provider.js'
import { fitsHeader, join } from '../http.js'
import { fields, number, text } from '../json.js'
import { callTokenEndpoint, fingerprint, jwtClaims } from '../tokens.js'

const AGAIN =
  'Run `codex-pool login gemini`, or log in with Gemini CLI and copy oauth_creds.json here as gemini_NAME.json'

/** Looks into an `oauth_creds.json`. */
export function inspect(credential: Credential): Inspection | string {
  const file = fields(credential)
  if (!file) return `is not a JSON object. ${AGAIN}`
  const accessToken = text(file.access_token)
  const refreshToken = text(file.refresh_token)
  if (accessToken === undefined && refreshToken === undefined) return whyUnusable(file)
  if (accessToken !== undefined && !fitsHeader(accessToken))
    return 'its access_token holds a character that no token has'
  const email = text(jwtClaims(file.id_token)?.email)
  return {
    kind: 'code-assist',
    identity: email,
    label: email,
    // A file that holds no access token yet is one whose token has ended.
    expiresAt: accessToken === undefined ? 0 : number(file.expiry_date),
    refreshable: refreshToken !== undefined,
    login: refreshToken === undefined ? undefined : fingerprint(refreshToken),
  }
}

function whyUnusable(file: Credential): string {
  if (file.api_key !== undefined) return 'holds an API key, which is no Code Assist login'
  if (file.type === 'service_account')
    return `is a service account, which Code Assist does not take. ${AGAIN}`
  if (file.installed !== undefined || file.web !== undefined)
    return `is an OAuth client, not a login. ${AGAIN}`
  if (file.tokens !== undefined || file.OPENAI_API_KEY !== undefined)
    return 'looks like a login of Codex CLI: name it without "gemini_"'
  if (file.active !== undefined) return `is Gemini CLI's list of accounts, not a login. ${AGAIN}`
  return `has neither access_token nor refresh_token. ${AGAIN}`
}

export function authHeaders(credential: Credential): Record<string, string> {
  const token = text(credential.access_token)
  if (token === undefined) throw new Error('there is no access token')
  return { authorization: `Bearer ${token}` }
}

/** Gemini settings with every default filled in. */
export type ResolvedGeminiSettings = Required<Omit<GeminiSettings, 'type' | 'proxy'>>

/** The grant is over, or belongs to another client (RFC 6749 §5.2). A wrong client id is no fault of the login. */
const FINAL = new Set(['invalid_grant', 'unauthorized_client'])

function explain(code: string): string {
  const what =
    code === 'unauthorized_client'
      ? 'this login was issued to another OAuth client than the one configured (GEMINI_OAUTH_CLIENT_ID)'
      : 'the refresh token has expired or was revoked'
  return `${what}: run \`codex-pool login gemini\`, or log in with Gemini CLI and copy oauth_creds.json into the pool`
}

/** Renews a login at Google's token endpoint, which keeps the refresh token valid. */
export function refresh(settings: ResolvedGeminiSettings): NonNullable<Provider['refresh']> {
  const { refreshBase, oauthClientId, oauthClientSecret } = settings
  return async function refresh(credential, context) {
    const refreshToken = text(credential.refresh_token)
    if (refreshToken === undefined) throw new Error('there is no refresh token')
    const body = new URLSearchParams({
      refresh_token: refreshToken,
      client_id: oauthClientId,
      client_secret: oauthClientSecret,
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
    const seconds = number(expires_in)
    // Gemini CLI stores when the token ends, not how long it lives.
    const expiresAt = seconds === undefined ? undefined : Date.now() + seconds * 1000
    return { credential: { ...credential, ...answer, expiry_date: expiresAt }, expiresAt }
  }
}

/** What Gemini CLI asks for, in packages/core/src/code_assist/oauth2.ts of google-gemini/gemini-cli. */
const SCOPES = ['cloud-platform', 'userinfo.email', 'userinfo.profile'].map(
  (scope) => `https://www.googleapis.com/auth/${scope}`,
)

/** The login of Gemini CLI. Google takes any port of 127.0.0.1 from the client of an installed app. */
export function login(settings: ResolvedGeminiSettings): LoginFlow {
  const { loginBase, refreshBase, oauthClientId, oauthClientSecret } = settings
  return {
    issuer: 'https://accounts.google.com',
    authorizeUrl: join(loginBase, '/o/oauth2/v2/auth'),
    tokenUrl: join(refreshBase, '/token'),
    clientId: oauthClientId,
    clientSecret: oauthClientSecret,
    scope: SCOPES.join(' '),
    // Who adds an account is often signed in with another one; and only a new consent is sure to bring a refresh token.
    parameters: { access_type: 'offline', prompt: 'select_account consent' },
    callback: { port: 0, path: '/oauth2callback' },
    credential,
  }
}

/** An `oauth_creds.json` as Gemini CLI would have left it. */
function credential({ expires_in, ...answer }: TokenAnswer): Credential | string {
  if (text(answer.access_token) === undefined) return 'Google gave no access token'
  if (text(answer.refresh_token) === undefined)
    return 'Google gave no refresh token, so the login would end within the hour'
  const seconds = number(expires_in)
  return { ...answer, ...(seconds !== undefined && { expiry_date: Date.now() + seconds * 1000 }) }
}
