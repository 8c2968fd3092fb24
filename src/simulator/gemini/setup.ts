import { type Answer, json } from '../answer.js'
import { field, text } from '../json.js'
import type { GeminiAccount, GeminiTier } from './account.js'
import { googleError, invalidArgument, notFoundEntity } from './errors.js'

const FREE = { id: 'free-tier', name: 'Gemini Code Assist for individuals' }
const STANDARD = { id: 'standard-tier', name: 'Gemini Code Assist', userDefinedCloudaicompanionProject: true }
const LEGACY = { id: 'legacy-tier', name: '', userDefinedCloudaicompanionProject: true }

const TIERS: Record<Exclude<GeminiTier, 'retired' | 'unverified'>, { id: string; name: string }> = {
  'free-tier': FREE,
  'legacy-tier': LEGACY,
  'standard-tier': STANDARD,
}

/** What Google says about an account that may not use this client. */
const INELIGIBLE = {
  retired: {
    reasonCode: 'UNSUPPORTED_CLIENT',
    reasonMessage:
      'This client is no longer supported for Gemini Code Assist for individuals. To continue using Gemini, please ' +
      'migrate to the Antigravity suite of products: https://antigravity.google',
    tierId: FREE.id,
    tierName: FREE.name,
  },
  unverified: {
    reasonCode: 'VALIDATION_REQUIRED',
    reasonMessage: 'Verify your account to continue.',
    tierId: FREE.id,
    tierName: FREE.name,
    validationUrl: 'https://accounts.google.com/signin/continue',
  },
} as const

export function loadCodeAssist({ tier, onboarded, project }: GeminiAccount): Answer {
  if (tier === 'retired' || tier === 'unverified') {
    return json(200, { allowedTiers: [LEGACY], ineligibleTiers: [INELIGIBLE[tier]] })
  }
  const allowedTiers = [{ ...TIERS[tier], isDefault: true }, ...(tier === 'standard-tier' ? [] : [STANDARD])]
  if (!onboarded) return json(200, { allowedTiers })
  return json(200, {
    currentTier: TIERS[tier],
    allowedTiers,
    cloudaicompanionProject: project,
    gcpManaged: false,
  })
}

/** Starts a long operation; the account has its project when the operation has been polled. */
export function onboardUser(account: GeminiAccount, body: unknown): Answer {
  const tierId = text(body, 'tierId')
  if (tierId === undefined) return invalidArgument('Tier ID is required.')
  if (account.tier === 'retired' || account.tier === 'unverified') {
    return json(200, { name: operationOf(account), done: true, response: {} })
  }
  if (tierId !== account.tier) return invalidArgument(`Tier ${tierId} is not allowed.`)
  if (tierId === FREE.id && field(body, 'cloudaicompanionProject') !== undefined) return preconditionFailed
  return json(200, { name: operationOf(account), done: false })
}

export function pollOperation(account: GeminiAccount, name: string): Answer {
  if (name !== operationOf(account)) return notFoundEntity
  account.onboarded = true
  const cloudaicompanionProject = { id: account.project, name: account.project, projectNumber: '1' }
  return json(200, { name, done: true, response: { cloudaicompanionProject } })
}

const operationOf = (account: GeminiAccount): string => `operations/onboard-${account.id}`

/** The free tier brings a project of Google's own; naming another is an error. */
const preconditionFailed = googleError({
  code: 400,
  status: 'FAILED_PRECONDITION',
  message: 'Precondition check failed.',
})
