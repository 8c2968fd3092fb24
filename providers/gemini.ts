import type { Provider, Verdict } from '../config/provider.js'
import { answer, pollQuota } from './gemini/answers.js'
import { authHeaders, inspect, login, refresh, type ResolvedGeminiSettings } from './gemini/credentials.js'
import { discover, ineligible, validationNeeded } from './gemini/discover.js'
import { aliases, conversation, model, replayable, rewriteBody, usesQuota } from './gemini/requests.js'
import { googleExhausted, googleFailure, googleHeaders } from './google/answers.js'
import type { GoogleError } from './google/errors.js'
import { geminiUsage, geminiUsageMarker, keepAlive, streamFailure } from './google/generation.js'
import { resourcesIn, resourcesMade } from './google/resources.js'
import { googleVerdicts, reasonOf } from './google/verdict.js'
import { openingOf } from './history.js'
import { normalPath, queryOf } from './http.js'
import { text } from './json.js'

/** Gemini CLI over Code Assist OAuth accounts. */
export function gemini(settings: ResolvedGeminiSettings): Provider {
  return {
    upstream: settings.upstream,
    credentials: 'gemini_*.json',
    passHeaders: googleHeaders,
    inspect,
    authorize: ({ credential }) => authHeaders(credential),
    path: ({ path, url }) => normalPath(path) + queryOf(url),
    conversation,
    aliases,
    opening: openingOf,
    model,
    replayable,
    usesQuota,
    resources: resourcesIn,
    resourcesMade,
    rewriteBody,
    discover: discover(settings),
    refresh: refresh(settings),
    login: login(settings),
    ...googleVerdicts({ model, accountVerdict }),
    usage: geminiUsage,
    usageMarker: geminiUsageMarker,
    keepAlive,
    streamFailure,
    pollQuota: pollQuota(settings),
    answer,
    exhausted: googleExhausted,
    failure: googleFailure,
  }
}

/** "You do not have a valid license of this product. … (#3501)", and the refusal of a retired client. */
const NOT_SERVED = /valid licen[cs]e|#3501|client is no longer supported/i

/** The project is not this account's, or is not set up for Code Assist. */
const PROJECT_REASONS = new Set([
  'CONSUMER_INVALID',
  'RESOURCE_PROJECT_INVALID',
  'SERVICE_DISABLED',
  'USER_PROJECT_DENIED',
])
const PROJECT_WORDS =
  /resource project|permission to use project|has not been used in project|\bproject\b.{1,100}(?:not found|deleted)/i

function accountVerdict(error: GoogleError, model: string | undefined): Verdict | undefined {
  const { code = 403, reason, message, link, metadata } = error
  if (code !== 403 && code !== 404 && code !== 400) return undefined
  if (PROJECT_REASONS.has(reason ?? '') || (code !== 400 && PROJECT_WORDS.test(message)))
    return { kind: 'refused', reason: reasonOf('project_refused', error), model, doubts: 'facts' }
  if (code !== 403) return undefined
  if (reason === 'VALIDATION_REQUIRED') {
    const { message } = validationNeeded(link ?? text(metadata.validation_link))
    return { kind: 'needs-login', reason: message }
  }
  if (reason === 'TOS_VIOLATION')
    return { kind: 'needs-login', reason: reasonOf('Google has closed Code Assist to this account', error) }
  return NOT_SERVED.test(message) ? { kind: 'needs-login', reason: ineligible([message]).message } : undefined
}
