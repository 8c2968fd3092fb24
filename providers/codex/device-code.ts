import type { CallContext, DeviceCode, DeviceProgress, Login } from '../../config/provider.js'
import { join } from '../address.js'
import { fields, number, parseJson, text, type Fields } from '../json.js'
import { CLIENT_ID } from './client.js'
import type { Settings } from './settings.js'

/** The issuer does not say how long a code lives; Codex gives up after this. */
const LIFETIME_MS = 15 * 60_000
const SECONDS_BETWEEN_POLLS = 5

/**
 * OpenAI's own device flow, not that of RFC 8628: the code is traded for an authorization code, and it is the issuer
 * who chooses the PKCE verifier.
 */
export function deviceCode({ refreshBase }: Pick<Settings, 'refreshBase'>): NonNullable<Login['device']> {
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
