import type { Answer, Exhaustion, Failure, Usage } from '../config/provider.js'
import { exhaustedOnes, sentenceIn } from './http.js'
import { type Fields, fields, isSet, number } from './json.js'

/** Headers in which OpenAI's clients describe themselves and the request, without the client's region and organization. */
export const openAiHeaders: readonly string[] = [
  'openai-beta',
  'originator',
  'version',
  'session-id',
  'session_id',
  'conversation_id',
  'thread-id',
  'x-session-id',
  'x-session-affinity',
  'x-client-request-id',
  'x-codex-*',
  'x-oai-*',
  'x-openai-codex-*',
  'x-openai-internal-codex-responses-lite',
  'x-openai-subagent',
  'x-stainless-*',
  'mcp-protocol-version',
  'mcp-session-id',
]

/** A failure of the gateway's own in the shape that OpenAI's clients parse. */
export function openAiFailure({ status, code, message }: Failure): Answer {
  return { status, body: { error: { message, type: 'codex_pool_error', code } } }
}

/** The event that ends a response with an error; over a WebSocket, the message. */
export function failedResponse(code: string, message: string) {
  const response = { id: 'resp_codex_pool', object: 'response', status: 'failed', error: { code, message } }
  return { type: 'response.failed', response }
}

/** "Every account is exhausted" for OpenAI's clients in general. */
export function openAiExhausted(exhaustion: Exhaustion): Answer {
  const said = sentenceIn(exhaustion.reason)
  const message = `${exhaustedOnes(exhaustion)} has used up its quota.${said === undefined ? '' : ` The upstream says: "${said}"`}`
  return { status: 429, body: { error: { message, type: 'insufficient_quota', code: 'pool_exhausted' } } }
}

/**
 * Tokens as OpenAI's APIs tell them: in the last event of a Responses stream, in a JSON answer, or in a chat
 * completion with its other names.
 */
export function openAiUsage(payload: unknown): Usage | undefined {
  const body = fields(payload)
  const usage = fields(fields(body?.response)?.usage) ?? fields(body?.usage)
  if (!usage) return undefined
  const input =
    fields(usage.input_tokens_details) ??
    fields(usage.prompt_tokens_details) ??
    // Realtime sessions have a name of their own for it.
    fields(usage.input_token_details)
  const output = fields(usage.output_tokens_details) ?? fields(usage.completion_tokens_details)
  return {
    inputTokens: number(usage.input_tokens) ?? number(usage.prompt_tokens),
    cachedTokens: number(input?.cached_tokens),
    outputTokens: number(usage.output_tokens) ?? number(usage.completion_tokens),
    reasoningTokens: number(output?.reasoning_tokens),
    totalTokens: number(usage.total_tokens),
  }
}

/** Whether a choice of a chat completion shows the user something. Its first event often has a role and nothing else. */
export function isVisibleChoice({ delta, finish_reason, message, text }: Fields): boolean {
  if ([finish_reason, message, text].some(isSet)) return true
  return Object.entries(fields(delta) ?? {}).some(([name, value]) => !UNSEEN.has(name) && isSet(value))
}

/** No client shows these fields of a choice; the latter two are Google's. */
const UNSEEN: ReadonlySet<string> = new Set(['role', 'thought', 'thoughtSignature'])

/** In every usage object, and never in a model's text: inside a JSON string the quotes are escaped. */
export const openAiUsageMarker = '"total_tokens"'
