import type { AnswerForm } from '../../config/provider.js'
import { type Fields, fields, list, objects, text } from '../json.js'
import { openAiUsage } from '../openai.js'
import { endedEarly, refusalBody, ResponseReader } from './response-events.js'

/** One chat completion made of the events of a response. */
export function chatWhole(model: string): AnswerForm {
  const reader = new ResponseReader()
  return {
    kind: 'whole',
    refusal: refusalBody,
    event: (event) => reader.read(fields(event) ?? {}),
    end() {
      const { done } = reader
      return done ? { status: 200, body: completion(done, model) } : (reader.failure ?? endedEarly)
    },
  }
}

function completion(response: Fields, model: string): Fields {
  const output = objects(response.output)
  const calls = output.flatMap((item) => callOf(item) ?? [])
  const parts = output.flatMap((item) => (item.type === 'message' ? objects(item.content) : []))
  const said = joined(parts, 'text')
  const refusal = joined(parts, 'refusal')
  const message = {
    role: 'assistant',
    content: said,
    refusal,
    annotations: parts.flatMap(({ annotations }) => objects(annotations).map(annotationOf)),
    ...(calls.length > 0 && { tool_calls: calls }),
  }
  const choice = {
    index: 0,
    message,
    logprobs: null,
    finish_reason: finishReason(response, calls.length > 0),
  }
  return {
    ...headOf(response, model, 'chat.completion'),
    choices: [choice],
    usage: usageOf(response),
  }
}

function joined(parts: readonly Fields[], name: 'text' | 'refusal'): string | null {
  const texts = parts.flatMap((part) => text(part[name]) ?? [])
  return texts.length > 0 ? texts.join('') : null
}

function annotationOf({ type, ...citation }: Fields): Fields {
  return type === 'url_citation' ? { type, url_citation: citation } : { type, ...citation }
}

function callOf(item: Fields): Fields | undefined {
  const { type, call_id: id, name, arguments: given, input } = item
  if (type === 'function_call') return { id, type: 'function', function: { name, arguments: given } }
  return type === 'custom_tool_call' ? { id, type: 'custom', custom: { name, input } } : undefined
}

function headOf(response: Fields, model: string, object: string): Fields {
  const { id, created_at, service_tier } = response
  return {
    id: `chatcmpl-${(text(id) ?? '').replace(/^resp_/, '')}`,
    object,
    created: typeof created_at === 'number' ? Math.floor(created_at) : Math.floor(Date.now() / 1000),
    model: text(response.model) ?? model,
    ...(service_tier != null && { service_tier }),
  }
}

function finishReason(response: Fields, calls: boolean): string {
  const why = text(fields(response.incomplete_details)?.reason)
  if (why === 'content_filter') return 'content_filter'
  if (why !== undefined || response.status === 'incomplete') return 'length'
  return calls ? 'tool_calls' : 'stop'
}

function usageOf(response: Fields): Fields | null {
  const used = openAiUsage({ usage: response.usage })
  if (!used) return null
  const { inputTokens = 0, outputTokens = 0, cachedTokens = 0, reasoningTokens = 0, totalTokens } = used
  return {
    prompt_tokens: inputTokens,
    completion_tokens: outputTokens,
    total_tokens: totalTokens ?? inputTokens + outputTokens,
    prompt_tokens_details: { cached_tokens: cachedTokens },
    completion_tokens_details: { reasoning_tokens: reasoningTokens },
  }
}

/** Chunks of a chat completion made of the events of a response as they arrive. */
export function chatStream(model: string, withUsage: boolean): AnswerForm {
  const chunks = new ChatChunks(model, withUsage)
  return {
    kind: 'stream',
    refusal: refusalBody,
    event: (event) => chunks.read(fields(event) ?? {}),
    end: () => chunks.end(),
  }
}

/** An item of the output that grows. */
interface Growing {
  /** How much of its text or its arguments has been sent; characters. */
  sent: number
  /** Its place among the calls, if it is one. */
  readonly call: number | undefined
}

class ChatChunks {
  readonly #reader = new ResponseReader()
  readonly #growing = new Map<unknown, Growing>()
  #head: Fields | undefined
  #calls = 0
  #over = false

  constructor(
    private readonly model: string,
    private readonly withUsage: boolean,
  ) {}

