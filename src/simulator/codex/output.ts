import { pieces, type Reply, type ReplyItem } from '../reply.js'

/** An event, or an item of a response: told apart by `type`. */
export interface Item {
  readonly type: string
  readonly [field: string]: unknown
}

/** One item of a response's `output`: as it is opened, how it grows, and as it ends. */
export interface OutputItem {
  readonly opened: Item
  readonly done: Item
  readonly deltas: readonly Item[]
}

let ids = 0
const nextId = (prefix: string): string => `${prefix}_sim_${(ids += 1)}`

export function outputItems({ items }: Reply, owner: string): OutputItem[] {
  return items.map((item) => outputItem(item, owner))
}

/** What a compaction makes of a conversation: an item that only its own account can read. */
export function compaction(owner: string): OutputItem {
  const item = { id: nextId('cmp'), type: 'compaction' }
  return { opened: item, done: { ...item, encrypted_content: `enc-${owner}-${item.id}` }, deltas: [] }
}

function outputItem(item: ReplyItem, owner: string): OutputItem {
  if ('text' in item) return message(item.text)
  if ('reasoning' in item) return reasoning(item.reasoning, owner)
  if ('custom' in item) return customToolCall(item.custom, item.input)
  return functionCall(item)
}

function message(text: string): OutputItem {
  const id = nextId('msg')
  const base = { id, type: 'message', role: 'assistant' }
  const part = { type: 'output_text', text, annotations: [] }
  const deltas = [
    { type: 'response.content_part.added', content_index: 0, part: { ...part, text: '' } },
    ...pieces(text).map((delta) => ({ type: 'response.output_text.delta', content_index: 0, delta })),
    { type: 'response.output_text.done', content_index: 0, text },
    { type: 'response.content_part.done', content_index: 0, part },
  ]
  const opened = { ...base, status: 'in_progress', content: [] }
  return { opened, done: { ...base, status: 'completed', content: [part] }, deltas }
}

function reasoning(text: string, owner: string): OutputItem {
  const id = nextId('rs')
  const part = { type: 'summary_text', text }
  const deltas = [
    { type: 'response.reasoning_summary_part.added', summary_index: 0, part: { ...part, text: '' } },
    ...pieces(text).map((delta) => ({
      type: 'response.reasoning_summary_text.delta',
      summary_index: 0,
      delta,
    })),
    { type: 'response.reasoning_summary_text.done', summary_index: 0, text },
    { type: 'response.reasoning_summary_part.done', summary_index: 0, part },
  ]
  const opened = { id, type: 'reasoning', summary: [] }
  const done = { id, type: 'reasoning', summary: [part], encrypted_content: `enc-${owner}-${id}` }
  return { opened, done, deltas }
}

function functionCall(call: { call: string; arguments: object; namespace?: string }): OutputItem {
  const id = nextId('fc')
  const named = { name: call.call, ...(call.namespace === undefined ? {} : { namespace: call.namespace }) }
  const base = { id, type: 'function_call', call_id: nextId('call'), ...named }
  const whole = JSON.stringify(call.arguments)
  const deltas = [
    { type: 'response.function_call_arguments.delta', delta: whole },
    { type: 'response.function_call_arguments.done', arguments: whole },
  ]
  const opened = { ...base, arguments: '', status: 'in_progress' }
  return { opened, done: { ...base, arguments: whole, status: 'completed' }, deltas }
}

function customToolCall(name: string, input: string): OutputItem {
  const id = nextId('ctc')
  const base = { id, type: 'custom_tool_call', call_id: nextId('call'), name }
  const deltas = [
    { type: 'response.custom_tool_call_input.delta', delta: input },
    { type: 'response.custom_tool_call_input.done', input },
  ]
  const opened = { ...base, input: '', status: 'in_progress' }
  return { opened, done: { ...base, input, status: 'completed' }, deltas }
}
