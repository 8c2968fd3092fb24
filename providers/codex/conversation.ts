import type { ClientRequest, Conversation } from '../../config/provider.js'
import { header } from '../header.js'
import { fields, parseJson, text } from '../json.js'
import { placeOf } from './paths.js'

/**
 * Model requests belong to a session, all others to a person. Headers go first: a body that need not be read is not
 * parsed.
 */
export function conversation(request: ClientRequest): Conversation | undefined {
  const { area, rest } = placeOf(request.path)
  const reads = request.method === 'GET' || request.method === 'HEAD'
  // A GET of the path itself is the handshake of a WebSocket.
  const generates = area === 'responses' && (!reads || rest === '/responses')
  if (!generates) return personal(request, area === 'backend' && changesAccount(request.method, rest))
  const id = sessionOf(request)
  return id === undefined ? undefined : { id }
}

/** The person's own account if the pool has it, else one that stays the same for that person. */
function personal(request: ClientRequest, ownerOnly: boolean): Conversation {
  const owner = header(request.headers, 'chatgpt-account-id')
  return { id: `caller:${request.client}:${owner ?? ''}`, owner, ownerOnly }
}

/** Changes that cost nobody anything and that Codex makes as a part of its work. */
const HARMLESS = /^\/wham\/(tasks(\/|$)|usage\/.+\/query$)/

function changesAccount(method: string, rest: string): boolean {
  // Tools of the person's connected apps: whoever reads them reads that person's mail.
  if (/^\/ps\/mcp\b/.test(rest)) return true
  return method !== 'GET' && method !== 'HEAD' && !HARMLESS.test(rest)
}

function sessionOf(request: ClientRequest): string | undefined {
  const named = header(request.headers, 'session-id') ?? text(turnMetadata(request)?.session_id)
  if (named !== undefined) return named
  const body = fields(request.json())
  // Web search sends the session in its own field.
  return text(body?.prompt_cache_key) ?? (request.path.endsWith('/alpha/search') ? text(body?.id) : undefined)
}

/** The model a request is for; headers first, as above. */
export function model(request: ClientRequest): string | undefined {
  // An image's turn metadata names the chat model that asked for it.
  if (!/\/images\//.test(request.path)) {
    const hint = /(?:^|[;,\s])model=([^;,\s]+)/.exec(
      header(request.headers, 'x-codex-routing-hint') ?? '',
    )?.[1]
    const named = hint ?? text(turnMetadata(request)?.model)
    if (named !== undefined) return named
  }
  return text(fields(request.json())?.model)
}

function turnMetadata(request: ClientRequest) {
  return fields(parseJson(header(request.headers, 'x-codex-turn-metadata')))
}
