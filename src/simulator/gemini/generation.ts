import { field, list, text } from '../json.js'
import type { Reply } from '../reply.js'
import type { SimRequest } from '../request.js'
import type { World } from '../upstream.js'
import { askedOf } from './asked.js'
import { isForeignSignature, partsOf } from './parts.js'

/** Who generates: a Code Assist account or an API key. */
export interface Generator {
  readonly id: string
  /** Tokens of the last prompt of each conversation. */
  readonly cache: Map<string, number>
}

let responses = 0

/** The events of a whole generation, bare: `{ candidates, usageMetadata, modelVersion, responseId }`. */
export function generate(
  request: SimRequest,
  body: unknown,
  model: string,
  by: Generator,
  world: World,
): object[] {
  const reply = world.reply(request, askedOf(body, model, by.id))
  const parts = partsOf(reply, by.id)
  const usage = usageOf(body, reply, parts.length, by.cache)
  responses += 1
  const common = { modelVersion: model, responseId: `sim-${responses}` }
  const events = parts.map((part, index) => ({
    candidates: [{ content: { role: 'model', parts: [part] }, index: 0 }],
    usageMetadata: usage(index + 1),
    ...common,
  }))
  const last = { content: { role: 'model', parts: [{ text: '' }] }, finishReason: 'STOP', index: 0 }
  return [...events, { candidates: [last], usageMetadata: usage(parts.length), ...common }]
}

/** The events of a generation as one answer. */
export function whole(events: readonly object[]): object {
  const parts = events.flatMap((event) => list(event, 'candidates', 0, 'content', 'parts'))
  const spoken = parts.filter((part) => text(part, 'text') !== '')
  const candidate = { content: { role: 'model', parts: spoken }, finishReason: 'STOP', index: 0 }
  return { ...events.at(-1), candidates: [candidate] }
}

/** Whether the history holds a thought signature of another account. */
export function hasForeignThought(body: unknown, owner: string): boolean {
  const parts = list(body, 'contents').flatMap((content) => list(content, 'parts'))
  return parts.some((part) => {
    const signature = text(part, 'thoughtSignature')
    return signature !== undefined && isForeignSignature(signature, owner)
  })
}

/** `usageMetadata` is cumulative: each event counts everything up to itself. */
function usageOf(body: unknown, { usage = {} }: Reply, events: number, cache: Map<string, number>) {
  const prompt = usage.input ?? promptTokens(body)
  const session = text(body, 'session_id')
  const cached = usage.cached ?? Math.min(prompt, cache.get(session ?? '') ?? 0)
  if (session !== undefined) cache.set(session, prompt)
  const output = usage.output ?? events
  const thoughts = usage.reasoning ?? 0
  return (upTo: number) => {
    const candidates = events === 0 ? output : Math.ceil((output * upTo) / events)
    return {
      promptTokenCount: prompt,
      candidatesTokenCount: candidates,
      totalTokenCount: prompt + candidates + thoughts,
      ...(cached > 0 ? { cachedContentTokenCount: cached } : {}),
      ...(thoughts > 0 ? { thoughtsTokenCount: thoughts } : {}),
    }
  }
}

/** Four characters make a token, as on the Codex side. */
export function promptTokens(body: unknown): number {
  return Math.ceil(JSON.stringify(field(body, 'contents') ?? '').length / 4)
}

/** The space after `data:` and the empty line at the end are both needed: the client drops events without them. */
export function sseFrame(event: object): string {
  return `data: ${JSON.stringify(event)}\r\n\r\n`
}
