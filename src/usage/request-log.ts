import { randomUUID } from 'node:crypto'
import { readdir, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { kept } from '../../config/index.js'
import type { Usage } from '../../config/provider.js'
import { DatabaseError, type Datastore, openDatastore, type Row, WriteBehind } from '../state/datastore.js'

/** One finished request. */
export interface RequestRecord {
  readonly id: string
  /** ms since 1970 */
  readonly at: number
  readonly provider: string
  readonly account: string
  readonly route: string
  readonly model?: string | undefined
  /** A hash. */
  readonly conversation?: string | undefined
  readonly client: string
  /** The status that the client got; 0 for none. */
  readonly status: number
  readonly attempts: number
  readonly durationMs: number
  readonly firstByteMs?: number | undefined
  readonly usage?: Usage | undefined
}

/** The longest model name that is kept: the client may name any. */
const MAX_MODEL = 100

/** The record with a model name of bounded length, and with usage that is numbers only. */
export function bounded(record: RequestRecord): RequestRecord {
  const { model, usage } = record
  return {
    ...record,
    model: model === undefined ? undefined : kept(model, MAX_MODEL),
    usage: usage && tokens(usage),
  }
}

/**
 * `usage` may come from a provider of the user's own. Anything but a number would spoil every sum after it, and a field
 * name that NeDB refuses would fail the whole batch.
 */
function tokens(usage: Usage): Usage {
  const number = (value: unknown) =>
    Number.isFinite(value) && (value as number) >= 0 ? (value as number) : undefined
  return {
    inputTokens: number(usage.inputTokens),
    cachedTokens: number(usage.cachedTokens),
    outputTokens: number(usage.outputTokens),
    reasoningTokens: number(usage.reasoningTokens),
    totalTokens: number(usage.totalTokens),
  }
}

/** So many records are written at once, before their second is over. */
const BATCH = 100
/** Records kept in memory for a disk that refuses them; about 4 MB. */
const MAX_BUFFERED = 10_000

/** Writes request records, a second after they come or a hundred at once. */
export class RequestLog {
  readonly #files: RequestFiles
  #buffer: { day: string; row: Row }[] = []
  #oldest: string | undefined
  readonly #writer = new WriteBehind(() => this.#write())

  constructor(folder: string) {
    this.#files = new RequestFiles(folder)
  }

  /** Keeps a record for a day's file. @returns `false` if the disk refuses and the memory for it is full */
  add(day: string, record: RequestRecord): boolean {
    if (this.#buffer.length >= MAX_BUFFERED) return false
    // Not the record's own id: if that came twice, the first record would be overwritten.
    this.#buffer.push({ day, row: { _id: randomUUID(), ...record } })
    if (this.#buffer.length === BATCH) void this.#writer.flush()
    else this.#writer.schedule()
    return true
  }

  /** Unlinks the files of the days before `day`. */
  forget(day: string): void {
    this.#oldest = day
    this.#writer.schedule()
  }

  flush(): Promise<void> {
    return this.#writer.flush()
  }

  close(): Promise<void> {
    return this.#writer.close()
  }

  get failing(): string | undefined {
    return this.#writer.failing
  }

  async #write(): Promise<void> {
    while (this.#buffer.length > 0) {
      const { day } = this.#buffer[0]!
      const end = this.#buffer.findIndex((entry) => entry.day !== day)
      const batch = this.#buffer.slice(0, end < 0 ? BATCH : Math.min(end, BATCH)).map(({ row }) => row)
      await this.#files.append(day, batch)
      this.#buffer = this.#buffer.slice(batch.length)
    }
    if (this.#oldest !== undefined) await this.#files.sweep(this.#oldest)
    this.#oldest = undefined
  }
}

const MAX_RECORDS = 10_000
/** About 3,000 records. */
const MAX_REOPENED_BYTES = 1024 * 1024

interface Part {
  readonly day: string
  readonly number: number
  readonly file: Datastore
  records: number
}

/**
 * The request records of a folder: `2026-11-22.db`, then `2026-11-22.2.db` and so on, each a small datastore of its own.
 *
 * NeDB holds a file that it has open in memory, and loading 100,000 records takes it 3 seconds, of which one in one
 * piece. So a file takes 10,000 records at the most, and after a restart the last one is opened again only while it
 * loads in a tenth of a second; otherwise the next number begins. Old files are unlinked as a whole: NeDB cannot delete
 * from a collection of more than 125,000, and forgets its time-to-live indexes.
 */
class RequestFiles {
  #current: Part | undefined

  constructor(private readonly folder: string) {}

  /** A second call after a rejection writes no record twice within a file. */
  async append(day: string, records: readonly Row[]): Promise<void> {
    for (let at = 0; at < records.length;) {
      const part = await this.#partFor(day)
      const fitting = records.slice(at, at + MAX_RECORDS - part.records)
      // A failed append may have left half a line. Then no part is current, and opening the file again repairs it.
      this.#current = undefined
      await part.file.put(fitting)
      part.records += fitting.length
      this.#current = part
      at += fitting.length
    }
  }

  async #partFor(day: string): Promise<Part> {
    const current = this.#current
    if (current?.day !== day) return openPart(this.folder, day, await lastNumber(this.folder, day))
    return current.records < MAX_RECORDS ? current : openPart(this.folder, day, current.number + 1)
  }

  /** Unlinks the files of the days before `day`. */
  async sweep(day: string): Promise<void> {
    for (const name of await list(this.folder)) {
      // The names of backups and of NeDB's temporary files begin with the day, too.
      const old = /^\d{4}-\d\d-\d\d(?=\.)/.exec(name)?.[0]
      if (old !== undefined && old < day) await unlink(join(this.folder, name))
    }
  }
}

/** Opens a day's file by its number, or by the next one that can be used. */
async function openPart(folder: string, day: string, number: number): Promise<Part> {
  for (; ; number += 1) {
    const path = join(folder, number === 1 ? `${day}.db` : `${day}.${number}.db`)
    const stats = await stat(path).catch(() => undefined)
    if (stats && stats.size > MAX_REOPENED_BYTES) continue
    try {
      const file = await openDatastore(path)
      const records = await file.count()
      if (records < MAX_RECORDS) return { day, number, file, records }
    } catch (error) {
      const foreign = error instanceof DatabaseError && error.code === 'database_foreign'
      if (!foreign) throw error
    }
  }
}

async function lastNumber(folder: string, day: string): Promise<number> {
  const numbers = (await list(folder)).map((name) => {
    const match = /^(\d{4}-\d\d-\d\d)(?:\.(\d+))?\.db$/.exec(name)
    return match?.[1] === day ? Number(match[2] ?? 1) : 1
  })
  return Math.max(1, ...numbers)
}

async function list(folder: string): Promise<string[]> {
  return readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    throw error
  })
}
