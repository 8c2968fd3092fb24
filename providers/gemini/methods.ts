import type { ClientRequest } from '../../config/provider.js'
import { normalPath } from '../address.js'

/** The method of a Code Assist request: `streamGenerateContent` of `/v1internal:streamGenerateContent`. */
export function methodOf({ path }: ClientRequest): string | undefined {
  return /^\/v1internal:(\w+)$/.exec(normalPath(path))?.[1]
}

/** Calls by POST that ask and change nothing, or that may be billed twice but create nothing twice. */
const REPLAYABLE = new Set([
  'generateContent',
  'streamGenerateContent',
  'countTokens',
  'loadCodeAssist',
  'retrieveUserQuota',
  'listExperiments',
  'fetchAdminControls',
])

export function replayable(request: ClientRequest): boolean {
  return REPLAYABLE.has(methodOf(request) ?? '')
}
