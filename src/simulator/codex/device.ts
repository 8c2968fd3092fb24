import { randomBytes } from 'node:crypto'
import { type Answer, json, notFound } from '../answer.js'
import { text } from '../json.js'
import { challengeOf, type Consents } from '../login/consents.js'
import { decisionOf, loginPage } from '../login/page.js'
import type { SimRequest } from '../request.js'
import type { Upstream, World } from '../upstream.js'
import type { CodexAccount } from './account.js'
import { CODEX_CLIENT_ID } from './tokens.js'

const LIFETIME_MS = 15 * 60_000
const INTERVAL_S = 1

interface Device {
  readonly id: string
  readonly userCode: string
  readonly expiresAt: number
  polledAt?: number
  decision?: CodexAccount | 'refused'
}

/** ChatGPT's device login: a code is asked for, entered on a page, and traded for an authorization code. */
export function createDeviceLogin(
  accounts: readonly CodexAccount[],
  consents: Consents<CodexAccount>,
  world: World,
): Upstream {
  const devices: Device[] = []
  return {
    kind: 'issuer',
    owns: (path) => path.startsWith('/api/accounts/deviceauth/') || path === '/codex/device',
    account: () => undefined,
    answer(request) {
      if (request.path === '/codex/device') return page(request, devices, accounts)
      if (request.method !== 'POST') return notFound
      if (request.path.endsWith('/usercode')) return userCode(request, devices, world)
      if (request.path.endsWith('/token')) return poll(request, devices, consents, world)
      return notFound
    },
  }
}

function userCode(request: SimRequest, devices: Device[], world: World): Answer {
  if (text(request.json, 'client_id') !== CODEX_CLIENT_ID) return refusal(400, 'invalid_client')
  const letters = [...randomBytes(8)].map((byte) => 'BCDFGHJKLMNPQRSTVWXZ'[byte % 20]).join('')
  const device = {
    id: `deviceauth_sim_${randomBytes(9).toString('base64url')}`,
    userCode: `${letters.slice(0, 4)}-${letters.slice(4)}`,
    expiresAt: world.now() + LIFETIME_MS,
  }
  devices.push(device)
  return json(200, { device_auth_id: device.id, user_code: device.userCode, interval: String(INTERVAL_S) })
}

function page(request: SimRequest, devices: Device[], accounts: readonly CodexAccount[]): Answer {
  if (request.method !== 'POST') {
    return loginPage(
      accounts.map(({ id }) => id),
      '<input name="code" placeholder="ABCD-EFGH">',
    )
  }
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
  world: World,
): Answer {
  const device = devices.find(({ id }) => id === text(request.json, 'device_auth_id'))
  if (!device || device.userCode !== text(request.json, 'user_code')) return refusal(400, 'invalid_request')
  // A tenth is for timers that are early.
  const soonest = (device.polledAt ?? -Infinity) + INTERVAL_S * 900
  if (world.now() < soonest) world.violation(request, 'polled before the interval was over')
  device.polledAt = world.now()
  if (world.now() >= device.expiresAt) return refusal(403, 'expired_token')
  if (device.decision === 'refused') return refusal(403, 'access_denied')
  if (!device.decision) return refusal(403, 'authorization_pending')
  devices.splice(devices.indexOf(device), 1)
  return granted(device.decision, consents, request)
}

/** The verifier is the issuer's own here. */
function granted(account: CodexAccount, consents: Consents<CodexAccount>, request: SimRequest): Answer {
  const code_verifier = randomBytes(32).toString('base64url')
  const code_challenge = challengeOf(code_verifier)
  const redirectUri = `http://${request.headers.host}/deviceauth/callback`
  const asked = { clientId: CODEX_CLIENT_ID, redirectUri, challenge: code_challenge }
  return json(200, { authorization_code: consents.give(account, asked), code_challenge, code_verifier })
}

const refusal = (status: number, code: string): Answer =>
  json(status, { error: { message: code, type: 'invalid_request_error', param: null, code } })
