import type { IncomingHttpHeaders } from 'node:http'
import type { Provider } from '../config/provider.js'
import { decode, isPlain } from './decode.js'

/** Listens to an answer on its way through and finds the parts that tell the tokens used and a late failure. */
export interface UsageTap {
  write(chunk: Buffer): void
  /** Call once, at the end of the answer. A promise where the answer has to be decoded first. */
  end(): Heard | Promise<Heard>
}

/** Parts of an answer for the provider to read, as JSON. */
export interface Heard {
  /** Tells the tokens. */
  readonly usage?: unknown
  /** Says that something went wrong after the answer had begun. */
  readonly failure?: unknown
}

interface PlainTap extends UsageTap {
  end(): Heard
}

const DEAF: PlainTap = { write: () => {}, end: () => ({}) }

/** An error in an event of any API that is spoken here. In a text that quotes one, the quotes are escaped. */
const FAILURE = /"error"\s*:\s*\{/

/** Bytes that are kept of an answer: one event, or a whole JSON answer. Longer ones are not counted. */
const LONGEST = 8 * 1024 * 1024

export function usageTap(headers: IncomingHttpHeaders, provider: Provider): UsageTap {
  if (!provider.usage && !provider.aliases && !provider.classifyEvent) return DEAF
  const type = headers['content-type'] ?? ''
  const encoding = headers['content-encoding']
  const marker = Buffer.from(provider.usageMarker ?? '"usage')
  if (type.startsWith('text/event-stream')) return decoding(streamTap(marker), encoding)
  return type.startsWith('application/json') ? decoding(jsonTap(), encoding) : DEAF
}

/**
 * Keeps the last event that holds the marker; parses it at the end. A scan of bytes and no parser of events, since all
 * output passes here: a chunk costs two searches, and no string is made of it.
 */
function streamTap(marker: Buffer): PlainTap {
  let line: Buffer[] = []
  let length = 0
  let last: Buffer | undefined
  let failed: Buffer | undefined
  const add = (part: Buffer) => {
    length += part.length
    if (length <= LONGEST) line.push(part)
    else line = []
  }
  const endLine = () => {
    const whole = line.length === 1 ? line[0]! : Buffer.concat(line)
    if (whole.includes(marker)) last = whole
    if (whole.includes('"error"')) failed = whole
    line = []
    length = 0
  }
  return {
    write(chunk) {
      let from = 0
      for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, from)) {
        add(chunk.subarray(from, at))
        endLine()
        from = at + 1
      }
      if (from < chunk.length) add(chunk.subarray(from))
    },
    end() {
      if (line.length > 0) endLine()
      const failure = failed?.toString('utf8').trimEnd() ?? ''
      return {
        usage: last && dataOf(last.toString('utf8').trimEnd()),
        failure: FAILURE.test(failure) ? dataOf(failure) : undefined,
      }
    },
  }
}

function jsonTap(): PlainTap {
  const { write, bytes } = keeping()
  return { write, end: () => ({ usage: parsed(bytes().toString('utf8')) }) }
}

/** The client gets a compressed answer as it is; a copy is decoded at its end. */
function decoding(tap: PlainTap, encoding: string | undefined): UsageTap {
  if (isPlain(encoding)) return tap
  const { write, bytes } = keeping()
  const end = async () => {
    // An answer that was cut off, or is not what its encoding says, tells nothing.
    const decoded = await decode(bytes(), encoding).catch(() => undefined)
    if (decoded) tap.write(decoded)
    return tap.end()
  }
  return { write, end }
}

/** Keeps an answer as a whole; nothing of one that is too long. */
function keeping(): { write: (chunk: Buffer) => void; bytes: () => Buffer } {
  let chunks: Buffer[] = []
  let size = 0
  return {
    write(chunk) {
      size += chunk.length
      if (size <= LONGEST) chunks.push(chunk)
      else chunks = []
    },
    bytes: () => Buffer.concat(chunks),
  }
}

/** The JSON of a `data:` line. */
function dataOf(line: string): unknown {
  return line.startsWith('data:') ? parsed(line.slice(5)) : undefined
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
