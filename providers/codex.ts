import { join } from 'node:path'
import type { ClientRequest, Provider, ProviderAccount } from '../config/provider.js'
import { adapt, apiOf } from './codex/adapt.js'
import { answer, keepAlive, streamFailure, usageLimit } from './codex/answers.js'
import { authHeaders, inspect, type ResolvedCodexSettings } from './codex/credentials.js'
import { AnsweredItems } from './codex/items.js'
import { discover, login, refresh } from './codex/login.js'
import { mergeModels } from './codex/models.js'
import { poolHeaders } from './codex/pool-quota.js'
import { pollQuota, quotaFromHeaders, quotaFromMessage, redeem, spending } from './codex/quota.js'
import {
  conversation,
  model,
  replayable,
  serves,
  unserved,
  upstreamPath,
  usesQuota,
} from './codex/requests.js'
import { resourcesIn, resourcesMade } from './codex/resources.js'
import { codexSocket } from './codex/socket.js'
import { classify, classifyEvent } from './codex/verdict.js'
import { isGemini } from './google/paths.js'
import { openingOf } from './history.js'
import { openAiFailure, openAiHeaders, openAiUsage, openAiUsageMarker } from './openai.js'

/** The members that no setting changes. */
const withoutSettings = {
  claims: (head) => !isGemini(head),
  conversation,
  opening: openingOf,
  model,
  serves,
  replayable,
  usesQuota,
  resources: resourcesIn,
  resourcesMade,
  // An opaque value that Codex sends back in the same turn; another account's upstream does not know it.
  boundHeaders: ['x-codex-turn-state'],
  classify,
  classifyEvent,
  usage: openAiUsage,
  usageMarker: openAiUsageMarker,
  // Codex fetches the model list again when this value changes, so after every change of account.
  hiddenHeaders: ['x-models-etag'],
  credentials: '*.json',
  passHeaders: openAiHeaders,
  loginFields: ['auth_mode', 'OPENAI_API_KEY', 'tokens', 'last_refresh'],
  poolHeaders,
  merge: mergeModels,
  unserved,
  failure: openAiFailure,
  keepAlive,
  streamFailure,
} satisfies Partial<Provider>

/** Codex CLI over ChatGPT accounts and OpenAI API keys. */
export function codex(settings: ResolvedCodexSettings): Provider {
  const spent = spending(settings)
  const items = new AnsweredItems()
  return {
    ...withoutSettings,
    upstream: settings.responsesBase,
    inspect: inspect(settings),
    authorize: ({ credential, facts }) => authHeaders(credential, facts),
    discover: discover(settings),
    refresh: refresh(settings),
    login: login(settings),
    clientFiles: settings.codexHome === false ? [] : [join(settings.codexHome, 'auth.json')],
    path: upstreamPath(settings),
    ...(settings.adapt && {
      adapt: adapt(settings, items),
      resources: (request: ClientRequest) =>
        resourcesIn(request).filter((id) => !items.has(request.client, id)),
      serves: (account: ProviderAccount, request: ClientRequest) =>
        apiOf(request) === 'chat' || serves(account, request),
    }),
    hosts: [settings.whamBase, settings.openaiBase].flatMap((base) =>
      URL.canParse(base) ? new URL(base).host : [],
    ),
    quota: (headers) => spent(quotaFromHeaders(headers)),
    pollQuota: pollQuota(settings),
    redeem: redeem(settings),
    answer: answer(settings),
    exhausted: (exhaustion) => ({ status: 429, body: { error: usageLimit(exhaustion) } }),
    socket: { ...codexSocket, quota: (message) => spent(quotaFromMessage(message)) },
  }
}
