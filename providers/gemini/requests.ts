import type { ClientRequest, Conversation, ProviderAccount } from '../../config/provider.js'
import { conversationOf } from '../conversation.js'
import { normalPath } from '../http.js'
import { fields, objects, text } from '../json.js'

/** The method of a Code Assist request: `streamGenerateContent` of `/v1internal:streamGenerateContent`. */
export function methodOf({ path }: ClientRequest): string | undefined {
  return /^\/v1internal:(\w+)$/.exec(normalPath(path))?.[1]
}

/** POSTs that may be sent twice: they change nothing, or are billed twice at worst. */
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

export function usesQuota(request: ClientRequest): boolean {
  return /^(g|streamG)enerateContent$/.test(methodOf(request) ?? '')
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/i

/** Generations and the reports about them belong to a session; other calls belong to the client. */
export function conversation(request: ClientRequest): Conversation | undefined {
  switch (methodOf(request)) {
    case 'generateContent':
    case 'streamGenerateContent':
      return sessionOf(fields(request.json()) ?? {}) ?? conversationOf(request)
    case 'recordCodeAssistMetrics':
      return reportOf(fields(request.json()) ?? {})
    case 'countTokens':
      return undefined
    default:
      return { id: `caller:${request.client}` }
  }
}

/**
 * The session id changes in the middle of a conversation when the client falls back to another model; the UUID in
 * `user_prompt_id` (`UUID########2`) does not.
 */
function sessionOf(body: Record<string, unknown>): Conversation | undefined {
  const prompt = UUID.exec(text(body.user_prompt_id) ?? '')?.[0]
  const session = text(fields(body.request)?.session_id) ?? prompt
  if (session === undefined) return undefined
  return prompt === undefined || prompt === session ? { id: session } : { id: session, aliases: [prompt] }
}

/** A report names the session, or only the trace id of an answer. */
function reportOf(body: Record<string, unknown>): Conversation | undefined {
  const metric = objects(body.metrics)[0]
  const offered = fields(metric?.conversationOffered)
  const id =
    text(offered?.trajectoryId) ??
    text(offered?.traceId) ??
    text(fields(metric?.conversationInteraction)?.traceId)
  return id === undefined ? undefined : { id }
}

/** The trace id of an answer: a later report names the conversation by it. */
export function aliases(payload: unknown): readonly string[] | undefined {
  const trace = text(fields(payload)?.traceId)
  return trace === undefined ? undefined : [trace]
}

/** `countTokens` writes its model as `models/NAME`. */
export function model(request: ClientRequest): string | undefined {
  const body = fields(request.json())
  const named = text(body?.model) ?? text(fields(body?.request)?.model)
  return named?.replace(/^models\//, '')
}

/** The project name that the client gets. In each request the chosen account's own project replaces it. */
export const POOL_PROJECT = 'codex-pool'

/**
 * Puts the account's own project in every field that carries one: a token with another account's project is refused
 * with 403. A field that is not there is not added, since not every method has it.
 */
export function rewriteBody(body: unknown, account: ProviderAccount): unknown {
  const json = fields(body)
  if (!json) return body
  const project = projectOf(account)
  const metadata = fields(json.metadata)
  const own = (names: readonly string[], from: Record<string, unknown>) =>
    Object.fromEntries(names.filter((name) => name in from).map((name) => [name, project]))
  return {
    ...json,
    ...own(['project', 'cloudaicompanionProject'], json),
    ...(metadata && { metadata: { ...metadata, ...own(['duetProject'], metadata) } }),
  }
}

/** A `project_id` in the file wins over the project that `discover` found, as soon as the file has it. */
export function projectOf({ credential, facts }: ProviderAccount): string | undefined {
  return text(credential.project_id) ?? facts.project
}
