import { type Answer, json } from '../answer.js'
import { authorizePage } from '../login/authorize.js'
import type { Consents } from '../login/consents.js'
import { formOf } from '../login/page.js'
import type { SimRequest } from '../request.js'
import type { CodexAccount } from './account.js'
import { CODEX_CLIENT_ID } from './tokens.js'

/** The only addresses that the issuer knows of the Codex CLI. */
const CALLBACKS = ['http://127.0.0.1:1455/auth/callback', 'http://localhost:1455/auth/callback']
const SCOPES = ['openid', 'offline_access']

/** ChatGPT's authorization page. */
export function authorizeCodex(
  request: SimRequest,
  accounts: readonly CodexAccount[],
  consents: Consents<CodexAccount>,
): Answer {
  return authorizePage(request, { accounts, consents, fault })
}

function fault(query: URLSearchParams): string | undefined {
  if (query.get('client_id') !== CODEX_CLIENT_ID) return 'client_id is not known'
  if (!CALLBACKS.includes(query.get('redirect_uri') ?? '')) return 'redirect_uri is not registered'
  const scopes = (query.get('scope') ?? '').split(' ')
  return SCOPES.every((scope) => scopes.includes(scope)) ? undefined : `scope must have ${SCOPES.join(' ')}`
}

/** Trades a code for a new login. The answer names no token type, although OAuth wants one: Codex does not ask for it. */
export function redeemCodex(request: SimRequest, consents: Consents<CodexAccount>): Answer {
  const account = consents.redeem(formOf(request))
  if (!account) return json(400, { error: { message: 'Invalid authorization code.', code: 'invalid_grant' } })
  account.login()
  const { id_token, access_token, refresh_token } = account.authJson().tokens
  return json(200, { id_token, access_token, refresh_token }, { 'cache-control': 'no-store' })
}
