import type { Usage } from '../../config/provider.js'
import { type Fields, fields, list, number } from '../json.js'

/** An answer of the Gemini API. Code Assist wraps the same in `response`. */
function unwrapped(payload: unknown): Fields | undefined {
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

/** Whether an event shows the user something. A blocked prompt has no candidates, only feedback. */
export function isOutput(event: unknown): boolean {
  const body = unwrapped(event)
  return list(body?.candidates).length > 0 || body?.promptFeedback !== undefined
}

/** Google's own word for a signature that is not to be checked (Gemini API, "Thought signatures"). */
const SKIP = 'skip_thought_signature_validator'

/**
 * The body of a generation with every thought signature replaced, since one account's signatures are refused under
 * another; `undefined` if it has none.
 */
export function withoutSignatures(body: Fields): Fields | undefined {
  const inner = fields(body.request)
  if (inner) {
    const request = withoutSignatures(inner)
    return request && { ...body, request }
  }
  let changed = false
  const contents = list(body.contents).map((content) => {
    const turn = fields(content)
    if (turn?.parts === undefined) return content
    const parts = list(turn.parts).map((part) => {
      if (typeof fields(part)?.thoughtSignature !== 'string') return part
      changed = true
      return { ...fields(part), thoughtSignature: SKIP }
    })
    return { ...turn, parts }
  })
  return changed ? { ...body, contents } : undefined
}
