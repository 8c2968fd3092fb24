import { parseJson } from '../config/index.js'
import type { Provider } from '../config/provider.js'
import { decode, isPlain } from './decode.js'
import { elementReader, formOf } from './events.js'

/** Reads an answer on its way through: the part that tells the tokens used, and failures after the first output. */
export interface UsageTap {
  /** Returns the last failure that the chunk completes, as JSON. */
  write(chunk: Buffer): unknown
  /**
   * Call once, at the end of the answer: the part that tells the tokens, as JSON. A promise where the answer has to be
   * decoded first.
   */
  end(): unknown
}

const DEAF: UsageTap = { write: () => undefined, end: () => undefined }

/** An error in an event of any API that is spoken here. In a text that quotes one, the quotes are escaped. */
const FAILURE = /"error"\s*:\s*\{|"type"\s*:\s*"error"/

/** Bytes that are kept of an answer: one event, or a whole JSON answer. Longer ones are not counted. */
const LONGEST = 8 * 1024 * 1024

export function usageTap(encoding: string | undefined, provider: Provider): UsageTap {
  if (!provider.usage && !provider.aliases && !provider.classifyEvent) return DEAF
  const tap = byForm(Buffer.from(provider.usageMarker ?? '"usage'))
  return isPlain(encoding) ? tap : decoding(tap, encoding)
}

/** The body tells its form itself: its `Content-Type` may be missing or wrong. */
function byForm(marker: Buffer): UsageTap {
  let tap: UsageTap | undefined
  let begun: Buffer[] = []
  return {
    write(chunk) {
      if (tap) return tap.write(chunk)
      begun.push(chunk)
      const bytes = Buffer.concat(begun)
      const form = formOf(bytes)
      if (form === undefined) return undefined
      begun = []
      if (form === 'object') tap = objectTap()
      else tap = form === 'other' ? DEAF : eventTap(marker, form)
      return tap.write(bytes)
    },
    end: () => tap?.end(),
  }
}

/**
 * Keeps the last event that holds the marker; parses it at the end. A scan of bytes and no parser of events, since all
 * output passes here: an event costs two searches, and no string is made of it.
 */
function eventTap(marker: Buffer, form: 'events' | 'array'): UsageTap {
  let told: Buffer | undefined
  let failure: unknown
  const onEvent = (event: Buffer) => {
    if (event.includes(marker)) told = event
    if (!event.includes('"error"')) return
    const text = event.toString('utf8')
    if (FAILURE.test(text)) failure = dataOf(text)
  }
  const read = form === 'array' ? elementReader(onEvent) : lineReader(onEvent)
  return {
    write(chunk) {
      failure = undefined
      read(chunk)
      return failure
    },
    end() {
      // A last line may lack its line feed.
      if (form === 'events') read(Buffer.from('\n'))
      return told && dataOf(told.toString('utf8'))
    },
  }
}

function lineReader(onLine: (line: Buffer) => void): (chunk: Buffer) => void {
  let parts: Buffer[] = []
  let length = 0
  const add = (part: Buffer) => {
    length += part.length
    if (length <= LONGEST) parts.push(part)
    else parts = []
  }
  return function read(chunk) {
    let from = 0
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, from)) {
      add(chunk.subarray(from, at))
      onLine(parts.length === 1 ? parts[0]! : Buffer.concat(parts))
      parts = []
      length = 0
      from = at + 1
    }
    if (from < chunk.length) add(chunk.subarray(from))
  }
}

function objectTap(): UsageTap {
  const { write, bytes } = keeping()
  return { write, end: () => parseJson(bytes().toString('utf8')) }
}

/** The client gets a compressed answer as it is; a copy is decoded at its end. */
function decoding(tap: UsageTap, encoding: string | undefined): UsageTap {
  const { write, bytes } = keeping()
  const end = async () => {
    // An answer that was cut off or cannot be decoded has no usage.
    const decoded = await decode(bytes(), encoding).catch(() => undefined)
    if (decoded) tap.write(decoded)
    return tap.end()
  }
  return { write, end }
}

/** Keeps an answer as a whole; nothing of one that is too long. */
function keeping(): { write: (chunk: Buffer) => undefined; bytes: () => Buffer } {
  let chunks: Buffer[] = []
  let size = 0
  return {
    write(chunk) {
      size += chunk.length
      if (size <= LONGEST) chunks.push(chunk)
      else chunks = []
      return undefined
    },
    bytes: () => Buffer.concat(chunks),
  }
}

/** The JSON of a line `data: …`, or of an element of an array. */
const dataOf = (text: string): unknown => parseJson(text.replace(/^data:/, ''))
