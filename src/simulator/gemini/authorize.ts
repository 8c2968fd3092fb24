import { type Answer, json } from '../answer.js'
import { jwt } from '../jwt.js'
import { authorizePage } from '../login/authorize.js'
import type { Consents } from '../login/consents.js'
import { formOf } from '../login/page.js'
import type { SimRequest } from '../request.js'
import type { Upstream } from '../upstream.js'
import { type GeminiAccount, SCOPE } from './account.js'
import type { OAuthClient } from './token-endpoint.js'

/** Google's authorization page, where `access_type=offline` asks for a refresh token. */
export function createGoogleLogin(
  accounts: readonly GeminiAccount[],
  consents: Consents<GeminiAccount>,
  client: OAuthClient | undefined,
): Upstream {
  const fault = (query: URLSearchParams) => faultOf(query, client)
  return {
    kind: 'google-token',
    owns: (path) => path === '/o/oauth2/v2/auth',
    account: () => undefined,
    answer: (request) =>
      authorizePage(request, { accounts, consents, fault, extra: { iss: 'https://accounts.google.com' } }),
  }
}

function faultOf(query: URLSearchParams, client: OAuthClient | undefined): string | undefined {
  const clientId = query.get('client_id')
  if (!clientId || (client && client.id !== clientId)) return 'The OAuth client was not found.'
  // An installed app may be sent back to any port of this machine, by its number only.
  if (!/^http:\/\/127\.0\.0\.1:\d+\//.test(query.get('redirect_uri') ?? '')) return 'redirect_uri_mismatch'
  if (!query.get('scope')?.includes('/auth/cloud-platform')) return 'scope lacks cloud-platform'
  return query.get('access_type') === 'offline' ? undefined : 'access_type must be offline'
}

/** Trades a code for a login. The client has been checked. */
export function redeemGoogle(request: SimRequest, consents: Consents<GeminiAccount>): Answer {
  const form = formOf(request)
  const account = consents.redeem(form)
  if (!account) return json(400, { error: 'invalid_grant', error_description: 'Bad Request' })
  return json(200, {
    access_token: account.mintAccess(),
    expires_in: Math.floor(account.accessTokenLifetimeMs / 1000),
    refresh_token: account.refreshToken,
    scope: SCOPE,
    token_type: 'Bearer',
    id_token: jwt({
      iss: 'https://accounts.google.com',
      aud: form.get('client_id'),
      sub: account.id,
      email: account.email,
      email_verified: true,
    }),
  })
}
