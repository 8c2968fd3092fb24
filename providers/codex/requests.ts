import type {
  ClientRequest,
  Conversation,
  PoolAccount,
  Provider,
  ProviderAccount,
} from '../../config/provider.js'
import { conversationOf, nameInHeaders } from '../conversation.js'
import { header, join, normalPath, queryOf } from '../http.js'
import { fields, parseJson, text } from '../json.js'
import { isApps } from './apps.js'
import { identityOf, isApiKey, personOf, type ResolvedCodexSettings } from './credentials.js'
import { isAllCompacted } from './encrypted.js'

/** The part of the upstream that a path belongs to. */
export interface Place {
  /** The Responses API, or everything else that the ChatGPT backend offers. */
  readonly area: 'responses' | 'backend'
  /** The path within the area: begins with `/`, or is empty. */
  readonly rest: string
  /** Whether API keys can use it, too. */
  readonly open: boolean
}

/** The client's prefixes. Any other path, such as `/responses`, is kept as it is under the Responses base. */
const PREFIXES: readonly (readonly [prefix: string, area: Place['area'], rest: string, open: boolean])[] = [
  ['/backend-api/codex', 'responses', '', false],
  ['/backend-api', 'backend', '', false],
  // With a base URL without /backend-api, Codex writes /api/codex in place of /wham.
  ['/api/codex', 'backend', '/wham', false],
  ['/v1', 'responses', '', true],
]

let last: { readonly path: string; readonly place: Place } = { path: '', place: placeIn('') }

/** The last place is kept: it is asked for once per account of the pool, and at several steps of one request. */
export function placeOf(path: string): Place {
  if (path !== last.path) last = { path, place: placeIn(path) }
  return last.place
}

function placeIn(path: string): Place {
  const clean = normalPath(path)
  const found = PREFIXES.find(([prefix]) => clean === prefix || clean.startsWith(`${prefix}/`))
  if (!found) return { area: 'responses', rest: clean, open: true }
  const [prefix, area, before, open] = found
  return { area, rest: before + clean.slice(prefix.length), open }
}

export function upstreamPath(settings: ResolvedCodexSettings): NonNullable<Provider['path']> {
  return function path(request, account) {
    const { area, rest } = placeOf(request.path)
    const base = isApiKey(account.credential)
      ? settings.openaiBase
      : area === 'responses'
        ? settings.responsesBase
        : settings.whamBase
    const query = queryOf(request.url)
    const listsModels = rest === '/models' || modelOfPath(request) !== undefined
    if (base !== settings.responsesBase || !listsModels) return join(base, rest) + query
    if (namesVersion(query)) return join(base, '/models') + query
    return `${join(base, '/models')}${query === '' ? '?' : `${query}&`}client_version=${CLIENT_VERSION}`
  }
}

/** The name in `GET /v1/models/NAME`. The ChatGPT backend has the list of models alone. */
export function modelOfPath(request: ClientRequest): string | undefined {
  const { rest, open } = placeOf(request.path)
  if (request.method !== 'GET' || !open || isCodexs(request)) return undefined
  return /^\/models\/(.+)$/.exec(rest)?.[1]
}

/** The ChatGPT backend refuses `/models` without the version of a client, and lists the models that this one knows. */
const CLIENT_VERSION = '0.169.0'

export const namesVersion = (url: string): boolean => /[?&]client_version=/.test(url)

/** Whether Codex itself sends a request, as its headers tell. */
export function isCodexs({ headers }: Pick<ClientRequest, 'headers'>): boolean {
  if (/^codex/i.test(header(headers, 'originator') ?? '')) return true
  return Object.keys(headers).some((name) => name.startsWith('x-codex-') && !name.startsWith('x-codex-pool-'))
}

/** Paths that the ChatGPT backend has for every client. It does not keep the responses that it has given. */
const CHATGPT = /^\/(?:responses(?:\/compact)?|models(?:\/[^/]+)?|alpha\/search|memories\/trace_summarize)$/
/** Paths that it does not have. Codex itself asks for more than these two lists name, such as images. */
const NOT_CHATGPT =
  /^\/(?:chat|completions|embeddings|moderations|audio|batches|vector_stores|fine_tuning|assistants|threads)(?:\/|$)/

/** An API key can use the public API, and nothing of the ChatGPT backend; a ChatGPT account the paths that Codex uses. */
export function serves({ credential }: ProviderAccount, request: ClientRequest): boolean {
  const { area, rest, open } = placeOf(request.path)
  if (isApiKey(credential)) return open
  if (!open || area !== 'responses' || CHATGPT.test(rest)) return true
  return isCodexs(request) && !NOT_CHATGPT.test(rest)
}

/** Characters of a path in a message. */
const LONGEST_PATH = 100

/** Why no account of the pool can serve a request, and the way out. */
export function unserved(request: ClientRequest, accounts: readonly PoolAccount[]): string {
  const { open } = placeOf(request.path)
  const path = request.path.slice(0, LONGEST_PATH)
  if (!open) return `${path} is served by ChatGPT accounts only: codex-pool login codex`
  const keys = accounts.filter(({ inspection }) => inspection.kind === 'api-key')
  return keys.length > 0
    ? `${path} is served by OpenAI API keys only, and providers.codex.apiKeys keeps ` +
        `${keys.map(({ id }) => id).join(', ')} from being used beside ChatGPT accounts: set it to 'when-needed'`
    : `${path} is served by OpenAI API keys only: codex-pool add FILE, with { "OPENAI_API_KEY": "…" } in it`
}

