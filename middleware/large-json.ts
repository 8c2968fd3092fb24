import { setImmediate as nextTurn } from 'node:timers/promises'
import { DEEPEST, excessOf, MOST_VALUES, parseJson } from '../config/index.js'
import { GatewayFailure } from './failure.js'

/** ms of work after which other requests have their turn. */
const TURN_MS = 5
/** Steps of work between two looks at the clock. */
const STEPS = 64
/** Values of one body: more fill the memory. */
const MOST = 5 * MOST_VALUES
/** Fields of one object: the engine's table of them grows in one step, which takes 20 ms for so many. */
const MOST_FIELDS = 100_000
/** Bytes or characters of one text that are read or written in one step. */
const PIECE = 64 * 1024
/** Bytes of one number, or of white space in one place. A text with more is not taken for JSON. */
const LONGEST_GAP = PIECE

/** Bytes. `JSON.parse` takes 20 ms for so many. */
export const LARGE = 4 * 1024 * 1024

/** Parses a body at once if that takes no long time; `undefined` if {@link parseLarge} must do it. */
export function parseSmall(bytes: Buffer): { readonly value: unknown } | undefined {
  if (bytes.length > LARGE) return undefined
  const text = bytes.toString('utf8')
  return excessOf(text) === 'size' ? undefined : { value: parseJson(text) }
}

/**
 * As `parseJson`, for a body that `JSON.parse` takes too long for: other requests have their turn in between.
 * @returns `undefined` for a text that is no JSON or is nested too deeply
 * @throws GatewayFailure 413 for one with too many values
 */
