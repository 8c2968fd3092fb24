import type { Usage, Verdict } from '../config/provider.js'
import { googleError } from './google-errors.js'
import { limitVerdict } from './google-limits.js'
import { fields, list, number } from './json.js'

/** Code Assist wraps in `response` what the Gemini API answers bare. */
function unwrapped(payload: unknown) {
  const body = fields(payload)
  return fields(body?.response) ?? body
}

/** Tokens as Google counts them: `candidatesTokenCount` leaves the thoughts out. Cumulative within a stream. */
export function geminiUsage(payload: unknown): Usage | undefined {
  const usage = fields(unwrapped(payload)?.usageMetadata)
  if (!usage) return undefined
  return {
    inputTokens: number(usage.promptTokenCount),
    cachedTokens: number(usage.cachedContentTokenCount),
    outputTokens: number(usage.candidatesTokenCount),
    reasoningTokens: number(usage.thoughtsTokenCount),
    totalTokens: number(usage.totalTokenCount),
  }
}

export const geminiUsageMarker = '"usageMetadata"'

/** Judges the first events of a stream; `model` is the one asked for. */
export function geminiEvent(event: unknown, model: string | undefined): Verdict | 'output' | undefined {
  const error = googleError(event)
  if (!error) return saysSomething(event) ? 'output' : undefined
  const { code } = error
  if (code === 429) return limitVerdict(error, { model, now: Date.now() })
  if (code === 401) return { kind: 'unauthorized', reason: 'http_401' }
  return code !== undefined && code >= 499
    ? { kind: 'unavailable', reason: `http_${code}` }
    : { kind: 'pass' }
}

/** A prompt that is blocked has no candidates, and is an answer all the same. */
function saysSomething(event: unknown): boolean {
  const body = unwrapped(event)
  return list(body?.candidates).length > 0 || body?.promptFeedback !== undefined
}
