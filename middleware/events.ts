import { createParser } from 'eventsource-parser'
import { isRecord, parseJson } from '../config/index.js'

/**
 * The form of a body, told by its first bytes. A `Content-Type` may be missing or wrong.
 * - `events`: server-sent events
 * - `array`: a JSON array whose elements arrive one after the other
 * - `object`: one JSON object
 * - `other`: a page, plain text, bytes
 */
export type Form = 'events' | 'array' | 'object' | 'other'

/** How a line of server-sent events begins (HTML standard, §9.2.6). */
const FIELDS = ['data', 'event', 'id', 'retry', ':']

/** The beginning of a body, which arrives in any pieces, until its form is known. */
export class Beginning {
  #bytes: Buffer = Buffer.alloc(0)

  /** Adds a piece. @returns the form, and what has come from the first character on; `undefined` while too little has come */
  add(chunk: Buffer): { readonly form: Form; readonly bytes: Buffer } | undefined {
    this.#bytes = withoutBlanks(Buffer.concat([this.#bytes, chunk]))
    const form = formOf(this.#bytes)
    return form && { form, bytes: this.#bytes }
  }
}

/** Servers send white space to keep a connection alive before an answer: it must not pile up. */
function withoutBlanks(bytes: Buffer): Buffer {
  let from = bytes.indexOf(MARK) === 0 ? MARK.length : 0
  while (from < bytes.length && BLANKS.has(bytes[from]!)) from++
  return bytes.subarray(from)
}

const MARK = Buffer.from('\ufeff')
const BLANKS: ReadonlySet<number> = new Set(Buffer.from(' \t\r\n'))

function formOf(bytes: Buffer): Form | undefined {
  const text = bytes.toString('latin1', 0, 8)
  if (text === '' || '\xef\xbb'.startsWith(text)) return undefined
  if (text.startsWith('[')) return 'array'
  if (text.startsWith('{')) return 'object'
  if (FIELDS.some((field) => text.startsWith(field))) return 'events'
  return FIELDS.some((field) => field.startsWith(text)) ? undefined : 'other'
}

export type EventReader = (chunk: Buffer) => void

/** Bytes of one event. A longer event is skipped. */
const LONGEST = 8 * 1024 * 1024

/**
 * Calls back with the JSON of each event of a stream that arrives in any pieces, its text and its name. Other data is
 * skipped.
 */
export function eventReader(
  form: 'events' | 'array',
  onEvent: (event: unknown, text: string, name?: string) => void,
  onComment?: (comment: string) => void,
): EventReader {
  const tell = (event: unknown, text = '', name?: string): void => {
    if (event !== undefined) onEvent(event, text, name)
  }
  if (form === 'array') return elementReader((element) => tell(parseJson(element.toString('utf8'))))
  const decoder = new TextDecoder()
  const parser = createParser({
    onEvent: (message) => tell(payloadOf(message), message.data, message.event),
    onComment,
    onError: ({ type }) => type === 'max-buffer-size-exceeded' && parser.reset(),
    maxBufferSize: LONGEST,
  })
  return (chunk) => parser.feed(decoder.decode(chunk, { stream: true }))
}

/** The JSON of an event. One that only its name calls an error gets that name as its type; its data may be plain text. */
function payloadOf({ event, data }: { readonly event?: string | undefined; readonly data: string }): unknown {
  const payload = parseJson(data)
  if (event !== 'error') return payload
  if (payload === undefined) return { type: event, message: data }
  return isRecord(payload) && payload.type === undefined ? { ...payload, type: event } : payload
}

/** The JSON of the bytes of one event, or of one element of an array. */
export function eventIn(bytes: Buffer): unknown {
  // Comments keep a stream alive; some servers send thousands.
  if (!bytes.includes('{') && !bytes.includes('error')) return undefined
  const text = bytes.toString('utf8').trim()
  if (/^[{[]/.test(text)) return parseJson(text)
  let payload: unknown
  createParser({ onEvent: (message) => (payload = payloadOf(message)) }).feed(`${text}\n\n`)
  return payload
}

/**
 * The type of an event, as its first bytes tell it: its `type`, or else the name of its first field. A search of the whole
 * would read large events to their end.
 */
export function typeIn(bytes: Buffer): string {
  const begun = bytes.toString('latin1', 0, 256)
  return /"type"\s*:\s*"([^"]+)"/.exec(begun)?.[1] ?? /\{\s*"([^"]+)"/.exec(begun)?.[1] ?? ''
}

/** Calls back with the bytes of each event of a stream that arrives in any pieces, up to the empty line behind it. */
export function blockReader(onBlock: (block: Buffer) => void): EventReader {
  let parts: Buffer[] = []
  let size = 0
  let lineBegun = false
  const isEmpty = (chunk: Buffer, from: number, to: number) =>
    to === from || (to === from + 1 && chunk[from] === CARRIAGE_RETURN)
  const keep = (part: Buffer) => {
    size += part.length
    if (size <= LONGEST) parts.push(part)
    else parts = []
  }
  return function read(chunk) {
    let start = 0
    let from = 0
    for (let at = chunk.indexOf(LINE_FEED); at >= 0; at = chunk.indexOf(LINE_FEED, from)) {
      const ends = !lineBegun && isEmpty(chunk, from, at)
      lineBegun = false
      from = at + 1
      if (!ends) continue
      keep(chunk.subarray(start, from))
      // Shorter than any field with its line feed: these are empty lines.
      if (size > 4 && size <= LONGEST) onBlock(parts.length === 1 ? parts[0]! : Buffer.concat(parts))
      parts = []
      size = 0
      start = from
    }
    lineBegun ||= !isEmpty(chunk, from, chunk.length)
    if (start < chunk.length) keep(chunk.subarray(start))
  }
}

const [LINE_FEED, CARRIAGE_RETURN] = [0x0a, 0x0d]
const [QUOTE, BACKSLASH] = [0x22, 0x5c]
/** `[`, `{` and `]`, `}`. */
const OPENS: ReadonlySet<number> = new Set([0x5b, 0x7b])
const CLOSES: ReadonlySet<number> = new Set([0x5d, 0x7d])

/** Calls back with the bytes of each object or array in a JSON array that arrives in any pieces. */
export function elementReader(onElement: (element: Buffer) => void): EventReader {
  let depth = 0
  let inString = false
  let escaped = false
  let parts: Buffer[] = []
  let size = 0
  return function read(chunk) {
    let from = 0
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at]!
      if (escaped) escaped = false
      else if (inString && byte === BACKSLASH) escaped = true
      else if (byte === QUOTE) inString = !inString
      else if (inString) continue
      else if (OPENS.has(byte) && ++depth === 2) from = at
      else if (CLOSES.has(byte) && --depth === 1) {
        onElement(Buffer.concat([...parts, chunk.subarray(from, at + 1)]))
        parts = []
        size = 0
      }
    }
    if (depth < 2) return
    parts.push(chunk.subarray(from))
    size += chunk.length - from
    if (size > LONGEST) parts = []
  }
}
