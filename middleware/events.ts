import { createParser } from 'eventsource-parser'
import { parseJson } from '../config/index.js'

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

/** `undefined` while the bytes are too few to tell. */
export function formOf(begun: Buffer): Form | undefined {
  const text = begun
    .toString('latin1', 0, 64)
    .replace(/^\xef\xbb\xbf/, '')
    .trimStart()
  if (text === '' || '\xef\xbb'.startsWith(text)) return undefined
  if (text.startsWith('[')) return 'array'
  if (text.startsWith('{')) return 'object'
  if (FIELDS.some((field) => text.startsWith(field))) return 'events'
  return FIELDS.some((field) => field.startsWith(text)) ? undefined : 'other'
}

export type EventReader = (chunk: Buffer) => void

/** Bytes of one event. A longer event is skipped. */
const LONGEST = 8 * 1024 * 1024

/** Calls back with the JSON of each event of a stream that arrives in any pieces. Other data is skipped. */
export function eventReader(form: 'events' | 'array', onEvent: (event: unknown) => void): EventReader {
  const read = (text: string): void => {
    const event = parseJson(text)
    if (event !== undefined) onEvent(event)
  }
  if (form === 'array') return elementReader((element) => read(element.toString('utf8')))
  const decoder = new TextDecoder()
  const parser = createParser({
    onEvent: ({ data }) => read(data),
    onError: ({ type }) => type === 'max-buffer-size-exceeded' && parser.reset(),
    maxBufferSize: LONGEST,
  })
  return (chunk) => parser.feed(decoder.decode(chunk, { stream: true }))
}

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
