import type { Answer, ClientRequest, Exhaustion, PoolAccount, Provider } from '../../config/provider.js'
import { failedResponse, openAiFailure } from '../openai.js'
import { googleFailure } from '../google/answers.js'
import { isGemini } from '../google/paths.js'
import { exhaustedOnes, header, normalPath } from '../http.js'
import { type Fields, fields, list, number, objects, text } from '../json.js'
import { isApps, noApps } from './apps.js'
import type { ResolvedCodexSettings } from './credentials.js'
import { usageAnswer } from './pool-quota.js'
import { callerOf, isCodexs, type Place, placeOf } from './requests.js'

/** The parts of the ChatGPT backend that Codex calls, beside the model API. */
const FAMILIES = ['wham', 'ps']

/** The answers that the gateway gives without an account, and the paths that no request reaches. */
export function answer({ allow }: ResolvedCodexSettings): NonNullable<Provider['answer']> {
  const families = [...FAMILIES, ...allow.map((family) => family.replace(/^\/+|\/+$/g, ''))]
  return function answer(request, { accounts, now }) {
    if (request.path === '/oauth/token' && request.method === 'POST') return keepYourLogin
    const place = placeOf(request.path)
    if (isGoogles(request, place)) return geminiHere
    return place.area === 'responses'
      ? responsesAnswer(request, place)
      : backendAnswer(request, place, families, accounts, now)
  }
}

/** Whether a request under a path of Codex is a Gemini client's: by its path, where no route for Gemini took it, or its body. */
function isGoogles(request: ClientRequest, { open }: Place): boolean {
  if (!open) return false
  if (isGemini(request) || /^\/v1\/v1internal\b/.test(normalPath(request.path))) return true
  // A search, so that Codex's bodies need not be parsed. Within a text, these quotes would have backslashes in front.
  const mayBe = !isCodexs(request) || request.contains?.('"parts"')
  if (request.method !== 'POST' || !mayBe) return false
  const body = fields(request.json())
  if (!body || (body.input ?? body.messages ?? body.prompt) !== undefined) return false
  const all = objects([body, body.request, ...list(body.requests)])
  return all.some(({ contents, content }) => objects([...list(contents), content]).some(isGeminiContent))
}

const isGeminiContent = ({ parts }: Fields): boolean => Array.isArray(parts)

/** In Google's form, since a Gemini client reads it. The prompt must not go to OpenAI under somebody's login. */
const geminiHere = googleFailure({
  status: 400,
  code: 'wrong_base_address',
  message:
    "This is a Gemini request on a path that leads to Codex accounts. Set the client's base address to the gateway's, " +
    'without a path, and leave the API version to the client.',
})

function responsesAnswer({ method }: ClientRequest, { rest }: Place): Answer | undefined {
  // Analytics are dropped: they would report one person's use under another person's account.
  if (/^\/analytics-events(\/|$)/.test(rest)) return { status: 204 }
  if (rest !== '/responses') return undefined
  if (method === 'HEAD') return { status: 405, headers: { allow: 'POST' } }
  return method === 'GET' ? noWebSocket : undefined
}

function backendAnswer(
  request: ClientRequest,
  { rest }: Place,
  families: readonly string[],
  accounts: readonly PoolAccount[],
  now: number,
): Answer | undefined {
  const reads = request.method === 'GET' || request.method === 'HEAD'
  if (reads && rest === '/wham/accounts/check') return accountsCheck(request)
  if (reads && rest === '/wham/usage') return usageAnswer(request, accounts, now)
  // The policy of a workspace: Codex does not start without it, and another workspace's does not concern the caller.
  if (reads && /^\/wham\/config(\/|$)/.test(rest)) return { status: 200, body: {} }
  if (isApps(rest)) return hasOwner(request, accounts) ? undefined : noApps(request, rest)
  const passes = families.some((family) => rest === `/${family}` || rest.startsWith(`/${family}/`))
  return passes ? undefined : foreignFamily(rest)
}

/** Codex does not start without an entry for its own account id; a pool account's entry would send it elsewhere. */
function accountsCheck({ headers }: ClientRequest): Answer {
  const id = header(headers, 'chatgpt-account-id')
  const routing = {
    workspace_backend_origin: 'https://chatgpt.com',
    account_routing_override: 'NO_CONSTRAINT',
  }
  return { status: 200, body: { accounts: id === undefined ? [] : [{ id, ...routing }] } }
}

