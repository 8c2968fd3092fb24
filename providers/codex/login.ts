import type {
  CallContext,
  Credential,
  DeviceCode,
  DeviceProgress,
  LoginFlow,
  TokenAnswer,
} from '../../config/provider.js'
import { join } from '../http.js'
import { type Fields, fields, number, parseJson, text } from '../json.js'
import { readAuth, type ResolvedCodexSettings } from './credentials.js'
import { CLIENT_ID } from './refresh.js'

/** The login of Codex CLI: its OAuth client takes no other callback than this one. */
export function login(settings: Pick<ResolvedCodexSettings, 'refreshBase'>): LoginFlow {
  const { refreshBase } = settings
  return {
    issuer: 'https://auth.openai.com',
    authorizeUrl: join(refreshBase, '/oauth/authorize'),
    tokenUrl: join(refreshBase, '/oauth/token'),
    clientId: CLIENT_ID,
    scope: 'openid profile email offline_access api.connectors.read api.connectors.invoke',
    parameters: {
      // The workspaces of the account stand in the ID token only if asked for.
      id_token_add_organizations: 'true',
      codex_cli_simplified_flow: 'true',
      originator: 'codex_cli_rs',
    },
    callback: { port: 1455, path: '/auth/callback' },
    singleUse: true,
    credential,
    device: deviceCode(settings),
  }
}

/** An `auth.json` as `codex login` would have left it. */
function credential(answer: TokenAnswer): Credential | string {
  const [id_token, access_token, refresh_token] = ['id_token', 'access_token', 'refresh_token'].map((name) =>
    text(answer[name]),
  )
  if (access_token === undefined) return 'the issuer gave no access token'
  if (refresh_token === undefined)
    return 'the issuer gave no refresh token, so the login would end within days'
  const tokens = { id_token, access_token, refresh_token }
  const auth = readAuth({ tokens })
  const account_id = auth?.kind === 'chatgpt' ? auth.accountId : undefined
  return {
    auth_mode: 'chatgpt',
    OPENAI_API_KEY: null,
    tokens: { ...tokens, account_id },
    last_refresh: new Date().toISOString(),
  }
}

/** The issuer does not say how long a code lives; Codex gives up after this. */
const LIFETIME_MS = 15 * 60_000
const SECONDS_BETWEEN_POLLS = 5

/**
 * OpenAI's own device flow, not that of RFC 8628: the code is traded for an authorization code, and it is the issuer
 * who chooses the PKCE verifier.
 */
export function deviceCode({
  refreshBase,
}: Pick<ResolvedCodexSettings, 'refreshBase'>): NonNullable<LoginFlow['device']> {
  const post = (path: string, body: object, context: CallContext) =>
    postJson(join(refreshBase, `/api/accounts/deviceauth/${path}`), body, context)

  return async function deviceCode(context): Promise<DeviceCode> {
    const { status, answer } = await post('usercode', { client_id: CLIENT_ID }, context)
    if (status === 404) throw new Error('the issuer gives no device codes; log in with --browser')
    const device_auth_id = text(answer.device_auth_id)
    const user_code = text(answer.user_code) ?? text(answer.usercode)
    if (device_auth_id === undefined || user_code === undefined)
      throw new Error(`the issuer answered ${status} to the request for a device code`)
    return {
      page: join(refreshBase, '/codex/device'),
      code: user_code,
      intervalMs: Math.max(1, number(answer.interval) ?? SECONDS_BETWEEN_POLLS) * 1000,
      expiresAt: Date.now() + LIFETIME_MS,
      poll: async (context) => {
        const polled = await post('token', { device_auth_id, user_code }, context)
        return progressOf(polled, join(refreshBase, '/deviceauth/callback'))
      },
    }
  }
}

interface Answered {
  readonly status: number
  readonly answer: Fields
}

const REFUSALS: Readonly<Record<string, string>> = {
  access_denied: 'the login was refused in the browser',
  expired_token: 'the code has expired; start again',
}

function progressOf({ status, answer }: Answered, redirectUri: string): DeviceProgress {
  const code = text(answer.authorization_code)
  const verifier = text(answer.code_verifier)
  if (status === 200 && code !== undefined && verifier !== undefined)
    return { kind: 'granted', code, verifier, redirectUri }
  const refusal = REFUSALS[text(fields(answer.error)?.code) ?? text(answer.error) ?? '']
  if (refusal !== undefined) return { kind: 'refused', reason: refusal }
  // Codex takes either as "not entered yet", whatever the body says.
  if (status === 403 || status === 404) return { kind: 'pending' }
  if (status === 429 || status >= 500) throw new Error(`the issuer answered ${status}`)
  return { kind: 'refused', reason: `the issuer answered ${status} while the code was waited for` }
}

async function postJson(url: string, body: object, { fetch, signal }: CallContext): Promise<Answered> {
  const headers = {
    'content-type': 'application/json',
    accept: 'application/json',
    'user-agent': 'codex-pool',
  }
  const init = { method: 'POST', headers, body: JSON.stringify(body), redirect: 'manual' as const, signal }
  const response = await fetch(url, init)
  return { status: response.status, answer: fields(parseJson(await response.text())) ?? {} }
}
