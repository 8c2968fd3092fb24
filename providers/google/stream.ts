import type { UpstreamAnswer, Usage, Verdict } from '../../config/provider.js'
import { fields, list, number } from '../json.js'
import { googleError, limitVerdict } from './errors.js'

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

/** Google's own word for a signature that need not be checked (Gemini API, "Thought signatures"). */
const SKIP = 'skip_thought_signature_validator'

/** "Corrupted thought signature.", "Thought signature is not valid." */
const UNREADABLE = /thought[ _]?signature/i

/** Judges a refusal of what another account's model has signed; `withContents` gives the request another history. */
export function signatureVerdict(
  answer: UpstreamAnswer,
  contents: unknown,
  withContents: (contents: readonly unknown[]) => unknown,
): Verdict | undefined {
  if (answer.status !== 400 || !UNREADABLE.test(googleError(answer.json())?.message ?? '')) return undefined
  const replaced = withoutSignatures(contents)
  return replaced && { kind: 'repair', reason: 'thought_signature', body: withContents(replaced) }
}

/** `contents` with every thought signature replaced; `undefined` if there is none. */
function withoutSignatures(contents: unknown): readonly unknown[] | undefined {
  let changed = false
  const replaced = list(contents).map((content) => {
    const parts = list(fields(content)?.parts).map((part) => {
      if (typeof fields(part)?.thoughtSignature !== 'string') return part
      changed = true
      return { ...fields(part), thoughtSignature: SKIP }
    })
    return fields(content)?.parts === undefined ? content : { ...fields(content), parts }
  })
  return changed ? replaced : undefined
}
