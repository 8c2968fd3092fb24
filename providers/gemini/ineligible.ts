import { CredentialRejected } from '../../config/provider.js'
import { objects, text, type Fields } from '../json.js'

const WAY_OUT =
  'What works: an API key (a file gemini_NAME.json with {"api_key": "…"} and Gemini CLI in API-key mode), or an ' +
  'account with a Gemini Code Assist Standard or Enterprise licence'

/** Google does not serve this account: since June 2026 that is so for most personal ones. */
export function ineligible(reasons: readonly string[]): CredentialRejected {
  const said = reasons.length === 0 ? '' : ` ("${reasons.join(', ').slice(0, 300)}")`
  const message = `Google does not serve Gemini Code Assist to this account${said}. ${WAY_OUT}`
  return new CredentialRejected('ineligible_tier', message)
}

/** Google's reasons in the answer of `loadCodeAssist`. */
export function ineligibleReasons(loaded: Fields): string[] {
  return objects(loaded.ineligibleTiers).flatMap(({ reasonMessage }) => text(reasonMessage) ?? [])
}

/** The person must prove something to Google in a browser first. */
export function validationNeeded(link: string | undefined): CredentialRejected {
  const where =
    link === undefined ? 'start Gemini CLI with this account and follow its dialog' : `open ${link}`
  const message = `Google wants this account verified: ${where}, then copy its oauth_creds.json here again`
  return new CredentialRejected('validation_required', message)
}

/** A licence of a company belongs to a project, which only the person knows. */
export function projectNeeded(): CredentialRejected {
  const message =
    'this account needs a Google Cloud project: add "project_id": "…" to its file, with the value that Gemini CLI ' +
    'has in GOOGLE_CLOUD_PROJECT'
  return new CredentialRejected('project_required', message)
}
