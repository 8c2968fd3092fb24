import {
  type Answer,
  field,
  type GeminiAccount,
  type Simulator,
  type SimRequest,
  text,
  type Upstream,
} from '../../../src/simulator/index.js'
import { json } from './authorization.js'

/**
 * An account that may not generate yet. `retired`: Google refuses this client for it; `unverified`: the person has to
 * prove their identity in a browser first. A tier: the account has no project before `onboardUser`.
 */
export type Standing = 'free-tier' | 'standard-tier' | 'retired' | 'unverified'

/**
 * Code Assist as accounts meet it that are not onboarded, for `startSimulator({ upstreams })`. An account that has been
 * onboarded is taken out of `standings`.
 */
export function onboarding(standings: Map<string, Standing>): (sim: Simulator) => Upstream[] {
  return ({ gemini }) => {
    const holder = ({ headers }: SimRequest) =>
      gemini.accounts.find(
        (account) =>
          standings.has(account.id) &&
          account.stateOf(headers.authorization?.replace('Bearer ', '') ?? '') === 'valid',
      )
    const answers = (request: SimRequest, account: GeminiAccount) =>
      answer(request, account, standings.get(account.id)!, () => standings.delete(account.id))
    return [
      {
        kind: 'gemini',
        owns: (request) => /^\/v1internal[:/]/.test(request.path) && holder(request) !== undefined,
        account: (request) => holder(request)?.id,
        answer: (request) => answers(request, holder(request)!),
      },
      {
        // The poll of another account, or after the end.
        kind: 'gemini',
        owns: ({ path }) => path.startsWith('/v1internal/'),
        account: () => undefined,
        answer: () => json(404, { error: { code: 404, status: 'NOT_FOUND' } }),
      },
    ]
  }
}

const FREE = { id: 'free-tier', name: 'Gemini Code Assist for individuals' }
const STANDARD = {
  id: 'standard-tier',
  name: 'Gemini Code Assist',
  userDefinedCloudaicompanionProject: true,
}
const LEGACY = { id: 'legacy-tier', name: '', userDefinedCloudaicompanionProject: true }

/** Google's words for an account that may not use this client. */
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

function answer(request: SimRequest, account: GeminiAccount, standing: Standing, admit: () => void): Answer {
  const { path } = request
  if (path.endsWith(':loadCodeAssist')) return loadCodeAssist(standing)
  if (path.endsWith(':onboardUser')) return onboardUser(account, standing, request.json)
  if (path === `/v1internal/${operationOf(account)}`) {
    admit()
    const cloudaicompanionProject = { id: account.project, name: account.project, projectNumber: '1' }
    return json(200, { name: operationOf(account), done: true, response: { cloudaicompanionProject } })
  }
  return googleError(403, 'PERMISSION_DENIED', NO_LICENSE)
}

function loadCodeAssist(standing: Standing): Answer {
  if (standing === 'retired' || standing === 'unverified')
    return json(200, { allowedTiers: [LEGACY], ineligibleTiers: [INELIGIBLE[standing]] })
  const tiers = standing === 'free-tier' ? [FREE, STANDARD] : [STANDARD]
  return json(200, { allowedTiers: tiers.map((tier, index) => ({ ...tier, isDefault: index === 0 })) })
}

/** Starts a long operation; the account has its project when the operation has been polled. */
function onboardUser(account: GeminiAccount, standing: Standing, body: unknown): Answer {
  const tierId = text(body, 'tierId')
  if (standing === 'retired' || standing === 'unverified')
    return json(200, { name: operationOf(account), done: true, response: {} })
  if (tierId !== standing) return googleError(400, 'INVALID_ARGUMENT', `Tier ${tierId} is not allowed.`)
  // The free tier brings a project of Google's own; naming another is an error.
  if (tierId === FREE.id && field(body, 'cloudaicompanionProject') !== undefined)
    return googleError(400, 'FAILED_PRECONDITION', 'Precondition check failed.')
  return json(200, { name: operationOf(account), done: false })
}

const operationOf = ({ id }: GeminiAccount): string => `operations/onboard-${id}`

const googleError = (code: number, status: string, message: string): Answer =>
  json(code, { error: { code, status, message } })

const NO_LICENSE =
  'You do not have a valid license of this product. Please contact your administrator to request a license. If you ' +
  'are not an enterprise user and believe you are receiving this message as an error, please try using the latest ' +
  'version and logging in again. (#3501)'
