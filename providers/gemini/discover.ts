import { setTimeout as pause } from 'node:timers/promises'
import type { Provider } from '../../config/provider.js'
import { fields, objects, text, type Fields } from '../json.js'
import { codeAssist, CodeAssistRefusal, type CodeAssist } from './code-assist.js'
import { ineligible, ineligibleReasons, projectNeeded, validationNeeded } from './ineligible.js'
import type { Settings } from './settings.js'

const METADATA = { ideType: 'IDE_UNSPECIFIED', platform: 'PLATFORM_UNSPECIFIED', pluginType: 'GEMINI' }
/** As often as the Gemini CLI asks. */
const POLL_MS = 5_000

/**
 * Finds an account's project as the Gemini CLI does: `loadCodeAssist`, and `onboardUser` for an account that has none
 * yet. A file may name the project of a licence in `project_id`. Throws {@link CredentialRejected} with the way out for
 * an account that Code Assist does not serve.
 */
export function discover(
  { upstream }: Settings,
  pollMs: number = POLL_MS,
): NonNullable<Provider['discover']> {
  return async function discover({ credential }, context) {
    const call = codeAssist(upstream, credential, context)
    const own = text(credential.project_id)
    const loaded = await load(call, own)
    const tier = fields(loaded.currentTier)
    const project = tier
      ? projectIn(loaded.cloudaicompanionProject)
      : projectIn(await setUp(call, onboarding(loaded, own), () => pause(pollMs, undefined, context)))
    const found = project ?? own
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
    // A company's network perimeter hides the tier; the Gemini CLI goes on as one of the standard tier, too.
    if (error.error?.reason === 'SECURITY_POLICY_VIOLATED') return { currentTier: { id: 'standard-tier' } }
    throw error
  }
}

/** What sets up an account that has never used Code Assist; throws if Google will not have it. */
function onboarding(loaded: Fields, own: string | undefined): object {
  const refused = objects(loaded.ineligibleTiers)
  const unproved = refused.find(({ reasonCode }) => reasonCode === 'VALIDATION_REQUIRED')
  if (unproved) throw validationNeeded(text(unproved.validationUrl))
  const tier = objects(loaded.allowedTiers).find(({ isDefault }) => isDefault === true)
  if (!tier && refused.length > 0) throw ineligible(ineligibleReasons(loaded))
  if (own === undefined && (!tier || tier.userDefinedCloudaicompanionProject === true)) throw projectNeeded()
  // The free tier brings a project of its own, and refuses one that is named.
  const project = tier?.id === 'free-tier' ? undefined : own
  const metadata = { ...METADATA, duetProject: project }
  return { tierId: text(tier?.id) ?? 'legacy-tier', cloudaicompanionProject: project, metadata }
}

/** Sets it up, which takes Google a while. */
async function setUp(call: CodeAssist, body: object, pause: () => Promise<unknown>): Promise<unknown> {
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
