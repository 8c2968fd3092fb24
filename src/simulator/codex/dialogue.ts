import type { OutgoingHttpHeaders } from 'node:http'
import type { Answer } from '../answer.js'
import { field, list, text } from '../json.js'
import type { Dialogue } from '../upstream.js'
import { invalidRequest, previousNotFound } from './errors.js'
import type { Item } from './output.js'

/** Answers one `response.create`; its `input` is whole here. */
export type Take = (body: object) => Answer | readonly Item[]

/** The Responses API over one WebSocket, where a turn may be built on an earlier response of this WebSocket. */
export class ResponsesDialogue implements Dialogue {
  readonly headers: OutgoingHttpHeaders
  readonly #take: Take
  /** Everything that was said up to a response, by the id of that response. */
  readonly #past = new Map<string, readonly unknown[]>()

  constructor(headers: OutgoingHttpHeaders, take: Take) {
    this.headers = headers
    this.#take = take
  }

  receive(frame: unknown): readonly object[] {
    const taken = this.#answer(frame)
    return 'status' in taken ? [this.refuse(frame, taken)] : taken
  }

  /** A turn that fails takes the response that it was built on with it. */
  refuse(frame: unknown, { status, body, headers = {} }: Answer): object {
    this.#past.delete(text(frame, 'previous_response_id') ?? '')
    const message = text(body, 'detail') ?? `status ${status}`
    const error = field(body, 'error') ?? { type: 'invalid_request_error', code: null, message, param: null }
    return { type: 'error', status, error, headers }
  }

  #answer(frame: unknown): Answer | readonly Item[] {
    if (text(frame, 'type') !== 'response.create') {
      return invalidRequest('unknown_event', 'The only event that is known here is response.create.')
    }
    const previous = text(frame, 'previous_response_id')
    const past = previous === undefined ? [] : this.#past.get(previous)
    if (!past) return previousNotFound(previous ?? '')
    const input = [...past, ...list(frame, 'input')]
    const taken = this.#take({ ...(frame as object), input })
    if ('status' in taken) return taken
    const response = taken.at(-1)
    const id = text(response, 'response', 'id')
    if (id !== undefined) this.#past.set(id, [...input, ...list(response, 'response', 'output')])
    return taken
  }
}
