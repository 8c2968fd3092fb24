import type { Credential, Login, TokenAnswer } from '../../config/provider.js'
import { join } from '../address.js'
import { text } from '../json.js'
import { CLIENT_ID } from './client.js'
import { readAuth } from './credentials.js'
import { deviceCode } from './device-code.js'
import type { Settings } from './settings.js'

/** The login of Codex CLI: its OAuth client takes no other callback than this one. */
export function login(settings: Pick<Settings, 'refreshBase'>): Login {
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
