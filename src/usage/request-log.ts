import { randomUUID } from 'node:crypto'
import { readdir, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { Usage } from '../../config/provider.js'
import {
  DatabaseError,
  type DatastoreFile,
  openDatastore,
  type Row,
  writeBehind,
} from '../state/datastore.js'

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
  /** What the client got; 0 for nothing. */
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
  return { ...record, model: model?.slice(0, MAX_MODEL), usage: usage && tokens(usage) }
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

/** Writes request records, a second after they come or a hundred at once. */
export interface RequestLog {
  /** Keeps a record for a day's file. @returns `false` if the disk refuses and the memory for it is full */
  add(day: string, record: RequestRecord): boolean
  /** Unlinks the files of the days before `day`. */
  forget(day: string): void
  flush(): Promise<void>
  close(): Promise<void>
  readonly failing: string | undefined
}

/** So many records are written at once, before their second is over. */
const BATCH = 100
/** Records kept in memory for a disk that refuses them; about 4 MB. */
const MAX_BUFFERED = 10_000

export function openRequestLog(folder: string): RequestLog {
  const files = requestFiles(folder)
  let buffer: { day: string; row: Row }[] = []
  let oldest: string | undefined

  const writer = writeBehind(async function writeRecords() {
    while (buffer.length > 0) {
      const day = buffer[0]!.day
      const end = buffer.findIndex((entry) => entry.day !== day)
      const batch = buffer.slice(0, end < 0 ? BATCH : Math.min(end, BATCH)).map((entry) => entry.row)
      await files.append(day, batch)
      buffer = buffer.slice(batch.length)
    }
    if (oldest !== undefined) await files.sweep(oldest)
    oldest = undefined
  })

  return {
    add(day, record) {
      if (buffer.length >= MAX_BUFFERED) return false
      // Not the record's own id: if that came twice, the first record would be overwritten.
      buffer.push({ day, row: { _id: randomUUID(), ...record } })
      if (buffer.length === BATCH) void writer.flush()
      else writer.schedule()
      return true
    },
    forget(day) {
      oldest = day
      writer.schedule()
    },
    flush: writer.flush,
    close: writer.close,
    get failing() {
      return writer.failing
    },
  }
}

/**
 * The request records of a folder: `2026-11-22.db`, then `2026-11-22.2.db` and so on, each a small datastore of its own.
 *
 * NeDB holds a file that it has open in memory, and loading 100,000 records takes it 3 seconds, of which one in one
 * piece. So a file takes 10,000 records at the most, and after a restart the last one is opened again only while it
 * loads in a tenth of a second; otherwise the next number begins. Old files are unlinked as a whole: NeDB cannot delete
 * from a collection of more than 125,000, and forgets its time-to-live indexes.
 */
export interface RequestFiles {
  /** Doing it again after a rejection writes no record twice within a file. */
  append(day: string, records: readonly Row[]): Promise<void>
  /** Unlinks the files of the days before `day`. */
  sweep(day: string): Promise<void>
}

const MAX_RECORDS = 10_000
/** About 3,000 records. */
const MAX_REOPENED_BYTES = 1024 * 1024

interface Part {
  readonly day: string
  readonly number: number
  readonly file: DatastoreFile
  records: number
}

export function requestFiles(folder: string): RequestFiles {
  let current: Part | undefined

  async function partFor(day: string): Promise<Part> {
    if (current?.day !== day) return openPart(folder, day, await lastNumber(folder, day))
    return current.records < MAX_RECORDS ? current : openPart(folder, day, current.number + 1)
  }

  return {
    async append(day, records) {
      for (let at = 0; at < records.length;) {
        const part = await partFor(day)
        const fitting = records.slice(at, at + MAX_RECORDS - part.records)
        // A failed append may have left half a line. Then `current` stays unset, and opening the file again repairs it.
        current = undefined
        await part.file.put(fitting)
        part.records += fitting.length
        current = part
        at += fitting.length
      }
    },
    async sweep(day) {
      for (const name of await list(folder)) {
        // The names of backups and of NeDB's temporary files begin with the day, too.
        const old = /^\d{4}-\d\d-\d\d(?=\.)/.exec(name)?.[0]
        if (old !== undefined && old < day) await unlink(join(folder, name))
      }
    },
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