/** Every field of a token answer is optional to Codex: with none it keeps the login that it has. */
const keepYourLogin: Answer = { status: 200, headers: { 'cache-control': 'no-store' }, body: {} }

const noWebSocket = openAiFailure({
  status: 426,
  code: 'websocket_not_served',
  message: 'WebSockets are not served here: send POST /responses.',
})

/** Whether the caller's own account is in the pool and can be asked. */
function hasOwner(request: ClientRequest, accounts: readonly PoolAccount[]): boolean {
  const { owner } = callerOf(request)
  const own = accounts.find(({ inspection }) => owner !== undefined && inspection.identity === owner)
  return own !== undefined && own.state !== 'needs-login' && own.state !== 'disabled'
}

function foreignFamily(rest: string): Answer {
  const family = /^\/([\w.-]{1,40})/.exec(rest)?.[1]
  const message =
    family === undefined
      ? 'This path is not one that Codex uses, so it is not passed on to an account.'
      : `/backend-api/${family} is not one of the paths that Codex uses, so it is not passed on to an account. ` +
        `To allow it, add '${family}/' to providers.codex.allow.`
  return openAiFailure({ status: 403, code: 'path_not_allowed', message })
}

/** The error on which Codex stops at once and tells its user when to come back. It reads no `Retry-After` with it. */
export function usageLimit(exhaustion: Exhaustion): object {
  const { resetsAt, plan, reason } = exhaustion
  const said = /^[\w.-]+: (.+)/.exec(reason ?? '')?.[1]
  const because = said === undefined ? '' : ` The upstream says: "${said}"`
  return {
    type: 'usage_limit_reached',
    message: `${exhaustedOnes(exhaustion)} has reached its usage limit.${because}`,
    ...(plan === undefined ? {} : { plan_type: plan }),
    ...(resetsAt === undefined ? {} : { resets_at: Math.ceil(resetsAt / 1000) }),
  }
}

/**
 * Codex gives up a stream after 300 s without an event. Comments do not count; an event of an unknown type does. OpenAI's
 * SDKs fail on such an event, and a client that waits for one JSON answer reads none.
 */
export const keepAlive: NonNullable<Provider['keepAlive']> = {
  afterMs: 100_000,
  event: 'event: keepalive\ndata: {"type":"keepalive"}\n\n',
  instead: (request) => {
    if (isCodexs(request) && !isSdks(request.path)) return undefined
    const body = fields(request.json())
    return body && body.stream !== true ? '' : ': keep-alive\n\n'
  },
}

/** Streams of the public API that Codex never asks for. */
const isSdks = (path: string): boolean =>
  /^\/(?:chat\/completions|completions|audio)\b/.test(placeOf(path).rest)

/** Codes that Codex knows in the events of a stream. On any other it sends the whole request again. */
const KNOWN = new Set([
  'context_length_exceeded',
  'insufficient_quota',
  'rate_limit_exceeded',
  'server_is_overloaded',
])

/** A failure as the last event of a stream, under the code on which Codex does what it would do with the answer. */
export function streamFailure({ status, headers, body }: Answer, { path }: ClientRequest): string {
  const error = fields(fields(body)?.error) ?? {}
  // Other clients of OpenAI's API take any event with an error for the end.
  if (isSdks(path)) return `data: ${JSON.stringify({ error })}\n\n`
  const code = text(error.code) ?? ''
  const message = text(error.message) ?? text(fields(body)?.detail) ?? `the upstream answered ${status}`
  // The answer stays the same until a reset: told to wait, Codex would do so without a word, for days perhaps.
  const isFinal = headers?.['x-should-retry'] === 'false'
  const wait = isFinal ? undefined : number(headers?.['retry-after'])
  if (KNOWN.has(code)) return failedEvent(code, message)
  // Codex reads the wait from the words of this one.
  if (wait !== undefined)
    return failedEvent('rate_limit_exceeded', `${message} Please try again in ${wait}s.`)
  if (status === 402 || status === 429) return failedEvent('insufficient_quota', message)
  return failedEvent(status >= 500 ? 'server_error' : 'invalid_prompt', message)
}

function failedEvent(code: string, message: string): string {
  const { type, ...rest } = failedResponse(code, message)
  return `event: ${type}\ndata: ${JSON.stringify({ type, ...rest })}\n\n`
}
