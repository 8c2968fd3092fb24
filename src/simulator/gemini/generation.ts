import { countTokens, pieces, type PromptCache, type Reply, type ReplyItem } from '../model.js'
import { field, list, text } from '../json.js'
import type { SimRequest } from '../request.js'
import { type Answer, eventStream, type World } from '../upstream.js'

export interface Generation {
  readonly request: SimRequest
  /** A `generateContent` body, without the wrapper of Code Assist. */
  readonly body: unknown
  readonly model: string
  /** The Code Assist account or the API key that generates. */
  readonly by: { readonly id: string; readonly cache: PromptCache }
  readonly world: World
}

let ids = 0

/** The events of a whole generation, bare: `{ candidates, usageMetadata, modelVersion, responseId }`. */
export function generate({ request, body, model, by, world }: Generation): object[] {
  const cachedTokens = cachedIn(body, model, by.cache)
  const reply = world.reply({ request, model, account: by.id, cachedTokens, ...askedOf(body) })
  const parts = reply.items.flatMap((item) => partsOf(item, by.id))
  const usage = usageOf(reply, parts.length, promptTokens(body), cachedTokens)
  ids += 1
  const common = { modelVersion: model, responseId: `sim-${ids}` }
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

/** Reads a `generateContent` body as a script wants it. */
function askedOf(body: unknown) {
  const contents = list(body, 'contents')
  const last = contents.findLastIndex((it) => text(it, 'role') !== 'model' && promptOf(it) !== '')
  const outputs = contents
    .slice(last + 1)
    .flatMap((content) => list(content, 'parts'))
    .map((part) => field(part, 'functionResponse', 'response'))
    .filter((response) => response !== undefined)
  const wantsJson = text(body, 'generationConfig', 'responseMimeType') === 'application/json'
  return {
    prompt: promptOf(contents[last]),
    // The Gemini CLI puts the text of a tool under `output`.
    toolOutputs: outputs.map((response) => text(response, 'output') ?? JSON.stringify(response)),
    schema: wantsJson
      ? (field(body, 'generationConfig', 'responseJsonSchema') ??
        field(body, 'generationConfig', 'responseSchema'))
      : undefined,
  }
}

function promptOf(content: unknown): string {
  const parts = list(content, 'parts')
  return parts.map((part) => text(part, 'text') ?? '').join('')
}

/** An item of a reply in parts of a candidate's content, one for each event. */
function partsOf(item: ReplyItem, owner: string): object[] {
  if ('text' in item) return pieces(item.text).map((text) => ({ text }))
  if ('reasoning' in item) return [{ text: item.reasoning, thought: true }]
  if ('custom' in item) throw new Error('Gemini has no free-form tools: reply with { call, arguments }')
  ids += 1
  const functionCall = { id: `call-sim-${ids}`, name: item.call, args: item.arguments }
  const thoughtSignature = Buffer.from(`sig ${owner} ${ids}`).toString('base64')
  return [{ functionCall, thoughtSignature }]
}

/** Gateways replace a signature that another account cannot read with this. Google takes it from every account. */
const SKIP = 'skip_thought_signature_validator'

/** Whether the history holds a thought signature of another account. */
export function hasForeignThought(body: unknown, owner: string): boolean {
  const parts = list(body, 'contents').flatMap((content) => list(content, 'parts'))
  return parts.some((part) => {
    const signature = text(part, 'thoughtSignature') ?? SKIP
    return signature !== SKIP && !Buffer.from(signature, 'base64').toString().startsWith(`sig ${owner} `)
  })
}

/** `usageMetadata` is cumulative: each event counts everything up to itself. */
function usageOf({ usage = {} }: Reply, events: number, estimated: number, known: number) {
  const prompt = usage.input ?? estimated
  const cached = usage.cached ?? Math.min(prompt, known)
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

function cachedIn(body: unknown, model: string, cache: PromptCache): number {
  const prompt = [field(body, 'systemInstruction'), field(body, 'tools'), ...list(body, 'contents')]
  return cache.read(model, prompt)
}

export const promptTokens = (body: unknown): number => countTokens(field(body, 'contents'))

/**
 * A stream of Google's: server-sent events with `alt=sse`, else one JSON list that grows by an element at a time.
 */
export function googleStream({ query }: SimRequest, events: readonly object[], headers = {}): Answer {
  if (query.get('alt') === 'sse') return eventStream({ events, frame: sseFrame }, headers)
  const frame = (event: object, index: number) => `${index === 0 ? '[' : ',\r\n'}${JSON.stringify(event)}`
  return { ...eventStream({ events, frame, end: ']' }), headers: { 'content-type': JSON_TYPE, ...headers } }
}

const JSON_TYPE = 'application/json; charset=UTF-8'

/** The space after `data:` and the empty line at the end are both needed: the client drops events without them. */
function sseFrame(event: object): string {
  return `data: ${JSON.stringify(event)}\r\n\r\n`
}
