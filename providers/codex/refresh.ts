import { type Credential, CredentialRejected, type Provider } from '../../config/provider.js'
import { join } from '../http.js'
import { type Fields, fields, parseJson, text } from '../json.js'
import { callTokenEndpoint, jwtExpiry } from '../tokens.js'
import { authHeaders, readAuth, type ResolvedCodexSettings } from './credentials.js'

const SPOKEN: Readonly<Record<string, string>> = {
  refresh_token_expired: 'the refresh token has expired',
  refresh_token_reused: 'the refresh token was already used by another copy of this login',
  refresh_token_invalidated: 'the refresh token was revoked',
}

/** Every 401, and what OAuth calls a grant that is over (RFC 6749 §5.2). */
function isFinal(status: number, code: string | undefined): boolean {
  return (
    status === 401 || (status === 400 && code !== undefined && (code === 'invalid_grant' || code in SPOKEN))
  )
}

function explain(code: string): string {
  const what = SPOKEN[code] ?? `the login was refused (${code})`
  return `${what}: run \`codex-pool login codex\`, or \`codex login\` and copy the new auth.json into the pool`
}

/** Renews a ChatGPT login with the very request that Codex makes. */
export function refresh({ refreshBase }: ResolvedCodexSettings): NonNullable<Provider['refresh']> {
  return async function refresh(credential, context) {
    const auth = readAuth(credential)
    if (auth?.kind !== 'chatgpt' || auth.refreshToken === undefined)
      throw new Error('there is no refresh token')
    const body = JSON.stringify({
      client_id: CLIENT_ID,
      grant_type: 'refresh_token',
      refresh_reason: reasonFor(credential, auth.accessToken),
      refresh_token: auth.refreshToken,
    })
    const url = join(refreshBase, '/oauth/token')
    const headers = {
      'content-type': 'application/json',
      accept: 'application/json',
      'user-agent': 'codex-pool',
    }
    const answer = await callTokenEndpoint({ url, headers, body, isFinal, explain }, context)
    const renewed = merge(credential, answer)
    return { credential: renewed, expiresAt: jwtExpiry(renewed.tokens.access_token) }
  }
}

/** Each token of the answer is optional, and none that came may be lost: the old refresh token is spent. */
function merge(credential: Credential, answer: Fields): Credential {
  const names = ['id_token', 'access_token', 'refresh_token'] as const
  const came = names.flatMap((name) =>
    text(answer[name]) === undefined ? [] : [[name, answer[name]] as const],
  )
  // A TypeError, as for an answer that was lost: the refresh token may be spent.
  if (came.length === 0) throw new TypeError('the token endpoint answered without a token')
  const tokens = { ...fields(credential.tokens), ...Object.fromEntries(came) }
  return { ...credential, tokens, last_refresh: new Date().toISOString() }
}

const SOON_MS = 10 * 60_000
/** After so long Codex renews a login whose access token does not tell when it ends. */
const OLD_MS = 8 * 86_400_000

function reasonFor({ last_refresh }: Credential, accessToken: string): string {
  const expiresAt = jwtExpiry(accessToken)
  if (expiresAt !== undefined && expiresAt - Date.now() < SOON_MS) return 'proactive_expiry'
  const age = Date.now() - Date.parse(String(last_refresh))
  return expiresAt === undefined && age > OLD_MS ? 'scheduled' : 'unauthorized_recovery'
}

/** Public in the source of Codex CLI: the OAuth client that its logins belong to. */
export const CLIENT_ID = 'app_EMoamEEZ73f0CkXaXp7hrann'

/** Whose a personal access token is: unlike a login, it does not say so itself. Codex asks the same way. */
export function discover({
  refreshBase,
}: Pick<ResolvedCodexSettings, 'refreshBase'>): NonNullable<Provider['discover']> {
  return async function discover({ credential }, { fetch, signal }) {
    const kind = readAuth(credential)?.kind ?? 'unknown'
    // Something has to be known, or it would be asked for again with every request.
    if (kind !== 'access-token') return { kind }
    const { authorization = '' } = authHeaders(credential)
    const headers = { authorization, accept: 'application/json', 'user-agent': 'codex-pool' }
    const url = join(refreshBase, '/api/accounts/v1/user-auth-credential/whoami')
    const response = await fetch(url, { headers, signal, redirect: 'manual' })
    const answer = fields(parseJson(await response.text()))
    if (response.status === 401)
      throw new CredentialRejected(
        'access_token_refused',
        'the personal access token was refused: make a new one',
      )
    const accountId = text(answer?.chatgpt_account_id)
    if (!response.ok || accountId === undefined) throw new Error(`whoami answered ${response.status}`)
    return { kind, accountId, ...(answer?.chatgpt_account_is_fedramp === true && { fedramp: 'true' }) }
  }
}
