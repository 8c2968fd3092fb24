import type { ClientRequest, Conversation } from '../config/provider.js'
import { historyIn, settingIn } from './history.js'
import { header } from './http.js'
import { type Fields, fields, text } from './json.js'

/** Headers in which clients name their conversation. */
const NAMES = [
  'session-id',
  'session_id',
  'x-session-id',
  'x-session-affinity',
  'x-claude-code-session-id',
  'x-conversation-id',
  'conversation-id',
  'conversation_id',
] as const

/**
 * Which conversation a request of any known API belongs to: by the name that its client gives, else by what the request
 * repeats. Serves the built-in providers, and a provider of your own: `conversation: conversationOf`. Reads the body only
 * where no header names the conversation.
 */
export function conversationOf(request: ClientRequest): Conversation | undefined {
  const named = nameInHeaders(request) ?? threadOfCodex(request)
  if (named !== undefined) return { id: named }
  const body = fields(request.json())
  return body && conversationIn(body, request)
}

export function nameInHeaders({ headers }: ClientRequest): string | undefined {
  return NAMES.map((name) => header(headers, name)).find((value) => value !== undefined)
}

/** Codex writes the id of its thread into a header that other clients give another value in each request. */
function threadOfCodex({ headers }: ClientRequest): string | undefined {
  const client = header(headers, 'originator') ?? header(headers, 'user-agent')
  return client?.startsWith('codex') ? header(headers, 'x-client-request-id') : undefined
}

function conversationIn(body: Fields, { path, headers }: ClientRequest): Conversation | undefined {
  const named = nameIn(body)
  if (named !== undefined) return { id: named }
  const previous = text(body.previous_response_id)
  // With an earlier response to go on from, a request repeats nothing.
  const parts = previous === undefined ? historyIn(body, path) : []
  const name = previous ?? header(headers, 'x-client-request-id')
  if (name === undefined && parts.length === 0) return undefined
  // The SDKs of OpenAI count here how often they have sent the request before.
  const repeated = Number(header(headers, 'x-stainless-retry-count') ?? 0) > 0
  return {
    id: '',
    history: { names: name === undefined ? [] : [name], parts, setting: settingIn(body), repeated },
  }
}

function nameIn(body: Fields): string | undefined {
  const inner = fields(body.request)
  return (
    text(body.prompt_cache_key) ??
    text(body.conversation) ??
    text(fields(body.conversation)?.id) ??
    text(body.session_id) ??
    text(inner?.session_id) ??
    sessionOfUser(fields(body.metadata))
  )
}

/** Claude Code writes its session into the name of the user: `user_…_account_…_session_UUID`. */
function sessionOfUser(metadata: Fields | undefined): string | undefined {
  return /_session_([\da-f-]{36})$/.exec(text(metadata?.user_id) ?? '')?.[1]
}
