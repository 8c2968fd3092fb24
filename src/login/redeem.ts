import type { CallContext, CodeGrant, Credential, Login } from '../../config/provider.js'
import { fields, parseJson } from '../../providers/json.js'
import { errorCode } from '../../providers/token-endpoint.js'
import { redeemCode } from './authorization.js'
import { LoginFailed, unreachable } from './failure.js'

/**
 * Trades an authorization code for a credential.
 *
 * The answer is read as the clients read it, not by the letter of RFC 6749 and OpenID Connect: an issuer that leaves
 * out `token_type` would otherwise cost a login whose code is spent. The ID token is only read for a name to show.
 * @throws {LoginFailed}
 */
export async function redeem(login: Login, grant: CodeGrant, context: CallContext): Promise<Credential> {
  let response
  let answer
  try {
    response = await redeemCode(login, grant, context)
    answer = fields(parseJson(await response.text()))
  } catch (error) {
    throw unreachable(login.tokenUrl, error)
  }
  if (!response.ok || !answer) {
    const why = [response.status, errorCode(answer)].filter(Boolean).join(' ')
    throw new LoginFailed('issuer_error', `the token endpoint refused the login (${why}); start again`)
  }
  const credential = login.credential(answer)
  if (typeof credential === 'string') throw new LoginFailed('issuer_error', credential)
  return credential
}
