import type { Item, OutputItem } from './output.js'

interface Response {
  readonly model: string
  readonly items: readonly OutputItem[]
  readonly usage: object
  /** ms since 1970 */
  readonly now: number
}

let responses = 0

/** The events of a whole response, numbered from 0. */
export function responseEvents(given: Response): Item[] {
  const body = wholeResponse(given)
  const open = { ...body, status: 'in_progress', output: [], usage: null }
  const events: Item[] = [
    { type: 'response.created', response: open },
    { type: 'response.in_progress', response: open },
    ...given.items.flatMap(itemEvents),
    { type: 'response.completed', response: body },
  ]
  return events.map((event, sequence_number) => ({ ...event, sequence_number }))
}

/** The finished response. */
function wholeResponse({ model, items, usage, now }: Response) {
  responses += 1
  return {
    id: `resp_sim_${responses}`,
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
