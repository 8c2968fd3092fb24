import type { Provider } from '../../config/provider.js'
import { join } from '../address.js'
import { number, text } from '../json.js'
import { callTokenEndpoint } from '../token-endpoint.js'
import type { Settings } from './settings.js'

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
export function refresh(settings: Settings): NonNullable<Provider['refresh']> {
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
