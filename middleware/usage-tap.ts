import type { IncomingHttpHeaders } from 'node:http'
import { brotliDecompressSync, gunzipSync, inflateSync } from 'node:zlib'
import type { Provider } from '../config/provider.js'

/** Listens to an answer on its way through and finds what tells the tokens that it used. */
export interface UsageTap {
  write(chunk: Buffer): void
  /** Call once, at the end of the answer: what the provider may want to read of it, as JSON. */
  end(): Heard
}

export interface Heard {
  /** Tells the tokens. */
  readonly usage?: unknown
  /** Says that something went wrong after the answer had begun. */
  readonly failure?: unknown
}

const DEAF: UsageTap = { write: () => {}, end: () => ({}) }

/** In an event of every API that is spoken here; never in text, where the quotes would be escaped. */
const FAILURE = /"error"\s*:\s*\{/

/** What is kept of an answer at most: one event, or a whole JSON answer. Longer ones are not counted. */
const LONGEST = 8 * 1024 * 1024

export function usageTap(headers: IncomingHttpHeaders, provider: Provider): UsageTap {
  if (!provider.usage && !provider.aliases && !provider.classifyEvent) return DEAF
  const type = headers['content-type'] ?? ''
  const marker = provider.usageMarker ?? '"usage'
  const tap = type.startsWith('text/event-stream')
    ? streamTap(Buffer.from(marker))
    : type.startsWith('application/json')
      ? jsonTap()
      : DEAF
  return tap === DEAF ? tap : decoding(tap, headers['content-encoding'])
}

/** Keeps the last event that holds the marker; parses it at the end. */
function streamTap(marker: Buffer): UsageTap {
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

function jsonTap(): UsageTap {
  let chunks: Buffer[] = []
  let size = 0
  return {
    write(chunk) {
      size += chunk.length
      if (size <= LONGEST) chunks.push(chunk)
      else chunks = []
    },
    end() {
      try {
        return size <= LONGEST ? { usage: JSON.parse(Buffer.concat(chunks).toString('utf8')) } : {}
      } catch {
        return {}
      }
    },
  }
}

/**
 * An answer that is compressed although we asked for none is kept and decoded at its end; the client gets it as it is.
 * In one piece, since a decoder that works aside would have its last events only after the request is over.
 */
function decoding(tap: UsageTap, encoding: string | undefined): UsageTap {
  const decode = DECODERS[encoding ?? '']
  if (!decode) return encoding === undefined || encoding === 'identity' ? tap : DEAF
  let kept: Buffer[] = []
  let size = 0
  return {
    write(chunk) {
      size += chunk.length
      if (size <= LONGEST) kept.push(chunk)
      else kept = []
    },
    end() {
      try {
        tap.write(decode(Buffer.concat(kept), { maxOutputLength: 4 * LONGEST }))
      } catch {
        // Cut off, too long, or not what it says.
      }
      return tap.end()
    },
  }
}

const DECODERS: Partial<Record<string, (bytes: Buffer, options: { maxOutputLength: number }) => Buffer>> = {
  gzip: gunzipSync,
  br: brotliDecompressSync,
  deflate: inflateSync,
}

/** The complete events' JSON data in the beginning of a stream of server-sent events. Other data is passed over. */
export function* eventsIn(bytes: Buffer): Generator<unknown> {
  const text = bytes.toString('utf8')
  // What follows the last empty line is not complete yet.
  const complete = text.slice(0, Math.max(text.lastIndexOf('\n\n'), text.lastIndexOf('\r\n\r\n')) + 1)
  for (const line of complete.split(/\r?\n/)) {
    const event = dataOf(line)
    if (event !== undefined) yield event
  }
}

/** The JSON of a `data:` line. */
export function dataOf(line: string): unknown {
  if (!line.startsWith('data:')) return undefined
  try {
    return JSON.parse(line.slice(5))
  } catch {
    return undefined
  }
}
