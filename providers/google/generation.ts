import type { Answer, Provider, Usage } from '../../config/provider.js'
import { type Fields, count, fields, isSet, list, objects } from '../json.js'
import { isVisibleChoice } from '../openai.js'

/** An answer of the Gemini API. Code Assist wraps the same in `response`; without `alt=sse` a stream is a list of them. */
function unwrapped(payload: unknown): Fields | undefined {
  const body = fields(Array.isArray(payload) ? payload.at(-1) : payload)
  return fields(body?.response) ?? body
}

/** Tokens as Google counts them: `candidatesTokenCount` leaves the thoughts out. Cumulative within a stream. */
export function geminiUsage(payload: unknown): Usage | undefined {
  const usage = fields(unwrapped(payload)?.usageMetadata)
  if (!usage) return undefined
  return {
    inputTokens: count(usage.promptTokenCount),
    cachedTokens: count(usage.cachedContentTokenCount),
    // Live sessions have a name of their own for it.
    outputTokens: count(usage.candidatesTokenCount ?? usage.responseTokenCount),
    reasoningTokens: count(usage.thoughtsTokenCount),
    totalTokens: count(usage.totalTokenCount),
  }
}

export const geminiUsageMarker = '"usageMetadata"'

/** Whether an event shows the user something. A blocked prompt has no candidates, only feedback. */
export function isOutput(event: unknown): boolean {
  const body = unwrapped(event)
  if (body?.promptFeedback !== undefined) return true
  return objects(body?.candidates).some(isVisible) || objects(body?.choices).some(isVisibleChoice)
}

function isVisible({ content, finishReason }: Fields): boolean {
  return finishReason !== undefined || objects(fields(content)?.parts).some(hasContent)
}

/** No client shows these fields of a part. */
const UNSEEN: ReadonlySet<string> = new Set(['thought', 'thoughtSignature'])

function hasContent(part: Fields): boolean {
  return Object.entries(part).some(([name, value]) => !UNSEEN.has(name) && isSet(value))
}

/** Google's clients read with `fetch`, which gives up after 300 s without a byte, and pass over comments. */
export const keepAlive: NonNullable<Provider['keepAlive']> = {
  afterMs: 100_000,
  event: ': keep-alive\r\n\r\n',
}

/** The empty line and the space are needed: Gemini CLI drops an event without them. */
export function streamFailure({ body }: Answer): string {
  return `data: ${JSON.stringify(body)}\r\n\r\n`
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
