import { pieces, type Reply, type ReplyItem } from '../reply.js'

/** An event, or an item of a response: told apart by `type`. */
export interface Item {
  readonly type: string
  readonly [field: string]: unknown
}

/** One item of a response's `output`: as it is opened, how it grows, and as it ends. */
interface OutputItem {
  readonly opened: Item
  readonly deltas: readonly Item[]
  readonly done: Item
}

let ids = 0
const nextId = (prefix: string): string => `${prefix}_sim_${(ids += 1)}`

export function outputItems({ items }: Reply, owner: string): OutputItem[] {
  return items.map((item) => outputItem(item, owner))
}

/** The outcome of a compaction: one item that only its own account can read. */
export function compaction(owner: string): OutputItem {
  const item = { id: nextId('cmp'), type: 'compaction' }
  return { opened: item, deltas: [], done: { ...item, encrypted_content: encrypted(owner, item.id) } }
}

const encrypted = (owner: string, id: string): string => `enc-${owner}-${id}`

/** Whether encrypted content was made for this account. */
export const canRead = (content: string, account: string): boolean => content.startsWith(`enc-${account}-`)

function outputItem(item: ReplyItem, owner: string): OutputItem {
  if ('text' in item) return message(item.text)
  if ('reasoning' in item) return reasoning(item.reasoning, owner)
  if ('custom' in item)
    return toolCall('custom_tool_call', 'custom_tool_call_input', 'input', item.input, { name: item.custom })
  const { call: name, arguments: given, namespace } = item
  const named = { name, ...(namespace === undefined ? {} : { namespace }) }
  return toolCall('function_call', 'function_call_arguments', 'arguments', JSON.stringify(given), named)
}

function message(text: string): OutputItem {
  const base = { id: nextId('msg'), type: 'message', role: 'assistant' }
  const part = { type: 'output_text', text, annotations: [] }
  const at = { content_index: 0 }
  return {
    opened: { ...base, status: 'in_progress', content: [] },
    deltas: [
      { type: 'response.content_part.added', ...at, part: { ...part, text: '' } },
      ...pieces(text).map((delta) => ({ type: 'response.output_text.delta', ...at, delta })),
      { type: 'response.output_text.done', ...at, text },
      { type: 'response.content_part.done', ...at, part },
    ],
    done: { ...base, status: 'completed', content: [part] },
  }
}

function reasoning(text: string, owner: string): OutputItem {
  const base = { id: nextId('rs'), type: 'reasoning' }
  const part = { type: 'summary_text', text }
  const at = { summary_index: 0 }
  return {
    opened: { ...base, summary: [] },
    deltas: [
      { type: 'response.reasoning_summary_part.added', ...at, part: { ...part, text: '' } },
      ...pieces(text).map((delta) => ({ type: 'response.reasoning_summary_text.delta', ...at, delta })),
      { type: 'response.reasoning_summary_text.done', ...at, text },
      { type: 'response.reasoning_summary_part.done', ...at, part },
    ],
    done: { ...base, summary: [part], encrypted_content: encrypted(owner, base.id) },
  }
}

function toolCall(type: string, event: string, field: string, value: string, named: object): OutputItem {
  const base = {
    id: nextId(type === 'function_call' ? 'fc' : 'ctc'),
    type,
    call_id: nextId('call'),
    ...named,
  }
  return {
    opened: { ...base, [field]: '', status: 'in_progress' },
    deltas: [
      { type: `response.${event}.delta`, delta: value },
      { type: `response.${event}.done`, [field]: value },
    ],
    done: { ...base, [field]: value, status: 'completed' },
  }
}

interface Response {
  readonly model: string
  readonly items: readonly OutputItem[]
  readonly usage: object
  /** ms since 1970 */
  readonly now: number
}

/** The events of a whole response, numbered from 0. */
export function responseEvents({ model, items, usage, now }: Response): Item[] {
  const whole = {
    id: nextId('resp'),
    object: 'response',
    created_at: Math.floor(now / 1000),
    status: 'completed',
    error: null,
    incomplete_details: null,
    model,
    output: items.map(({ done }) => done),
    store: false,
    usage,
  }
  const open = { ...whole, status: 'in_progress', output: [], usage: null }
  const events: Item[] = [
    { type: 'response.created', response: open },
    { type: 'response.in_progress', response: open },
    ...items.flatMap(itemEvents),
    { type: 'response.completed', response: whole },
  ]
  return events.map((event, sequence_number) => ({ ...event, sequence_number }))
}

function itemEvents({ opened, done, deltas }: OutputItem, output_index: number): Item[] {
  return [
    { type: 'response.output_item.added', output_index, item: opened },
    ...deltas.map((delta) => ({ ...delta, item_id: done.id, output_index })),
    { type: 'response.output_item.done', output_index, item: done },
  ]
}

/** `event:` repeats the type, as the real upstream does; the Codex CLI reads the one in the data. */
export function sseFrame(event: object): string {
  const type: unknown = Reflect.get(event, 'type')
  return `event: ${String(type)}\ndata: ${JSON.stringify(event)}\n\n`
}
