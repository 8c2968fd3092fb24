import { text } from '../json.js'
import type { Reply } from '../reply.js'
import type { Turn } from './turn.js'

/** Four characters make a token: near enough to be plausible, and simple enough to be foreseen by a test. */
export const countTokens = (value: unknown): number => Math.ceil(JSON.stringify(value ?? '').length / 4)

/**
 * `usage` of a response. A conversation that the account has had before finds its former input in the cache, as the
 * real prompt cache would; on another account it finds nothing.
 */
export function usageOf(turn: Turn, reply: Reply, cache: Map<string, number>): object {
  const { usage = {} } = reply
  const conversation = conversationOf(turn)
  const input = usage.input ?? Math.ceil(turn.length / 4)
  const cached = usage.cached ?? Math.min(input, cache.get(conversation ?? '') ?? 0)
  if (conversation !== undefined) cache.set(conversation, input)
  const output = usage.output ?? countTokens(reply.items)
  return {
    input_tokens: input,
    input_tokens_details: { cached_tokens: cached },
    output_tokens: output,
    output_tokens_details: { reasoning_tokens: usage.reasoning ?? 0 },
    total_tokens: input + output,
  }
}

function conversationOf({ request, body }: Turn): string | undefined {
  const session = request.headers['session-id']
  return typeof session === 'string' ? session : text(body, 'prompt_cache_key')
}
