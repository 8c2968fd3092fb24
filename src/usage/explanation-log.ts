import { appendFile, mkdir, readFile, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { isRecord, parseJson } from '../../config/index.js'
import { WriteBehind } from '../state/datastore.js'

/** Two files of this size are kept at most; bytes. A line has 500 bytes, with thirty accounts 4 KB. */
const MOST_BYTES = 2 * 1024 * 1024
/** Explanations kept in memory for a disk that refuses them. */
const MAX_BUFFERED = 2_000

/** What is kept has an id; what else is in it is for its reader. */
export interface Kept {
  readonly id: string
}

const isKept = (entry: unknown): entry is Kept => isRecord(entry) && typeof entry.id === 'string'

/**
 * Keeps explanations of requests over a restart: one JSON document a line, in a file that begins anew when it is full. The
 * one before it is kept. Not in the database: an explanation is never changed, and read only when somebody asks.
 */
export class ExplanationLog {
  #buffer: (() => Kept)[] = []
  /** Bytes in the file; `undefined` before the first write. */
  #size: number | undefined
  readonly #writer = new WriteBehind(() => this.#write())

  constructor(private readonly file: string) {}

  /** The entry is worked out when it is written, within a second. */
  add(entry: () => Kept): void {
    if (this.#buffer.length < MAX_BUFFERED) this.#buffer.push(entry)
    this.#writer.schedule()
  }

  /** All that is kept, the oldest first. A line that is damaged is left out. */
  async read(): Promise<Kept[]> {
    await this.#writer.flush()
    const texts = await Promise.all([this.#before, this.file].map((file) => textOf(file)))
    return texts
      .join('\n')
      .split('\n')
      .map((line) => (line === '' ? undefined : parseJson(line)))
      .filter(isKept)
  }

  get failing(): string | undefined {
    return this.#writer.failing
  }

  close(): Promise<void> {
    return this.#writer.close()
  }

  get #before(): string {
    return `${this.file}.before`
  }

  async #write(): Promise<void> {
    if (this.#buffer.length === 0) return
    const writing = this.#buffer.length
    const text = this.#buffer.map((entry) => `${JSON.stringify(entry())}\n`).join('')
    this.#size ??= (await textOf(this.file)).length
    if (this.#size > MOST_BYTES) {
      await rename(this.file, this.#before)
      this.#size = 0
    }
    await mkdir(dirname(this.file), { recursive: true, mode: 0o700 })
    // A line that was cut off by a kill must not swallow the next one.
    await appendFile(this.file, `\n${text}`, { mode: 0o600 })
    this.#size += text.length
    this.#buffer = this.#buffer.slice(writing)
  }
}

async function textOf(file: string): Promise<string> {
  return readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return ''
    throw error
  })
}
