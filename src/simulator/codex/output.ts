import { pieces, type Reply, type ReplyItem } from '../model.js'

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
  if ('text' in item) {
    const part = { type: 'output_text', text: item.text, annotations: [] }
    const deltas = partEvents('content_part', 'output_text', 'content_index', part)
    return grown({ id: nextId('msg'), type: 'message', role: 'assistant' }, 'content', [], [part], deltas)
  }
  if ('reasoning' in item) {
    const base = { id: nextId('rs'), type: 'reasoning' }
    const part = { type: 'summary_text', text: item.reasoning }
    const deltas = partEvents('reasoning_summary_part', 'reasoning_summary_text', 'summary_index', part)
    const done = { ...base, summary: [part], encrypted_content: encrypted(owner, base.id) }
    return { opened: { ...base, summary: [] }, deltas, done }
  }
  const call_id = nextId('call')
  if ('custom' in item) {
    const base = { id: nextId('ctc'), type: 'custom_tool_call', call_id, name: item.custom }
    return grown(base, 'input', '', item.input, callEvents('custom_tool_call_input', 'input', item.input))
  }
  const { call: name, arguments: given, ...namespace } = item
  const base = { id: nextId('fc'), type: 'function_call', call_id, name, ...namespace }
  const whole = JSON.stringify(given)
  return grown(base, 'arguments', '', whole, callEvents('function_call_arguments', 'arguments', whole))
}

/** An item one field of which is empty at first and whole in the end. */
function grown(base: Item, field: string, empty: unknown, whole: unknown, deltas: Item[]): OutputItem {
  const opened = { ...base, status: 'in_progress', [field]: empty }
  return { opened, deltas, done: { ...base, status: 'completed', [field]: whole } }
}

function partEvents(part: string, name: string, index: string, whole: { text: string }): Item[] {
  const at = { [index]: 0 }
  return [
    { type: `response.${part}.added`, ...at, part: { ...whole, text: '' } },
    ...pieces(whole.text).map((delta) => ({ type: `response.${name}.delta`, ...at, delta })),
    { type: `response.${name}.done`, ...at, text: whole.text },
    { type: `response.${part}.done`, ...at, part: whole },
  ]
}

const callEvents = (name: string, field: string, whole: string): Item[] => [
  { type: `response.${name}.delta`, delta: whole },
  { type: `response.${name}.done`, [field]: whole },
]

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
