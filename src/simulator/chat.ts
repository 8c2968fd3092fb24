import { field, list, text } from './json.js'
import {
  countTokens,
  type ModelRequest,
  pieces,
  type PromptCache,
  type Reply,
  type ReplyItem,
} from './model.js'
import type { SimRequest } from './request.js'
import { type Answer, eventStream, json, type World } from './upstream.js'

export interface ChatCall {
  readonly request: SimRequest
  readonly model: string
  /** The API key that generates. */
  readonly by: { readonly id: string; readonly cache: PromptCache }
  /** Google sends the usage with the last chunk; OpenAI in one more chunk, if the client asks for it. */
  readonly usageIn: 'last chunk' | 'chunk of its own'
}

let ids = 0

/** `POST chat/completions`, as OpenAI and the compatible part of the Gemini API answer it. */
export function chatCompletion(call: ChatCall, world: World): Answer {
  const { request, model, by } = call
  const body = request.json
  const messages = list(body, 'messages')
  const cachedTokens = by.cache.read(model, [field(body, 'tools'), ...messages])
  const reply = world.reply({ request, model, account: by.id, cachedTokens, ...askedOf(body, messages) })
  const calls = reply.items.flatMap(toolCall)
  const said = reply.items.map((item) => ('text' in item ? item.text : '')).join('')
  const usage = usageOf(reply, messages, said, cachedTokens)
  ids += 1
  const common = { id: `chatcmpl-sim-${ids}`, created: Math.floor(world.now() / 1000), model }
  const finish_reason = calls.length > 0 ? 'tool_calls' : 'stop'
  if (field(body, 'stream') === true) return stream(call, { said, calls, common, usage, finish_reason })
  const message = {
    role: 'assistant',
    content: said === '' && calls.length > 0 ? null : said,
    ...(calls.length > 0 && { tool_calls: calls }),
  }
  const choices = [{ index: 0, message, finish_reason }]
  return json(200, { ...common, object: 'chat.completion', choices, usage })
}

interface ToolCall {
  readonly id: string
  readonly type: 'function'
  readonly function: { readonly name: string; readonly arguments: string }
}

function toolCall(item: ReplyItem): ToolCall[] {
  if ('custom' in item)
    throw new Error('Chat completions have no free-form tools here: reply with { call, arguments }')
  if (!('call' in item)) return []
  ids += 1
  const called = { name: item.call, arguments: JSON.stringify(item.arguments) }
  return [{ id: `call_sim_${ids}`, type: 'function', function: called }]
}

/** Reads a request as a script wants it. */
function askedOf(
  body: unknown,
  messages: readonly unknown[],
): Pick<ModelRequest, 'prompt' | 'toolOutputs' | 'schema'> {
  const last = messages.findLastIndex((message) => text(message, 'role') === 'user')
  const outputs = messages.slice(last + 1).filter((message) => text(message, 'role') === 'tool')
  return {
    prompt: contentOf(messages[last]),
    toolOutputs: outputs.map(contentOf),
    schema: field(body, 'response_format', 'json_schema', 'schema'),
  }
}

/** The content of a message is a text or a list of parts. */
function contentOf(message: unknown): string {
  const parts = list(message, 'content').map((part) => text(part, 'text') ?? '')
  return text(message, 'content') ?? parts.join('')
}

function usageOf({ usage = {} }: Reply, messages: readonly unknown[], said: string, cachedTokens: number) {
  const prompt_tokens = usage.input ?? countTokens(messages)
  const completion_tokens = usage.output ?? pieces(said).length
  return {
    prompt_tokens,
    completion_tokens,
    total_tokens: prompt_tokens + completion_tokens,
    prompt_tokens_details: { cached_tokens: usage.cached ?? Math.min(prompt_tokens, cachedTokens) },
  }
}

interface Spoken {
  readonly said: string
  readonly calls: readonly ToolCall[]
  readonly common: object
  readonly usage: object
  readonly finish_reason: string
}

/** `[DONE]` ends the stream. */
function stream(
  { request, usageIn }: ChatCall,
  { said, calls, common, usage, finish_reason }: Spoken,
): Answer {
  const object = 'chat.completion.chunk'
  const chunk = (delta: object, finish: string | null = null) => ({
    ...common,
    object,
    choices: [{ index: 0, delta, finish_reason: finish }],
  })
  const inLast = usageIn === 'last chunk'
  const wanted = field(request.json, 'stream_options', 'include_usage') === true
  const events = [
    ...pieces(said).map((content) => chunk({ role: 'assistant', content })),
    ...calls.flatMap(({ function: called, ...call }, index) => [
      chunk({
        role: 'assistant',
        tool_calls: [{ index, ...call, function: { name: called.name, arguments: '' } }],
      }),
      chunk({ tool_calls: [{ index, function: { arguments: called.arguments } }] }),
    ]),
    { ...chunk({}, finish_reason), ...(inLast && { usage }) },
    ...(wanted && !inLast ? [{ ...common, object, choices: [], usage }] : []),
  ]
  const frame = (event: object) => `data: ${JSON.stringify(event)}\n\n`
  return eventStream({ events, frame, end: 'data: [DONE]\n\n' })
}