const GENERATION =
  /^\/(?:responses(?:\/(?:compact|input_tokens))?|chat\/completions|completions|embeddings|moderations|audio\/(?:transcriptions|translations|speech)|images\/(?:generations|edits|variations)|alpha\/search|memories\/trace_summarize)$/
/** A question that is sent by POST because it is long. */
const QUERY = /^\/wham\/usage\/.+\/query(_v\d+)?$/

/** Whether a request, or the handshake of a WebSocket, is for the model API. */
export function generates(request: ClientRequest | undefined): boolean {
  if (!request) return true
  const { area, rest } = placeOf(request.path)
  return area === 'responses' && (GENERATION.test(rest) || rest.startsWith('/realtime'))
}

/** Every other call asks for settings, tasks, plugins and the like, or redeems a credit just because quota is used up. */
export function usesQuota({ method, path }: ClientRequest): boolean {
  const { area, rest } = placeOf(path)
  const reads = method === 'GET' || method === 'HEAD' || method === 'DELETE'
  return area === 'responses' && !reads && !/^\/(models|analytics-events)(\/|$)/.test(rest)
}

/** Sent twice, these requests may be billed twice but create nothing twice. */
export function replayable({ path }: ClientRequest): boolean {
  const { area, rest } = placeOf(path)
  return (area === 'responses' ? GENERATION : QUERY).test(rest)
}

/**
 * Model requests belong to a session, all others to a person. Headers are read first: parsing a body is costly, and most
 * requests need no parsing.
 */
export function conversation(request: ClientRequest): Conversation | undefined {
  const { area, rest } = placeOf(request.path)
  const reads = request.method === 'GET' || request.method === 'HEAD'
  // A GET of the path itself is the handshake of a WebSocket.
  const isSession = area === 'responses' && (!reads || rest === '/responses')
  if (!isSession) return personal(request, area, rest)
  const told = sessionOf(request) ?? conversationOf(request)
  return told && isBound(request) ? { ...told, bound: true } : told
}

/** The caller's own account: the known person's, else one of the same workspace. */
export interface Caller {
  readonly owner: string | undefined
  readonly workspace: string | undefined
}

export function callerOf({ headers }: ClientRequest): Caller {
  const { accountId, ...person } = personOf(bearerOf(headers))
  const workspace = header(headers, 'chatgpt-account-id') ?? accountId
  return { owner: identityOf(workspace, person), workspace }
}

export function bearerOf(headers: ClientRequest['headers']): string | undefined {
  return header(headers, 'authorization')?.replace(/^bearer +/i, '')
}

/** The person's own account if the pool has it, else one that stays the same for that person. */
function personal(request: ClientRequest, area: Place['area'], rest: string): Conversation {
  // The handshake of a spoken conversation.
  const spoken = rest.startsWith('/realtime') ? nameInHeaders(request) : undefined
  if (spoken !== undefined) return { id: spoken }
  const { owner, workspace } = callerOf(request)
  // A task runs in the person's own repositories. A caller without a login has none, and any account of the pool will do.
  const mayBeAny = QUERY.test(rest) || (owner === undefined && /^\/wham\/tasks(\/|$)/.test(rest))
  const ownerOnly = area === 'backend' && !mayBeAny && changesAccount(request.method, rest)
  return { id: `caller:${request.client}:${owner ?? workspace ?? ''}`, owner, workspace, ownerOnly }
}

function changesAccount(method: string, rest: string): boolean {
  // The person's connected apps: another person would read that person's mail with their tools.
  if (isApps(rest)) return true
  return method !== 'GET' && method !== 'HEAD'
}

/**
 * Whether the request holds a summary that the account encrypted in place of all that was said. Codex counts its context
 * windows, so before the first summary no body is read.
 */
function isBound(request: ClientRequest): boolean {
  const window = /:(\d+)$/.exec(header(request.headers, 'x-codex-window-id') ?? '')?.[1]
  const number = Number(window ?? turnMetadata(request)?.window_number ?? 0)
  if (!(number > 0)) return false
  const body = fields(request.json())
  if (body) return isAllCompacted(body)
  // A handshake has no body yet. Only the settings with which Codex sends this header have summaries encrypted.
  return header(request.headers, 'x-codex-routing-hint') !== undefined
}

/** The session as Codex alone names it. */
function sessionOf(request: ClientRequest): Conversation | undefined {
  if (nameInHeaders(request) !== undefined) return undefined
  // Web search sends the session in its own field.
  const search = request.path.endsWith('/alpha/search')
  const id =
    text(turnMetadata(request)?.session_id) ?? (search ? text(fields(request.json())?.id) : undefined)
  return id === undefined ? undefined : { id }
}

/** The model that a request is for; headers first, as above. */
export function model(request: ClientRequest): string | undefined {
  if (request.path.endsWith('/realtime')) return modelInQuery(request)
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

/** The handshake of a Realtime WebSocket: `/v1/realtime?model=NAME`. */
function modelInQuery({ url }: ClientRequest): string | undefined {
  return new URLSearchParams(queryOf(url)).get('model') ?? undefined
}

function turnMetadata(request: ClientRequest) {
  return fields(parseJson(header(request.headers, 'x-codex-turn-metadata')))
}
