import { type Answer, json, notFound } from '../answer.js'
import { text } from '../json.js'
import type { SimRequest } from '../request.js'
import type { Upstream, World } from '../upstream.js'
import type { Consents } from '../login/consents.js'
import type { CodexAccount } from './account.js'
import { authorizeCodex, redeemCodex } from './authorize.js'
import type { TokenFamily } from './family.js'
import { CODEX_CLIENT_ID } from './tokens.js'

/** The issuer of ChatGPT logins: single-use refresh tokens with reuse detection. */
export function createIssuer(
  accounts: readonly CodexAccount[],
  consents: Consents<CodexAccount>,
  world: World,
): Upstream {
  return {
    kind: 'issuer',
    owns: (path) => path.startsWith('/oauth/'),
    account: (request) => findLogin(accounts, parameter(request, refreshParameter(request)))?.account.id,
    answer(request) {
      if (request.path === '/oauth/authorize') return authorizeCodex(request, accounts, consents)
      if (request.method !== 'POST') return notFound
      if (request.path === '/oauth/token') return token(request, accounts, consents, world)
      if (request.path === '/oauth/revoke') return revoke(request, accounts)
      return notFound
    },
  }
}

function token(
  request: SimRequest,
  accounts: readonly CodexAccount[],
  consents: Consents<CodexAccount>,
  world: World,
): Answer {
  if (parameter(request, 'client_id') !== CODEX_CLIENT_ID) return refusal(401, 'invalid_client')
  if (parameter(request, 'grant_type') === 'authorization_code') return redeemCodex(request, consents)
  if (parameter(request, 'grant_type') !== 'refresh_token') return refusal(400, 'unsupported_grant_type')
  const presented = parameter(request, 'refresh_token')
  const login = findLogin(accounts, presented)
  if (!login || presented === undefined) return refusal(401, 'refresh_token_expired')
  return rotate(login, presented, world)
}

function rotate({ account, family }: Login, presented: string, world: World): Answer {
  const outcome = family.refresh(presented, world.now() + account.accessTokenLifetimeMs)
  if (outcome === 'reused') {
    account.reuses += 1
    return refusal(401, 'refresh_token_reused')
  }
  if (outcome === 'revoked') return refusal(401, 'refresh_token_invalidated')
  account.refreshes += 1
  const expires_in = Math.floor(account.accessTokenLifetimeMs / 1000)
  return json(200, { ...outcome, token_type: 'Bearer', expires_in }, { 'cache-control': 'no-store' })
}

function revoke(request: SimRequest, accounts: readonly CodexAccount[]): Answer {
  findLogin(accounts, parameter(request, 'token'))?.family.revoke()
  return json(200, {})
}

interface Login {
  account: CodexAccount
  family: TokenFamily
}

function findLogin(accounts: readonly CodexAccount[], refreshToken: string | undefined): Login | undefined {
  if (refreshToken === undefined) return undefined
  for (const account of accounts) {
    const family = account.familyOf(refreshToken)
    if (family) return { account, family }
  }
  return undefined
}

const refreshParameter = (request: SimRequest): string =>
  request.path === '/oauth/revoke' ? 'token' : 'refresh_token'

/** The Codex CLI sends JSON; a form, as OAuth has it, is taken too. */
function parameter(request: SimRequest, name: string): string | undefined {
  if (request.headers['content-type']?.startsWith('application/x-www-form-urlencoded')) {
    return new URLSearchParams(request.body.toString('utf8')).get(name) ?? undefined
  }
  return text(request.json, name)
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
