import { setTimeout as pause } from 'node:timers/promises'
import {
  type CallContext,
  type Credential,
  CredentialRejected,
  type Provider,
} from '../../config/provider.js'
import { googleError, type GoogleError } from '../google/errors.js'
import { join } from '../http.js'
import { type Fields, fields, objects, parseJson, text } from '../json.js'
import { authHeaders, type ResolvedGeminiSettings } from './credentials.js'

const METADATA = { ideType: 'IDE_UNSPECIFIED', platform: 'PLATFORM_UNSPECIFIED', pluginType: 'GEMINI' }
/** The Gemini CLI's own interval. */
const POLL_MS = 5_000

/**
 * Finds an account's project as the Gemini CLI does: `loadCodeAssist`, and `onboardUser` for an account without a
 * project. A file may name a licence's project in `project_id`; a login of gcloud's has `quota_project_id`.
 * @throws {CredentialRejected} with the way out, for an account that Code Assist does not serve
 */
export function discover(
  { upstream }: ResolvedGeminiSettings,
  pollMs: number = POLL_MS,
): NonNullable<Provider['discover']> {
  return async function discover({ credential }, context) {
    const call = codeAssist(upstream, credential, context)
    const own = text(credential.project_id) ?? text(credential.quota_project_id)
    const loaded = await load(call, own)
    const tier = fields(loaded.currentTier)
    const project = tier
      ? projectIn(loaded.cloudaicompanionProject)
      : projectIn(await onboard(call, onboarding(loaded, own), () => pause(pollMs, undefined, context)))
    const found = text(credential.project_id) ?? project ?? own
    if (found === undefined)
      throw objects(loaded.ineligibleTiers).length > 0
        ? ineligible(ineligibleReasons(loaded))
        : projectNeeded()
    const name = text(fields(loaded.paidTier)?.id) ?? text(tier?.id)
    return { project: found, ...(name !== undefined && { tier: name }) }
  }
}

async function load(call: CodeAssist, own: string | undefined): Promise<Fields> {
  const body = { cloudaicompanionProject: own, metadata: { ...METADATA, duetProject: own } }
  try {
    return await call(':loadCodeAssist', body)
  } catch (error) {
    if (!(error instanceof CodeAssistRefusal)) throw error
    if (error.error?.reason === 'VALIDATION_REQUIRED') throw validationNeeded(error.error.link)
    // A company's network perimeter (VPC-SC) hides the tier; the Gemini CLI assumes the standard tier, too.
    if (error.error?.reason === 'SECURITY_POLICY_VIOLATED') return { currentTier: { id: 'standard-tier' } }
    throw error
  }
}

/** The body of `onboardUser` for an account that has never used Code Assist. Throws if Google does not serve the account. */
function onboarding(loaded: Fields, own: string | undefined): object {
  const refused = objects(loaded.ineligibleTiers)
  const unproved = refused.find(({ reasonCode }) => reasonCode === 'VALIDATION_REQUIRED')
  if (unproved) throw validationNeeded(text(unproved.validationUrl))
  const tier = objects(loaded.allowedTiers).find(({ isDefault }) => isDefault === true)
  if (!tier && refused.length > 0) throw ineligible(ineligibleReasons(loaded))
  if (own === undefined && (!tier || tier.userDefinedCloudaicompanionProject === true)) throw projectNeeded()
  // The free tier has a project of its own, and refuses a request that names one.
  const project = tier?.id === 'free-tier' ? undefined : own
  const metadata = { ...METADATA, duetProject: project }
  return { tierId: text(tier?.id) ?? 'legacy-tier', cloudaicompanionProject: project, metadata }
}

/** Sets the account up, and polls until Google has finished. */
async function onboard(call: CodeAssist, body: object, pause: () => Promise<unknown>): Promise<unknown> {
  let operation = await call(':onboardUser', body)
  while (operation.done !== true && text(operation.name) !== undefined) {
    await pause()
    operation = await call(`/${text(operation.name)}`)
  }
  const status = text(fields(operation.error)?.status)
  if (operation.error !== undefined) throw new Error(`onboardUser failed (${status ?? 'no reason given'})`)
  return fields(operation.response)?.cloudaicompanionProject
}

/** `"project"` or `{ "id": "project" }`. */
function projectIn(value: unknown): string | undefined {
  return text(value) ?? text(fields(value)?.id)
}

/** A refusal of one of the gateway's own calls. */
class CodeAssistRefusal extends Error {
  constructor(
    method: string,
    readonly status: number,
    readonly error: GoogleError | undefined,
  ) {
    super(`${method} answered ${status}${error?.reason === undefined ? '' : ` (${error.reason})`}`)
    this.name = 'CodeAssistRefusal'
  }
}

type CodeAssist = (method: string, body?: object) => Promise<Fields>

/** Calls Code Assist with an account's token: POST with a body, else GET. */
export function codeAssist(
  upstream: string,
  credential: Credential,
  { fetch, signal }: CallContext,
): CodeAssist {
  return async function codeAssist(method, body) {
    const headers = {
      ...authHeaders(credential),
      'content-type': 'application/json',
      'user-agent': 'codex-pool',
    }
    const post = body === undefined ? { method: 'GET' } : { method: 'POST', body: JSON.stringify(body) }
    const url = join(upstream, `/v1internal${method}`)
    const response = await fetch(url, { ...post, headers, signal, redirect: 'manual' })
    const answer = parseJson(await response.text())
    if (response.ok) return fields(answer) ?? {}
    throw new CodeAssistRefusal(method, response.status, googleError(answer))
  }
}

const WAY_OUT =
  'What works: an API key (a file gemini_NAME.json with {"api_key": "…"} and Gemini CLI in API-key mode), or an ' +
  'account with a Gemini Code Assist Standard or Enterprise licence'

/** The refusal for an account that Google does not serve; since June 2026 most personal ones. */
export function ineligible(reasons: readonly string[]): CredentialRejected {
  const said = reasons.length === 0 ? '' : ` ("${reasons.join(', ').slice(0, 300)}")`
  const message = `Google does not serve Gemini Code Assist to this account${said}. ${WAY_OUT}`
  return new CredentialRejected('ineligible_tier', message)
}

/** Google's reasons in the answer of `loadCodeAssist`. */
function ineligibleReasons(loaded: Fields): string[] {
  return objects(loaded.ineligibleTiers).flatMap(({ reasonMessage }) => text(reasonMessage) ?? [])
}

/** The refusal for an account that its user must first verify in a browser. */
export function validationNeeded(link: string | undefined): CredentialRejected {
  const usable = link !== undefined && /^https:\/\/[\x21-\x7e]{1,500}$/.test(link)
  const where = usable ? `open ${link}` : 'start Gemini CLI with this account and follow its dialog'
  const message = `Google wants this account verified: ${where}, then copy its oauth_creds.json here again`
  return new CredentialRejected('validation_required', message)
}

/** The refusal for an account with a company's licence: it belongs to a project that Google does not name. */
function projectNeeded(): CredentialRejected {
  const message =
    'this account needs a Google Cloud project: add "project_id": "…" to its file, with the value that Gemini CLI ' +
    'has in GOOGLE_CLOUD_PROJECT'
  return new CredentialRejected('project_required', message)
}
