import type { Credential, Inspection } from '../../config/provider.js'
import { fingerprint } from '../fingerprint.js'
import { fitsHeader } from '../header.js'
import { fields, number, text } from '../json.js'
import { jwtClaims } from '../jwt.js'

const AGAIN =
  'Run `codex-pool login gemini`, or log in with Gemini CLI and copy oauth_creds.json here as gemini_NAME.json'

/** Looks into an `oauth_creds.json`. */
export function inspect(credential: Credential): Inspection | string {
  const file = fields(credential)
  if (!file) return `is not a JSON object. ${AGAIN}`
  const accessToken = text(file.access_token)
  const refreshToken = text(file.refresh_token)
  if (accessToken === undefined && refreshToken === undefined) return whyUnusable(file)
  if (accessToken !== undefined && !fitsHeader(accessToken))
    return 'its access_token holds a character that no token has'
  const email = text(jwtClaims(file.id_token)?.email)
  return {
    kind: 'code-assist',
    identity: email,
    label: email,
    // A file that holds no access token yet is one whose token has ended.
    expiresAt: accessToken === undefined ? 0 : number(file.expiry_date),
    refreshable: refreshToken !== undefined,
    login: refreshToken === undefined ? undefined : fingerprint(refreshToken),
  }
}

function whyUnusable(file: Credential): string {
  if (file.api_key !== undefined) return 'holds an API key, which is no Code Assist login'
  if (file.type === 'service_account')
    return `is a service account, which Code Assist does not take. ${AGAIN}`
  if (file.installed !== undefined || file.web !== undefined)
    return `is an OAuth client, not a login. ${AGAIN}`
  if (file.tokens !== undefined || file.OPENAI_API_KEY !== undefined)
    return 'looks like a login of Codex CLI: name it without "gemini_"'
  if (file.active !== undefined) return `is Gemini CLI's list of accounts, not a login. ${AGAIN}`
  return `has neither access_token nor refresh_token. ${AGAIN}`
}

export function authHeaders(credential: Credential): Record<string, string> {
  const token = text(credential.access_token)
  if (token === undefined) throw new Error('there is no access token')
  return { authorization: `Bearer ${token}` }
}
