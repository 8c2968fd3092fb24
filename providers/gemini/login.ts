import type { Credential, Login, TokenAnswer } from '../../config/provider.js'
import { join } from '../address.js'
import { number, text } from '../json.js'
import type { Settings } from './settings.js'

/** What Gemini CLI asks for, in packages/core/src/code_assist/oauth2.ts of google-gemini/gemini-cli. */
const SCOPES = ['cloud-platform', 'userinfo.email', 'userinfo.profile'].map(
  (scope) => `https://www.googleapis.com/auth/${scope}`,
)

/** The login of Gemini CLI. Google takes any port of 127.0.0.1 from the client of an installed app. */
export function login(settings: Settings): Login {
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
