import { CredentialRejected, type Provider } from '../../config/provider.js'
import { join } from '../address.js'
import { fields, parseJson, text } from '../json.js'
import { authHeaders, readAuth } from './credentials.js'
import type { Settings } from './settings.js'

/** Whose a personal access token is: unlike a login, it does not say so itself. Codex asks the same way. */
export function discover({ refreshBase }: Pick<Settings, 'refreshBase'>): NonNullable<Provider['discover']> {
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