export async function parseLarge(bytes: Buffer): Promise<unknown> {
  try {
    return await inTurns(new Reader(bytes).read())
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

/** As `JSON.stringify`, for a value that {@link parseLarge} has read. */
export async function writeLarge(value: unknown): Promise<Buffer> {
  const written: Buffer[] = []
  let text = ''
  const write = (part: string): void => {
    text += part
    if (text.length < PIECE) return
    written.push(Buffer.from(text))
    text = ''
  }
  await inTurns(writing(value, write))
  return Buffer.concat([...written, Buffer.from(text)])
}

/** Runs work in steps, and lets other requests have their turn in between. */
async function inTurns<T>(work: Iterator<void, T>): Promise<T> {
  for (;;) {
    const until = performance.now() + TURN_MS
    do {
      for (let step = 0; step < STEPS; step++) {
        const result = work.next()
        if (result.done) return result.value
      }
    } while (performance.now() < until)
    await nextTurn()
  }
}

type Steps<T> = Generator<undefined, T, undefined>
type Container = unknown[] | Record<string, unknown>

const [QUOTE, BACKSLASH, COMMA, COLON] = [0x22, 0x5c, 0x2c, 0x3a]
const [OBJECT, OBJECT_END, ARRAY, ARRAY_END] = [0x7b, 0x7d, 0x5b, 0x5d]

/** Reads a JSON text value by value. Names, numbers and texts are left to `JSON.parse`, which knows their grammar. */
class Reader {
  #at: number
  /** The containers that have begun and not ended, the outermost first, and the name of the next value in each object. */
  readonly #open: Container[] = []
  readonly #names: string[] = []
  /** How many fields each of them has. */
  readonly #fields: number[] = []

  constructor(private readonly bytes: Buffer) {
    const hasMark = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf
    this.#at = hasMark ? 3 : 0
  }

  *read(): Steps<unknown> {
    for (let values = 1; ; values++) {
      if (values > MOST) throw tooMany
      yield
      const value = yield* this.#value()
      if (value === BEGUN) continue
      const whole = yield* this.#put(value)
      if (whole !== BEGUN) return whole
    }
  }

  /** One value, or `BEGUN` for a container with something in it. */
  *#value(): Steps<unknown> {
    const first = this.#peek()
    if (first === QUOTE) return this.#shortText() ?? (yield* this.#longText())
    if (first !== OBJECT && first !== ARRAY) return this.#scalar()
    const container: Container = first === OBJECT ? {} : []
    if (this.#open.length >= DEEPEST) throw new SyntaxError('nested too deeply')
    this.#at++
    if (this.#ends(container)) return container
    this.#open.push(container)
    this.#fields.push(0)
    if (first === OBJECT) yield* this.#name()
    return BEGUN
  }

  /** Puts a value where it belongs, and ends the containers that end with it. `BEGUN` if another value follows. */
  *#put(value: unknown): Steps<unknown> {
    for (let whole = value; ; whole = this.#open.pop()) {
      const parent = this.#open.at(-1)
      if (parent === undefined) {
        if (this.#peek() !== undefined) throw new SyntaxError('text behind the end')
        return whole
      }
      if (Array.isArray(parent)) parent.push(whole)
      else if (++this.#fields[this.#fields.length - 1]! > MOST_FIELDS) throw tooManyFields
      else set(parent, this.#names.pop()!, whole)
      if (this.#ends(parent)) {
        this.#fields.pop()
        continue
      }
      if (this.#peek() !== COMMA) throw new SyntaxError('neither a comma nor an end')
      this.#at++
      if (!Array.isArray(parent)) yield* this.#name()
      return BEGUN
    }
  }

  *#name(): Steps<void> {
    if (this.#peek() !== QUOTE) throw new SyntaxError('no name')
    this.#names.push(this.#shortText() ?? (yield* this.#longText()))
    if (this.#peek() !== COLON) throw new SyntaxError('no colon')
    this.#at++
  }

  /** The next byte that is no white space; `undefined` at the end. */
  #peek(): number | undefined {
    for (const from = this.#at; this.#at - from < LONGEST_GAP; this.#at++) {
      const byte = this.bytes[this.#at]
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return byte
    }
    throw new SyntaxError('too much white space')
  }

  #ends(container: Container): boolean {
    const ends = this.#peek() === (Array.isArray(container) ? ARRAY_END : OBJECT_END)
    if (ends) this.#at++
    return ends
  }

  /** `undefined` for a long one. */
  #shortText(): string | undefined {
    const end = this.#endOfPiece(this.#at + 1)
    return this.bytes[end] === QUOTE ? this.#take(end + 1) : undefined
  }

  *#longText(): Steps<string> {
    let text = ''
    this.#at++
    for (;;) {
      const end = this.#endOfPiece(this.#at)
      text += JSON.parse(`"${this.bytes.toString('utf8', this.#at, end)}"`) as string
      this.#at = end
      if (this.bytes[end] === QUOTE) break
      yield
    }
    this.#at++
    return text
  }

  /** Where a text ends, or a place soon after `PIECE` bytes that is not in the middle of a character or an escape. */
  #endOfPiece(from: number): number {
    const { bytes } = this
    for (let at = from; at < bytes.length;) {
      const byte = bytes[at]!
      if (byte === QUOTE || (at - from >= PIECE && !isContinuation(byte))) return at
      if (byte !== BACKSLASH) at++
      else at += bytes[at + 1] === U ? 6 : 2
    }
    throw new SyntaxError('a text without an end')
  }

  #scalar(): unknown {
    let end = this.#at
    while (end - this.#at < LONGEST_GAP && isOfScalar(this.bytes[end])) end++
    return this.#take(end)
  }

  #take(end: number): string {
    const value = JSON.parse(this.bytes.toString('utf8', this.#at, end)) as string
    this.#at = end
    return value
  }
}

const BEGUN = Symbol('begun')
const U = 0x75

/** A byte in the middle of a character of UTF-8. */
const isContinuation = (byte: number): boolean => (byte & 0xc0) === 0x80

/** Numbers, `true`, `false` and `null`. */
function isOfScalar(byte: number | undefined): boolean {
  if (byte === undefined) return false
  return (byte >= 0x30 && byte <= 0x39) || (byte >= 0x61 && byte <= 0x7a) || SIGNS.has(byte)
}

const SIGNS: ReadonlySet<number> = new Set(Buffer.from('+-.E'))

function set(object: Record<string, unknown>, name: string, value: unknown): void {
  if (name !== '__proto__') object[name] = value
  // Assigned, it would become the object's prototype; `JSON.parse` makes a field of it.
  else Object.defineProperty(object, name, { value, enumerable: true, configurable: true, writable: true })
}

const tooMany = new GatewayFailure(413, 'body_too_large', `a JSON body may have at most ${MOST} values`)
const tooManyFields = new GatewayFailure(
  413,
  'body_too_large',
  `an object in a JSON body may have at most ${MOST_FIELDS} fields`,
)

function* writing(value: unknown, write: (part: string) => void): Steps<void> {
  yield
  if (Array.isArray(value)) {
    write('[')
    for (const [index, item] of value.entries()) {
      if (index > 0) write(',')
      yield* writing(item ?? null, write)
    }
    write(']')
  } else if (typeof value === 'object' && value !== null && !('toJSON' in value)) {
    let mark = '{'
    // `Object.entries` reads all fields in one piece, which takes four times as long.
    for (const name of Object.keys(value)) {
      const field = (value as Record<string, unknown>)[name]
      if (field === undefined) continue
      write(`${mark}${JSON.stringify(name)}:`)
      mark = ','
      yield* writing(field, write)
    }
    write(mark === '{' ? '{}' : '}')
  } else if (typeof value === 'string' && value.length > PIECE) {
    write('"')
    for (let at = 0; at < value.length; at += PIECE) {
      write(JSON.stringify(value.slice(at, at + PIECE)).slice(1, -1))
      yield
    }
    write('"')
  } else {
    write(JSON.stringify(value) ?? 'null')
  }
}
