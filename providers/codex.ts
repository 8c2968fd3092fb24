import { join } from 'node:path'
import type { Answer, Exhaustion, Provider } from '../config/provider.js'
import { answer } from './codex/answers.js'
import { conversation, model } from './codex/requests.js'
import { authHeaders, inspect } from './codex/credentials.js'
import { discover } from './codex/refresh.js'
import { login } from './codex/login.js'
import { mergeModels } from './codex/answers.js'
import { replayable, serves, upstreamPath } from './codex/requests.js'
import { poolHeaders } from './codex/pool-quota.js'
import { pollQuota, quotaFromHeaders } from './codex/quota.js'
import { refresh } from './codex/refresh.js'
import { codexSocket } from './codex/socket.js'
import type { ResolvedCodexSettings } from './codex/credentials.js'
import { classify, classifyEvent } from './codex/verdict.js'
import { openAiFailure } from './openai.js'
import { openAiUsage, openAiUsageMarker } from './openai.js'

/** Codex CLI over ChatGPT accounts and OpenAI API keys. */
export function codex(settings: ResolvedCodexSettings): Provider {
  return {
    upstream: settings.responsesBase,
    credentials: '*.json',
    inspect: inspect(settings),
    authorize: ({ credential, facts }) => authHeaders(credential, facts),
    discover: discover(settings),
    path: upstreamPath(settings),
    conversation,
    model,
    serves,
    replayable,
    clientFiles: settings.codexHome === false ? [] : [join(settings.codexHome, 'auth.json')],
    loginFields: ['auth_mode', 'OPENAI_API_KEY', 'tokens', 'last_refresh'],
    refresh: refresh(settings),
    login: login(settings),
    classify,
    classifyEvent,
    usage: openAiUsage,
    usageMarker: openAiUsageMarker,
    quota: (headers) => quotaFromHeaders(headers),
    pollQuota: pollQuota(settings),
    socket: codexSocket,
    // Opaque, and sent back in the same turn: another account's upstream would not know it.
    boundHeaders: ['x-codex-turn-state'],
    // Codex fetches the model list again whenever it differs, as it would after every change of account.
    hiddenHeaders: ['x-models-etag'],
    poolHeaders,
    answer: answer(settings),
    merge: mergeModels,
    exhausted,
    failure: openAiFailure,
  }
}

/**
 * In Codex's own words, so that it stops at once and says when to come back. With `Retry-After` nothing would be
 * gained: this answer is final to it.
 */
function exhausted({ resetsAt, plan }: Exhaustion): Answer {
  const error = {
    type: 'usage_limit_reached',
    message: 'Every account of the pool has reached its usage limit.',
    ...(plan === undefined ? {} : { plan_type: plan }),
    ...(resetsAt === undefined ? {} : { resets_at: Math.ceil(resetsAt / 1000) }),
  }
  return { status: 429, body: { error } }
}
