import { type Answer, json } from '../answer.js'
import type { SimRequest } from '../request.js'
import type { Consents } from '../login/consents.js'
import type { Upstream } from '../upstream.js'
import { type GeminiAccount, SCOPE } from './account.js'
import { redeemGoogle } from './authorize.js'

/** The OAuth client that must present itself. */
export interface OAuthClient {
  readonly id: string
  readonly secret: string
}

/** Google's token endpoint: refresh tokens are not rotated. */
export function createTokenEndpoint(
  accounts: readonly GeminiAccount[],
  consents: Consents<GeminiAccount>,
  client: OAuthClient | undefined,
): Upstream {
  const holder = (form: URLSearchParams) =>
    accounts.find((account) => account.refreshToken === form.get('refresh_token'))
  return {
    kind: 'google-token',
    owns: (path) => path === '/token',
    account: (request) => holder(formOf(request))?.id,
    answer(request) {
      const form = formOf(request)
      const grant = form.get('grant_type')
      if (request.method !== 'POST' || (grant !== 'refresh_token' && grant !== 'authorization_code')) {
        return refusal(400, 'unsupported_grant_type', 'Invalid grant_type')
      }
      if (!isClient(form, client)) return refusal(401, 'invalid_client', 'The OAuth client was not found.')
      if (grant === 'authorization_code') return redeemGoogle(request, consents)
      const account = holder(form)
      const access_token = account?.refresh(account.refreshToken)
      if (!account || access_token === undefined) {
        return refusal(400, 'invalid_grant', 'Token has been expired or revoked.')
      }
      return granted(account, access_token)
    },
  }
}

function granted(account: GeminiAccount, access_token: string): Answer {
  const expires_in = Math.floor(account.accessTokenLifetimeMs / 1000)
  return json(200, {
    access_token,
    expires_in,
    scope: SCOPE,
    token_type: 'Bearer',
    id_token: account.idToken(),
  })
}

function isClient(form: URLSearchParams, client: OAuthClient | undefined): boolean {
  if (!client) return form.has('client_id') && form.has('client_secret')
  return form.get('client_id') === client.id && form.get('client_secret') === client.secret
}

const formOf = (request: SimRequest): URLSearchParams => new URLSearchParams(request.body.toString('utf8'))

const refusal = (status: number, error: string, error_description: string): Answer =>
  json(status, { error, error_description })
