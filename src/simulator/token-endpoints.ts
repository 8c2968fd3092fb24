import type { CodexAccount } from './codex/account.js'
import { CODEX_CLIENT_ID } from './codex/logins.js'
import { type GeminiAccount, type OAuthClient, SCOPE } from './gemini/account.js'
import { parameter, type SimRequest } from './request.js'
import { type Answer, json, notFound, type Upstream } from './upstream.js'

/** The issuer of ChatGPT logins: single-use refresh tokens with reuse detection. */
export function createIssuer(accounts: readonly CodexAccount[]): Upstream {
  const holder = (request: SimRequest) =>
    accounts.find((account) => account.owns(parameter(request, 'refresh_token') ?? ''))
  return {
    kind: 'issuer',
    owns: ({ path }) => path.startsWith('/oauth/'),
    account: (request) => holder(request)?.id,
    answer(request) {
      if (`${request.method} ${request.path}` !== 'POST /oauth/token') return notFound
      const account = holder(request)
      if (parameter(request, 'client_id') !== (account?.clientId ?? CODEX_CLIENT_ID))
        return refusal(401, 'invalid_client')
      if (parameter(request, 'grant_type') !== 'refresh_token') return refusal(400, 'unsupported_grant_type')
      if (!account) return refusal(401, 'refresh_token_expired')
      const outcome = account.refresh(parameter(request, 'refresh_token') ?? '')
      if (outcome === 'reused') return refusal(401, 'refresh_token_reused')
      if (outcome === 'revoked') return refusal(401, 'refresh_token_invalidated')
      const expires_in = Math.floor(account.accessTokenLifetimeMs / 1000)
      return json(200, { ...outcome, token_type: 'Bearer', expires_in }, { 'cache-control': 'no-store' })
    },
  }
}

const MESSAGES: Record<string, string> = {
  refresh_token_expired: 'Your refresh token has expired. Please log in again.',
  refresh_token_reused:
    'Your refresh token has already been used to generate a new access token. Please try signing in again.',
  refresh_token_invalidated: 'Your refresh token was revoked. Please log in again.',
}

function refusal(status: number, code: string): Answer {
  const message = MESSAGES[code] ?? code
  return json(status, { error: { message, type: 'invalid_request_error', param: null, code } })
}

/** Google's token endpoint, which does not rotate refresh tokens. */
export function createGoogleTokens(
  accounts: readonly GeminiAccount[],
  client: OAuthClient | undefined,
): Upstream {
  const holder = (request: SimRequest) =>
    accounts.find(({ refreshToken }) => refreshToken === parameter(request, 'refresh_token'))
  return {
    kind: 'google-token',
    owns: ({ path }) => path === '/token',
    account: (request) => holder(request)?.id,
    answer(request) {
      if (request.method !== 'POST' || parameter(request, 'grant_type') !== 'refresh_token')
        return googleRefusal(400, 'unsupported_grant_type', 'Invalid grant_type')
      const account = holder(request)
      if (account?.client && !isClient(request, account.client))
        return googleRefusal(401, 'unauthorized_client', 'Unauthorized')
      if (!account?.client && !isClient(request, client))
        return googleRefusal(401, 'invalid_client', 'The OAuth client was not found.')
      const access_token = account?.refresh()
      if (!account || access_token === undefined)
        return googleRefusal(400, 'invalid_grant', 'Token has been expired or revoked.')
      return json(200, {
        access_token,
        expires_in: Math.floor(account.accessTokenLifetimeMs / 1000),
        scope: SCOPE,
        token_type: 'Bearer',
        id_token: account.idToken(),
      })
    },
  }
}

/** Whether a token request presents the client that the simulator expects, or any client where it expects none. */
export function isClient(request: SimRequest, client: OAuthClient | undefined): boolean {
  const [id, secret] = [parameter(request, 'client_id'), parameter(request, 'client_secret')]
  return client ? id === client.id && secret === client.secret : id !== undefined && secret !== undefined
}

const googleRefusal = (status: number, error: string, error_description: string): Answer =>
  json(status, { error, error_description })
