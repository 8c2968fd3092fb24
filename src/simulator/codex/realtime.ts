import { field, text } from '../json.js'
import type { SimRequest } from '../request.js'
import { type Answer, type Dialogue, type World } from '../upstream.js'
import { invalidRequest } from './errors.js'
import { generate, type Payer } from './turn.js'

/** A Realtime session of OpenAI's API, `/v1/realtime?model=…`: items and responses in text. */
export class RealtimeDialogue implements Dialogue {
  readonly headers = { 'openai-processing-ms': '1' }
  readonly #input: unknown[] = []

  constructor(
    private readonly request: SimRequest,
    private readonly key: Payer,
    private readonly world: World,
  ) {}

  receive(frame: unknown): readonly object[] {
    const type = text(frame, 'type')
    if (type === 'session.update') return [{ type: 'session.updated', session: field(frame, 'session') }]
    if (type === 'conversation.item.create') {
      this.#input.push(field(frame, 'item'))
      return [{ type: 'conversation.item.created', item: field(frame, 'item') }]
    }
    if (type === 'response.create') return this.#respond(frame)
    return [this.refuse(frame, invalidRequest('invalid_value', `Invalid value: '${type}'.`))]
  }

  refuse(_frame: unknown, { body }: Answer): object {
    return { type: 'error', event_id: 'event_sim', error: field(body, 'error') }
  }

  #respond(frame: unknown): readonly object[] {
    const body = { model: this.request.query.get('model') ?? '', input: [...this.#input], stream: true }
    const turn = { request: this.request, body, length: JSON.stringify(body).length }
    const events = generate(turn, this.key, this.world)
    if (!Array.isArray(events)) return [this.refuse(frame, events)]
    const response = field(events.at(-1), 'response') as { usage?: unknown; id?: unknown }
    const said = events.filter((event) => text(event, 'type') === 'response.output_text.delta')
    const common = { id: response.id, object: 'realtime.response' }
    return [
      { type: 'response.created', response: { ...common, status: 'in_progress' } },
      ...said,
      { type: 'response.done', response: { ...common, status: 'completed', usage: usageOf(response.usage) } },
    ]
  }
}

/** Realtime has a name of its own for the details of the input. */
function usageOf(usage: unknown): object {
  const { input_tokens_details, output_tokens_details, ...counts } = usage as Record<string, unknown>
  return { ...counts, input_token_details: input_tokens_details, output_token_details: output_tokens_details }
}
