import type { Transform } from 'node:stream'
import { parseJson } from '../config/index.js'
import type { Provider } from '../config/provider.js'
import { decoderOf, isPlain } from './decode.js'
import { Beginning, blockReader, elementReader, eventIn, type Form, typeIn } from './events.js'
import { LARGE, parseLarge } from './large-json.js'

/** Reads an answer on its way through: the part that tells the tokens used, and failures after the first output. */
export interface UsageTap {
  /** The form of an answer that is not compressed, once it has begun. */
  readonly form?: Form | undefined
  /** Returns whether the chunk may reach the client. A promise where the answer has to be decoded first. */
  write(chunk: Buffer): boolean | Promise<boolean>
  /**
   * Call once, at the end of the answer: the part that tells the tokens, as JSON. A promise where the answer has to be
   * decoded first, or is large.
   */
  end(): unknown
}

/**
 * The meaning of an event: output of the answer, nothing that matters, a failure that the client may hear, or one that
 * it must not.
 */
export type LateEvent = 'output' | 'nothing' | 'failure' | 'private'

export interface Judging {
  /** Judges one event. @default events are not judged */
  readonly judge: ((event: unknown) => LateEvent) | undefined
  /** Types of events that have been judged already, and were no failure. @default none */
  readonly harmless: ReadonlySet<string> | undefined
}

/** Events that may be needed to read 80 characters, in the shortest pieces in which models write. */
const FIRST_EVENTS = 64
/** Bytes. A longer event is no piece of the answer's text: it repeats the request's instructions and tools. */
const LONGEST_FIRST_EVENT = 16 * 1024

/** The first events of a stream, for what the next request may repeat of it. Parsed at its end, as far as needed. */
export class FirstEvents {
  #events: Buffer[] = []
  /** Whether these are all that came. */
  whole = true

  add(event: Buffer): void {
    if (event.length > LONGEST_FIRST_EVENT) return
    // A copy: the event is a piece of a chunk, which would be kept as long.
    if (this.#events.length < FIRST_EVENTS) this.#events.push(Buffer.from(event))
    else this.whole = false
  }

  *[Symbol.iterator](): Generator<unknown> {
    for (const event of this.#events) yield eventIn(event)
  }
}

const DEAF: UsageTap = { write: () => true, end: () => undefined }

/** An error in an event of any API that is spoken here. In a text that quotes one, the quotes are escaped. */
const FAILURE = /"error"\s*:\s*[{["]|"type"\s*:\s*"error"/

/** Bytes that are kept of an answer: one event, or a whole JSON answer. Longer ones are not counted. */
const LONGEST = 8 * 1024 * 1024

/** @param first gets the first events of a stream, where they are wanted */
export function usageTap(
  encoding: string | undefined,
  provider: Provider,
  judging: Judging,
  first?: FirstEvents,
): UsageTap {
  if (!provider.usage && !provider.aliases && !provider.resourcesMade && !judging.judge) return DEAF
  const tap = new Tap(Buffer.from(provider.usageMarker ?? '"usage'), judging, first)
  if (isPlain(encoding)) return tap
  const decoder = decoderOf(encoding)
  return decoder ? decoding(tap, decoder) : DEAF
}

/** Reads a plain answer. The body tells its form itself: its `Content-Type` may be missing or wrong. */
class Tap implements UsageTap {
  form: Form | undefined
  readonly #beginning = new Beginning()
  #read: ((chunk: Buffer) => void) | undefined
  /** The last event that holds the marker; its JSON, if it has been parsed. */
  #told: { readonly bytes: Buffer; readonly json?: unknown } | undefined
  /** Types of events that have been judged, and were no failure. */
  readonly #harmless: Set<string>
  #isPrivate = false
  /** A whole JSON answer, which tells the tokens at its end. */
  #object: Buffer[] | undefined
  #size = 0

  constructor(
    private readonly marker: Buffer,
    private readonly judging: Judging,
    private readonly first: FirstEvents | undefined,
  ) {
    this.#harmless = new Set(judging.harmless)
  }

  write(chunk: Buffer): boolean {
    if (this.#read) this.#read(chunk)
    else {
      const begun = this.#beginning.add(chunk)
      if (begun) this.#begin(begun.form, begun.bytes)
    }
    return !this.#isPrivate
  }

  #begin(form: Form, bytes: Buffer): void {
    this.form = form
    if (form === 'events') this.#read = blockReader((event) => this.#onEvent(event))
    else if (form === 'array') this.#read = elementReader((event) => this.#onEvent(event))
    else this.#read = form === 'object' ? (chunk) => this.#keep(chunk) : () => {}
    this.#read(bytes)
  }

  #keep(chunk: Buffer): void {
    this.#size += chunk.length
    if (this.#size > LONGEST) this.#object = []
    else (this.#object ??= []).push(chunk)
  }

  /**
   * All output passes here, so an event costs two searches of bytes and a look at its beginning. It is parsed only if its
   * type has not been judged yet, or if it holds an error.
   */
  #onEvent(bytes: Buffer): void {
    this.first?.add(bytes)
    const tells = bytes.includes(this.marker)
    if (tells) this.#told = { bytes }
    const type = this.judging.judge && typeIn(bytes)
    if (type === undefined || (this.#harmless.has(type) && !holdsError(bytes))) return
    const json = eventIn(bytes)
    if (tells) this.#told = { bytes, json }
    if (json === undefined) return
    const late = this.judging.judge?.(json)
    if (late === 'private') this.#isPrivate = true
    else if (late === 'output') this.#harmless.add(type)
  }

  end(): unknown {
    // The last event may lack its empty line.
    this.#read?.(Buffer.from('\n\n'))
    if (this.#object) return wholeOf(Buffer.concat(this.#object))
    return this.#told && (this.#told.json ?? eventIn(this.#told.bytes))
  }
}

function wholeOf(bytes: Buffer): unknown {
  return bytes.length > LARGE ? parseLarge(bytes).catch(() => undefined) : parseJson(bytes.toString('utf8'))
}

function holdsError(bytes: Buffer): boolean {
  return bytes.includes('"error"') && FAILURE.test(bytes.toString('utf8'))
}

/** The client gets a compressed answer as it is, each part of it once that part has been decoded and read. */
function decoding(tap: Tap, decoder: Transform): UsageTap {
  let mayPass = true
  let failure: Error | undefined
  const read = (chunk: Buffer): void => {
    try {
      mayPass &&= tap.write(chunk)
    } catch (error) {
      failure = error as Error
      decoder.destroy()
    }
  }
  // An answer that was cut off or cannot be decoded is read as far as it goes.
  const closed = new Promise<void>((resolve) => {
    decoder
      .on('data', read)
      .on('error', () => {})
      .once('close', resolve)
  })
  const decided = (): boolean => {
    if (failure) throw failure
    return mayPass
  }
  return {
    write(chunk) {
      if (decoder.destroyed) return decided()
      const written = new Promise((done) => decoder.write(chunk, done))
      return Promise.race([written, closed]).then(decided)
    },
    async end() {
      if (!decoder.destroyed) decoder.end()
      await closed
      return tap.end()
    },
  }
}
