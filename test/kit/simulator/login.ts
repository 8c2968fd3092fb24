import { randomBytes } from 'node:crypto'
import {
  type Answer,
  type CodexAccount,
  type GeminiAccount,
  type OAuthClient,
  type Simulator,
  type SimRequest,
  text,
  type Upstream,
} from '../../../src/simulator/index.js'
import {
  authorizationPage,
  challengeOf,
  Consents,
  decisionOf,
  formOf,
  json,
  loginPage,
} from './authorization.js'

/** The login pages of ChatGPT and Google, for `startSimulator({ upstreams })`. */
export function loginPages(googleClient?: OAuthClient): (sim: Simulator) => Upstream[] {
  return (sim) => {
    const atChatGpt = new Consents<CodexAccount>(sim.now)
    const atGoogle = new Consents<GeminiAccount>(sim.now)
    return [
      ...chatGptLogin(sim.codex.accounts, atChatGpt),
      deviceLogin(sim, atChatGpt),
      ...googleLogin(sim.gemini.accounts, atGoogle, googleClient),
    ]
  }
}

/** A person's decision on a login page, as one of the simulator's accounts. */
export interface Decision {
  readonly account: string
  /** @default 'agree' */
  readonly decision?: 'agree' | 'refuse'
}

/**
 * Opens an authorization page and decides. Returns the address that the browser is sent to.
 * @throws if the page refuses the client's request
 */
export async function visit(url: string, decision: Decision): Promise<string> {
  const response = await decide(url, { ...decision })
  const location = response.headers.get('location')
  if (location === null)
    throw new Error(`the login page answered ${response.status}: ${await response.text()}`)
  return location
}

/** Enters a code of ChatGPT's device login on its page. @throws if no device has that code */
export async function enterCode(sim: Simulator, code: string, decision: Decision): Promise<void> {
  const response = await decide(`${sim.url}/codex/device`, { ...decision, code })
  if (!response.ok) throw new Error(`the device page answered ${response.status}: ${await response.text()}`)
}

function decide(url: string, form: Record<string, string>): Promise<Response> {
  const body = new URLSearchParams({ decision: 'agree', ...form })
  return fetch(url, { method: 'POST', body, redirect: 'manual' })
}

const isRedeemed = (request: SimRequest, path: string): boolean =>
  request.path === path && formOf(request).get('grant_type') === 'authorization_code'

/** The client id of the Codex CLI, public in its source. */
const CODEX_CLIENT_ID = 'app_EMoamEEZ73f0CkXaXp7hrann'
/** The only addresses that the issuer knows of the Codex CLI. */
const CALLBACKS = ['http://127.0.0.1:1455/auth/callback', 'http://localhost:1455/auth/callback']
const SCOPES = ['openid', 'offline_access']

function chatGptLogin(accounts: readonly CodexAccount[], consents: Consents<CodexAccount>): Upstream[] {
  const mistake = (query: URLSearchParams) => {
    if (query.get('client_id') !== CODEX_CLIENT_ID) return 'client_id is not known'
    if (!CALLBACKS.includes(query.get('redirect_uri') ?? '')) return 'redirect_uri is not registered'
    const scopes = (query.get('scope') ?? '').split(' ')
    return SCOPES.every((scope) => scopes.includes(scope)) ? undefined : `scope must have ${SCOPES.join(' ')}`
  }
  return [
    {
      kind: 'issuer',
      owns: ({ path }) => path === '/oauth/authorize',
      account: () => undefined,
      answer: (request) => authorizationPage(request, { accounts, consents, mistake }),
    },
    {
      kind: 'issuer',
      owns: (request) => isRedeemed(request, '/oauth/token'),
      account: () => undefined,
      answer: (request) => redeemCodex(request, consents),
    },
  ]
}

/** Trades a code for a new login. The answer names no token type, although OAuth wants one: Codex does not ask for it. */
function redeemCodex(request: SimRequest, consents: Consents<CodexAccount>): Answer {
  const account = consents.redeem(formOf(request))
  if (!account) return json(400, { error: { message: 'Invalid authorization code.', code: 'invalid_grant' } })
  account.login()
  const { id_token, access_token, refresh_token } = account.authJson().tokens
  return json(200, { id_token, access_token, refresh_token }, { 'cache-control': 'no-store' })
}

const DEVICE_LIFETIME_MS = 15 * 60_000
const INTERVAL_S = 1

interface Device {
  readonly id: string
  readonly userCode: string
  readonly expiresAt: number
  polledAt?: number
  decision?: CodexAccount | 'refused'
}

/** ChatGPT's device login: a code is asked for, entered on a page, and traded for an authorization code. */
function deviceLogin(sim: Simulator, consents: Consents<CodexAccount>): Upstream {
  const devices: Device[] = []
  return {
    kind: 'issuer',
    owns: ({ path }) => path.startsWith('/api/accounts/deviceauth/') || path === '/codex/device',
    account: () => undefined,
    answer(request) {
      if (request.path === '/codex/device') return devicePage(request, devices, sim)
      if (request.path.endsWith('/usercode')) return userCode(request, devices, sim)
      return poll(request, devices, consents, sim)
    },
  }
}