  /** The chunks that an event makes; often none. */
  read(event: Fields): string {
    this.#reader.read(event)
    if (this.#reader.failure) return this.#fail(this.#reader.failure)
    if (this.#reader.done) return this.#finish(this.#reader.done)
    const item = fields(event.item)
    switch (event.type) {
      case 'response.created':
        return this.#begin(fields(event.response) ?? {})
      case 'response.output_item.added':
        return item ? this.#open(event.output_index, item) : ''
      case 'response.output_text.delta':
        return this.#delta(event, { content: event.delta })
      case 'response.refusal.delta':
        return this.#delta(event, { refusal: event.delta })
      case 'response.function_call_arguments.delta':
        return this.#delta(event, { function: { arguments: event.delta } })
      case 'response.custom_tool_call_input.delta':
        return this.#delta(event, { custom: { input: event.delta } })
      case 'response.output_item.done':
        return item ? this.#close(event.output_index, item) : ''
    }
    return ''
  }

  /** The first chunk of a real stream tells the role and nothing else. */
  #begin(response: Fields): string {
    if (this.#head) return ''
    this.#head = headOf(response, this.model, 'chat.completion.chunk')
    return this.#chunk({ role: 'assistant', content: '', refusal: null })
  }

  #open(index: unknown, item: Fields): string {
    if (this.#growing.has(index)) return ''
    const call = callOf(item)
    this.#growing.set(index, { sent: 0, call: call && this.#calls++ })
    if (!call) return ''
    const { id, type } = call
    const [name, given] = type === 'function' ? ['function', 'arguments'] : ['custom', 'input']
    const named = { id, type, [name]: { name: item.name, [given]: '' } }
    return this.#chunk({ tool_calls: [{ index: this.#calls - 1, ...named }] })
  }

  #delta({ output_index, delta }: Fields, change: Fields): string {
    const growing = this.#growing.get(output_index) ?? { sent: 0, call: undefined }
    this.#growing.set(output_index, growing)
    growing.sent += text(delta)?.length ?? 0
    return this.#chunk(
      growing.call === undefined ? change : { tool_calls: [{ index: growing.call, ...change }] },
    )
  }

  /** The part of a finished item that no delta has brought. */
  #close(index: unknown, item: Fields): string {
    const opened = this.#open(index, item)
    const { sent } = this.#growing.get(index)!
    const untold = (whole: unknown) => (text(whole) ?? '').slice(sent)
    const tell = (delta: string, change: Fields) =>
      delta === '' ? opened : opened + this.#delta({ output_index: index, delta }, change)
    if (item.type === 'function_call') {
      const delta = untold(item.arguments)
      return tell(delta, { function: { arguments: delta } })
    }
    if (item.type === 'custom_tool_call') {
      const delta = untold(item.input)
      return tell(delta, { custom: { input: delta } })
    }
    if (item.type !== 'message' || sent > 0) return opened
    return objects(item.content)
      .map((part) => {
        if (text(part.refusal)) return this.#chunk({ refusal: part.refusal })
        return text(part.text) ? this.#chunk({ content: part.text }) : ''
      })
      .join('')
  }

  #finish(response: Fields): string {
    if (this.#over) return ''
    const begun = this.#begin(response)
    // Items that only the last event has.
    const late =
      this.#growing.size > 0
        ? ''
        : list(response.output)
            .map((item, index) => this.#close(index, fields(item) ?? {}))
            .join('')
    this.#over = true
    const last = this.#chunk({}, finishReason(response, this.#calls > 0))
    const usage = this.withUsage ? written({ ...this.#head, choices: [], usage: usageOf(response) }) : ''
    return `${begun}${late}${last}${usage}data: [DONE]\n\n`
  }

  #fail({ body }: { readonly body: object }): string {
    if (this.#over) return ''
    this.#over = true
    return written(body)
  }

  end(): string {
    return this.#fail(endedEarly)
  }

  #chunk(delta: Fields, finish_reason: string | null = null): string {
    if (!this.#head) return this.#begin({}) + this.#chunk(delta, finish_reason)
    const choice = { index: 0, delta, logprobs: null, finish_reason }
    return written({ ...this.#head, choices: [choice], ...(this.withUsage && { usage: null }) })
  }
}

const written = (chunk: object): string => `data: ${JSON.stringify(chunk)}\n\n`
