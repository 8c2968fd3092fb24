import type { Answer, AnswerForm } from '../../config/provider.js'
import { type Fields, fields, list, number, text } from '../json.js'
import { upstreamError } from './errors.js'

/** The events of one response, read from its stream. */
export class ResponseReader {
  readonly #items: { readonly at: number; readonly item: Fields }[] = []
  /** The response as its last event tells it, with its output; `undefined` until then. */
  done: Fields | undefined
  failure: ResponseError | undefined

  constructor(
    /** Called with each item of the output. */
    private readonly onItem?: (item: Fields) => void,
  ) {}

  read(event: Fields): void {
    const { type, output_index, item, response } = event
    const one = fields(item)
    if (type === 'response.output_item.done' && one) {
      this.#items.push({ at: number(output_index) ?? this.#items.length, item: one })
      this.onItem?.(one)
    } else if (type === 'response.completed' || type === 'response.incomplete' || type === 'response.done')
      this.done = this.#filled(fields(response) ?? {})
    else if (
      type === 'response.failed' ||
      type === 'error' ||
      (type === undefined && event.error !== undefined)
    )
      this.failure = errorIn(event)
  }

  /** Where nothing is stored, the backend leaves the output of the last event empty. */
  #filled(response: Fields): Fields {
    if (list(response.output).length > 0) return response
    const items = this.#items.toSorted((a, b) => a.at - b.at)
    return { ...response, output: items.map(({ item }) => item) }
  }
}

/** An error as OpenAI's API answers it. */
export interface ResponseError {
  readonly status: number
  readonly body: { readonly error: Readonly<Record<'message' | 'type' | 'param' | 'code', string | null>> }
}

function errorIn(event: Fields): ResponseError {
  const { status, code = 'server_error', sentence, message } = upstreamError(event, { now: Date.now() })
  const param = text(fields(event.error)?.param) ?? text(event.param) ?? null
  return errorBody(status ?? statusOf(code), sentence ?? message, code, param)
}

function statusOf(code: string): number {
  if (/rate_limit|usage_limit|quota|too_many/.test(code)) return 429
  if (/overloaded|slow_down|unavailable/.test(code)) return 503
  if (/server|internal|timeout|upstream|vector_store/.test(code)) return 500
  return 400
}

function errorBody(
  status: number,
  message: string,
  code: string | null,
  param: string | null,
): ResponseError {
  const type = status === 429 ? 'rate_limit_error' : status < 500 ? 'invalid_request_error' : 'server_error'
  const told = message === '' ? 'The upstream gave no reason.' : message
  return { status, body: { error: { message: told, type, param, code } } }
}

/** The stream ended without an event that says how. */
export const endedEarly: ResponseError = errorBody(
  502,
  'The upstream ended its answer early.',
  'upstream_unavailable',
  null,
)

/** A refusal of the ChatGPT backend, `{ "detail": … }`, in the shape that OpenAI's clients read. */
export function refusalBody(status: number, body: unknown): unknown {
  if (fields(fields(body)?.error)) return body
  const { code, message } = upstreamError(fields(body) ?? { message: body }, { status, now: Date.now() })
  const param = /^Unsupported parameter: '?([\w.[\]]+)/.exec(message)?.[1]
  return errorBody(status, message, param ? 'unsupported_parameter' : (code ?? null), param ?? null).body
}

/** One JSON answer made of the events, for a client that did not ask for a stream. */
export function wholeResponse(onItem?: (item: Fields) => void): Extract<AnswerForm, { kind: 'whole' }> {
  const reader = new ResponseReader(onItem)
  return {
    kind: 'whole',
    event: (event) => reader.read(fields(event) ?? {}),
    end: () =>
      reader.done ? { status: 200, body: reader.done } : ((reader.failure ?? endedEarly) satisfies Answer),
  }
}

/** The events as they came, but for the last one if its output is missing: clients read the whole answer there. */
export function filledStream(onItem?: (item: Fields) => void): Extract<AnswerForm, { kind: 'stream' }> {
  const reader = new ResponseReader(onItem)
  return {
    kind: 'stream',
    event(given) {
      const event = fields(given) ?? {}
      reader.read(event)
      const { done } = reader
      if (!done || done === event.response) return undefined
      return `event: ${String(event.type)}\ndata: ${JSON.stringify({ ...event, response: done })}\n\n`
    },
    end: () => '',
  }
}
