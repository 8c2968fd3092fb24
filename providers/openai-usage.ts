import type { Usage } from '../config/provider.js'
import { fields, number } from './json.js'

/**
 * Tokens as OpenAI's APIs tell them: in the last event of a Responses stream, in a JSON answer, or in a chat
 * completion with its other names.
 */
export function openAiUsage(payload: unknown): Usage | undefined {
  const body = fields(payload)
  const usage = fields(fields(body?.response)?.usage) ?? fields(body?.usage)
  if (!usage) return undefined
  const input = fields(usage.input_tokens_details) ?? fields(usage.prompt_tokens_details)
  const output = fields(usage.output_tokens_details) ?? fields(usage.completion_tokens_details)
  return {
    inputTokens: number(usage.input_tokens) ?? number(usage.prompt_tokens),
    cachedTokens: number(input?.cached_tokens),
    outputTokens: number(usage.output_tokens) ?? number(usage.completion_tokens),
    reasoningTokens: number(output?.reasoning_tokens),
    totalTokens: number(usage.total_tokens),
  }
}

/** Stands in every usage object and, with its quotes, in no text that a model writes inside a JSON string. */
export const openAiUsageMarker = '"total_tokens"'
