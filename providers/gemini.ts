import type { Provider } from '../config/provider.js'
import { normalPath, queryOf } from './address.js'
import { answer } from './gemini/answers.js'
import { aliases, conversation, model } from './gemini/conversation.js'
import { authHeaders, inspect } from './gemini/credentials.js'
import { discover } from './gemini/discover.js'
import { login } from './gemini/login.js'
import { replayable } from './gemini/methods.js'
import { rewriteBody } from './gemini/project.js'
import { pollQuota } from './gemini/quota.js'
import { refresh } from './gemini/refresh.js'
import type { Settings } from './gemini/settings.js'
import { classify } from './gemini/verdict.js'
import { geminiEvent, geminiUsage, geminiUsageMarker } from './gemini-stream.js'
import { googleExhausted, googleFailure } from './google-answers.js'

/** Gemini CLI over Code Assist OAuth accounts. */
export function gemini(settings: Settings): Provider {
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
