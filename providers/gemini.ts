import type { Provider } from '../config/provider.js'
import { normalPath, queryOf } from './http.js'
import { answer } from './gemini/answers.js'
import { aliases, conversation, model } from './gemini/requests.js'
import { authHeaders, inspect } from './gemini/credentials.js'
import { discover } from './gemini/discover.js'
import { login } from './gemini/credentials.js'
import { replayable } from './gemini/requests.js'
import { rewriteBody } from './gemini/requests.js'
import { pollQuota } from './gemini/quota.js'
import { refresh } from './gemini/credentials.js'
import type { ResolvedGeminiSettings } from './gemini/credentials.js'
import { classify } from './gemini/verdict.js'
import { geminiEvent, geminiUsage, geminiUsageMarker } from './google/stream.js'
import { googleExhausted, googleFailure } from './google/answers.js'

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
    classify,
    classifyEvent: (event, request) => geminiEvent(event, request && model(request)),
    usage: geminiUsage,
    usageMarker: geminiUsageMarker,
    pollQuota: pollQuota(settings),
    answer,
    exhausted: (exhaustion) => googleExhausted(exhaustion),
    failure: googleFailure,
  }
}
