import * as oauth from 'oauth4webapi'
import { messageOf } from '../../config/index.js'
import type { CallContext, CodeGrant, Credential, LoginFlow } from '../../config/provider.js'
import { fields, parseJson } from '../../providers/json.js'
import { errorCode } from '../../providers/tokens.js'

/** The meaning of a callback. `foreign`: it belongs to another login, or to none. */
export type Callback =
  | ({ readonly kind: 'granted' } & CodeGrant)
  | { readonly kind: 'refused'; readonly reason: string }
  | { readonly kind: 'foreign' }

export interface Authorization {
  /** The page where the user agrees. */
  readonly url: string
  readonly judge: (callback: URLSearchParams) => Callback
}

/** Begins one login: a state and a PKCE verifier that are used for it alone. */
export async function authorize(login: LoginFlow, redirectUri: string): Promise<Authorization> {
  const state = oauth.generateRandomState()
  const verifier = oauth.generateRandomCodeVerifier()
  const url = new URL(login.authorizeUrl)
  const parameters = {
    response_type: 'code',
    client_id: login.clientId,
    redirect_uri: redirectUri,
    scope: login.scope,
    state,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    ...login.parameters,
  }
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value)
  return { url: url.href, judge: (callback) => judge(callback, login, state, { verifier, redirectUri }) }
}

function judge(
  callback: URLSearchParams,
  { issuer, clientId }: LoginFlow,
  state: string,
  grant: Omit<CodeGrant, 'code'>,
): Callback {
  try {
    const code = oauth.validateAuthResponse({ issuer }, { client_id: clientId }, callback, state).get('code')
    return code ? { kind: 'granted', code, ...grant } : { kind: 'foreign' }
  } catch (error) {
    if (!(error instanceof oauth.AuthorizationResponseError)) return { kind: 'foreign' }
    const { error: code, error_description: description } = error
    return { kind: 'refused', reason: [code, description].filter(Boolean).join(': ').slice(0, 300) }
  }
}

/** Sends an authorization code to the token endpoint. @throws the errors of `fetch` */
function redeemCode(
  { issuer, tokenUrl, clientId, clientSecret }: LoginFlow,
  { code, verifier, redirectUri }: CodeGrant,
  context: CallContext,
): Promise<Response> {
  return oauth.genericTokenEndpointRequest(
    { issuer, token_endpoint: tokenUrl },
    { client_id: clientId },
    clientSecret === undefined ? oauth.None() : oauth.ClientSecretPost(clientSecret),
    'authorization_code',
    { code, code_verifier: verifier, redirect_uri: redirectUri },
    {
      signal: context.signal,
      headers: { 'user-agent': 'codex-pool' },
      [oauth.customFetch]: context.fetch,
      // The configuration refuses an address that is neither https nor on this machine.
      [oauth.allowInsecureRequests]: true,
    },
  )
}

/**
 * Trades an authorization code for a credential.
 *
 * The answer is read as the clients read it, not by the letter of RFC 6749 and OpenID Connect: an issuer that leaves
 * out `token_type` would otherwise cost a login whose code is spent. The ID token is only read for a name to show.
 * @throws {LoginFailed}
 */
export async function redeem(login: LoginFlow, grant: CodeGrant, context: CallContext): Promise<Credential> {
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

/** A login that failed. The message is for the user and holds no secret. */
export class LoginFailed extends Error {
  constructor(
    readonly code:
      'login_refused' | 'login_expired' | 'login_unanswered' | 'issuer_unreachable' | 'issuer_error',
    message: string,
  ) {
    super(message)
    this.name = 'LoginFailed'
  }
}

/** For a call that got no answer. */
export function unreachable(url: string, error: unknown): LoginFailed {
  const message = `${new URL(url).origin} cannot be reached: ${messageOf(error)}`
  return new LoginFailed('issuer_unreachable', message)
}