function userCode(request: SimRequest, devices: Device[], sim: Simulator): Answer {
  if (text(request.json, 'client_id') !== CODEX_CLIENT_ID) return refusal(400, 'invalid_client')
  const letters = [...randomBytes(8)].map((byte) => 'BCDFGHJKLMNPQRSTVWXZ'[byte % 20]).join('')
  const device = {
    id: `deviceauth_sim_${randomBytes(9).toString('base64url')}`,
    userCode: `${letters.slice(0, 4)}-${letters.slice(4)}`,
    expiresAt: sim.now() + DEVICE_LIFETIME_MS,
  }
  devices.push(device)
  return json(200, { device_auth_id: device.id, user_code: device.userCode, interval: String(INTERVAL_S) })
}

function devicePage(request: SimRequest, devices: Device[], { codex: { accounts } }: Simulator): Answer {
  if (request.method !== 'POST') return loginPage(accounts, '<input name="code" placeholder="ABCD-EFGH">')
  const { account, agrees, form } = decisionOf(request, accounts)
  const device = devices.find((candidate) => candidate.userCode === form.get('code'))
  if (!device || !account) return refusal(400, 'unknown_code')
  device.decision = agrees ? account : 'refused'
  return { status: 200, headers: { 'content-type': 'text/plain' }, body: 'Go back to the device.' }
}

function poll(
  request: SimRequest,
  devices: Device[],
  consents: Consents<CodexAccount>,
  sim: Simulator,
): Answer {
  const device = devices.find(({ id }) => id === text(request.json, 'device_auth_id'))
  if (!device || device.userCode !== text(request.json, 'user_code')) return refusal(400, 'invalid_request')
  // A tenth is for timers that are early.
  const soonest = (device.polledAt ?? -Infinity) + INTERVAL_S * 900
  if (sim.now() < soonest) sim.violations.push(`${request.path}: polled before the interval was over`)
  device.polledAt = sim.now()
  if (sim.now() >= device.expiresAt) return refusal(403, 'expired_token')
  if (device.decision === 'refused') return refusal(403, 'access_denied')
  if (!device.decision) return refusal(403, 'authorization_pending')
  devices.splice(devices.indexOf(device), 1)
  // The issuer makes the verifier here, not the client.
  const code_verifier = randomBytes(32).toString('base64url')
  const code_challenge = challengeOf(code_verifier)
  const redirectUri = `http://${request.headers.host}/deviceauth/callback`
  const asked = { clientId: CODEX_CLIENT_ID, redirectUri, challenge: code_challenge }
  const authorization_code = consents.give(device.decision, asked)
  return json(200, { authorization_code, code_challenge, code_verifier })
}

const refusal = (status: number, code: string): Answer =>
  json(status, { error: { message: code, type: 'invalid_request_error', param: null, code } })

/** Google's authorization page, where `access_type=offline` asks for a refresh token. */
function googleLogin(
  accounts: readonly GeminiAccount[],
  consents: Consents<GeminiAccount>,
  client: OAuthClient | undefined,
): Upstream[] {
  const mistake = (query: URLSearchParams) => {
    const clientId = query.get('client_id')
    if (!clientId || (client && client.id !== clientId)) return 'The OAuth client was not found.'
    // An installed app may be sent back to any port of this machine, by its number only.
    if (!/^http:\/\/127\.0\.0\.1:\d+\//.test(query.get('redirect_uri') ?? '')) return 'redirect_uri_mismatch'
    if (!query.get('scope')?.includes('/auth/cloud-platform')) return 'scope lacks cloud-platform'
    return query.get('access_type') === 'offline' ? undefined : 'access_type must be offline'
  }
  const extra = { iss: 'https://accounts.google.com' }
  return [
    {
      kind: 'google-token',
      owns: ({ path }) => path === '/o/oauth2/v2/auth',
      account: () => undefined,
      answer: (request) => authorizationPage(request, { accounts, consents, mistake, extra }),
    },
    {
      kind: 'google-token',
      owns: (request) => isRedeemed(request, '/token'),
      account: () => undefined,
      answer: (request) => redeemGoogle(formOf(request), consents, client),
    },
  ]
}

function redeemGoogle(
  form: URLSearchParams,
  consents: Consents<GeminiAccount>,
  client: OAuthClient | undefined,
): Answer {
  const known =
    !client || (form.get('client_id') === client.id && form.get('client_secret') === client.secret)
  if (!known || !form.has('client_secret')) return json(401, { error: 'invalid_client' })
  const account = consents.redeem(form)
  if (!account) return json(400, { error: 'invalid_grant', error_description: 'Bad Request' })
  const { refresh_token, scope, token_type } = account.oauthCreds()
  return json(200, {
    access_token: account.mintAccess(),
    expires_in: Math.floor(account.accessTokenLifetimeMs / 1000),
    refresh_token,
    scope,
    token_type,
    id_token: account.idToken(form.get('client_id') ?? ''),
  })
}
