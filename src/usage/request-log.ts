import { randomUUID } from 'node:crypto'
import type { Row } from '../state/datastore.js'
import { writeBehind } from '../state/write-behind.js'
import type { RequestRecord } from './record.js'
import { requestFiles } from './request-files.js'

/** The way of request records to the disk: a second at the most, or a hundred of them. */
export interface RequestLog {
  /** Takes a record for a day's file; `false` if the disk refuses and the memory for it is full. */
  add(day: string, record: RequestRecord): boolean
  /** Has the files of the days before `day` unlinked. */
  forget(day: string): void
  flush(): Promise<void>
  close(): Promise<void>
  readonly failing: string | undefined
}

/** A batch of so many is written at once, without waiting for its second to end. */
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
      // Not the record's own id: should it ever come twice, the first record would be overwritten.
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
