import type { ServerResponse } from 'node:http'
import { parseJson } from '../config/index.js'
import type { Answer, AnswerForm } from '../config/provider.js'
import { type EventReader, eventReader } from './events.js'
import { sendJson } from './failure.js'
import type { HeldAnswer } from './forward.js'
import { deliverable, setHeaders } from './headers.js'
import { textOf } from './judge.js'

/** Turns the bytes of an upstream's stream into what the client gets for them; see `Provider.adapt`. */
export class AdaptedAnswer {
  #text = ''
  readonly #read: EventReader

  constructor(private readonly form: AnswerForm) {
    const passes = form.kind === 'stream'
    this.#read = eventReader(
      'events',
      (event, text, name) => (this.#text += form.event(event) ?? (passes ? written(text, name) : '')),
      (comment) => (this.#text += passes ? `: ${comment}\n\n` : ''),
    )
  }

  /** The text for the client; empty while there is none. */
  write(chunk: Buffer): string {
    this.#text = ''
    this.#read(chunk)
    return this.#text
  }

  /** The last text of the stream, or the whole answer. */
  end(): string | Answer {
    // A last event may lack the empty line behind it.
    const last = this.write(Buffer.from('\n\n'))
    const end = this.form.end()
    return typeof end === 'string' ? last + end : end
  }
}

function written(text: string, name: string | undefined): string {
  const named = name === undefined ? '' : `event: ${name}\n`
  return `${named}data: ${text.replaceAll('\n', '\ndata: ')}\n\n`
}

/** Headers of an upstream's answer that do not describe an adapted one. */
export const OF_THE_BODY: Readonly<Record<string, undefined>> = {
  'content-type': undefined,
  'content-length': undefined,
  'content-encoding': undefined,
  'content-md5': undefined,
  etag: undefined,
  trailer: undefined,
}

/** Sends a refusal of an upstream in the client's shape, with the headers that say how to go on. */
export async function sendRefusal(
  response: ServerResponse,
  answer: HeldAnswer,
  hidden: readonly string[] | undefined,
): Promise<void> {
  const text = await textOf(answer)
  const body = answer.form!.refusal!(answer.status, parseJson(text) ?? text)
  answer.discard()
  if (response.destroyed) return
  setHeaders(response, deliverable(answer.response.rawHeaders, hidden, OF_THE_BODY))
  sendJson(response, { status: answer.status, body })
}
