import type { Provider, Verdict } from '../config/provider.js'
import { answer, pollQuota } from './gemini/answers.js'
import { authHeaders, inspect, login, refresh, type ResolvedGeminiSettings } from './gemini/credentials.js'
import { discover, ineligible, validationNeeded } from './gemini/discover.js'
import { aliases, conversation, model, replayable, rewriteBody } from './gemini/requests.js'
import { googleExhausted, googleFailure } from './google/answers.js'
import { type GoogleError, googleVerdicts } from './google/errors.js'
import { geminiUsage, geminiUsageMarker } from './google/generation.js'
import { normalPath, queryOf } from './http.js'
import { text } from './json.js'

/** Gemini CLI over Code Assist OAuth accounts. */
export function gemini(settings: ResolvedGeminiSettings): Provider {
  return {
    upstream: settings.upstream,
    credentials: 'gemini_*.json',
    inspect,
    authorize: ({ credential }) => authHeaders(credential),
    path: ({ path, url }) => normalPath(path) + queryOf(url),
    conversation,
    aliases,
    model,
    replayable,
    rewriteBody,
    discover: discover(settings),
    refresh: refresh(settings),
    login: login(settings),
    ...googleVerdicts({ model, accountVerdict }),
    usage: geminiUsage,
    usageMarker: geminiUsageMarker,
    pollQuota: pollQuota(settings),
    answer,
    exhausted: googleExhausted,
    failure: googleFailure,
  }
}

/** "You do not have a valid license of this product. … (#3501)", and the refusal of a retired client. */
const NOT_SERVED = /valid licen[cs]e|#3501|client is no longer supported/i

/** An obstacle between the account and Code Assist that every other request meets, too. */
function accountVerdict(
  { reason, message, link, metadata }: GoogleError,
  status: number,
): Verdict | undefined {
  if (status !== 403) return undefined
  if (reason === 'VALIDATION_REQUIRED')
    return {
      kind: 'needs-login',
      reason: validationNeeded(link ?? text(metadata.validation_link)).message,
    }
  if (reason === 'TOS_VIOLATION')
    return { kind: 'needs-login', reason: 'Google has closed Code Assist to this account' }
  return NOT_SERVED.test(message) ? { kind: 'needs-login', reason: ineligible([]).message } : undefined
}
