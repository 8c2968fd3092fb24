import { mkdir, readFile, realpath, rm, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { performance } from 'node:perf_hooks'
import { type DatastoreFile, openDatastore, type Row, unusable } from './datastore.js'
import { acquireLock, type Lock, LockHeldError } from './lock.js'

/** A stored value; `_id` is `KIND:KEY`. */
export interface Document {
  readonly _id: string
  readonly [field: string]: unknown
}

/** The file behind a state store, locked. */
export interface StoreFile {
  /** What was in it when it was opened. */
  readonly documents: readonly Document[]
  /** Why it will never be written again. */
  readonly lost: string | undefined
  /** Writes documents by id; `undefined` removes one. After a rejection call it again with the same and newer changes. */
  write(changes: ReadonlyMap<string, Document | undefined>): Promise<void>
  close(): Promise<void>
}

/** @throws {StoreLockedError} within about a second if a living process has it open; {DatabaseError} */
export async function openStoreFile(path: string, onTorn?: (backup: string) => void): Promise<StoreFile> {
  const file = await locate(path)
  let lost: string | undefined
  const lock = await lockStore(file, () => {
    lost = `another process has locked ${file}; changes are kept in memory only`
  }).catch((error: NodeJS.ErrnoException) => {
    throw error.syscall ? unusable(file, error) : error
  })
  try {
    const datastore = await openDatastore(file, onTorn)
    const rows = await datastore.all()
    const write = writer(datastore, rows.length)
    return {
      documents: rows.flatMap(decode),
      get lost() {
        return lost
      },
      async write(changes) {
        // Two processes that append to one file lose half of each other's changes, without an error.
        if (lost !== undefined) throw new Error(lost)
        await write(changes)
      },
      close: () => lock.release(),
    }
  } catch (error) {
    await lock.release()
    throw error
  }
}

/**
 * The file itself if the path is a link. NeDB renames over the name that it is given, which would replace the link, and
 * two processes that come by different links must meet at one lock.
 */
async function locate(path: string): Promise<string> {
  const file = resolve(path)
  try {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 })
    return await realpath(file).catch(async () => join(await realpath(dirname(file)), basename(file)))
  } catch (error) {
    throw unusable(file, error as Error)
  }
}

/** Lines that may be appended before the file is written anew: 50,000 load in 0.7 s, 15,000 are rewritten in 0.15 s. */
const MAX_APPENDED = 50_000

function writer(datastore: DatastoreFile, size: number): StoreFile['write'] {
  let damaged = false
  let appended = 0
  let documents = size

  async function compact(): Promise<void> {
    await datastore.compact()
    documents = await datastore.count()
    appended = 0
  }

  return async function write(changes) {
    // An append that failed may have left half a line, with which the next one would be lost too, and NeDB's memory is
    // ahead of its file. Writing the file anew from memory repairs both.
    if (damaged) await compact()
    damaged = true
    await datastore.remove([...changes].flatMap(([id, document]) => (document ? [] : [id])))
    await datastore.put([...changes.values()].flatMap((document) => (document ? [encode(document)] : [])))
    appended += changes.size
    if (appended > MAX_APPENDED + 2 * documents) await compact()
    damaged = false
  }
}

/** As text, because NeDB refuses names with a dot: a cooldown of `gemini-2.5-pro` would fail the whole batch. */
function encode({ _id, ...value }: Document): Row {
  return { _id, value: JSON.stringify(value) }
}

function decode({ _id, value }: Row): Document[] {
  try {
    return [{ _id, ...(JSON.parse(value as string) as object) }]
  } catch {
    return [] // not written by us; it stays in the file
  }
}

/** The process that has a store open. */
export interface Holder {
  readonly pid: number
  readonly host: string
  /** ISO 8601 */
  readonly startedAt: string
}

export class StoreLockedError extends Error {
  readonly code = 'database_locked'
  constructor(
    readonly file: string,
    /** `undefined` if it left no note. */
    readonly holder: Holder | undefined,
  ) {
    const who = holder
      ? `process ${holder.pid} on ${holder.host}, running since ${holder.startedAt}`
      : 'another process'
    super(
      `${file} is in use by ${who}. Stop it, or name another path by "database" or PROXY_DB_PATH. ` +
        `If no such process runs, remove the folder ${file}.lock`,
    )
    this.name = 'StoreLockedError'
  }
}

/** Well above the longest time that a store keeps the loop busy (0.2 s for 75,000 lines); ms. */
const STALE_MS = 5_000

/** Locks a store. The lock of a killed process is broken: at once if its pid can be seen from here, else 5 s later. */
async function lockStore(file: string, onCompromised: () => void): Promise<Lock> {
  const note = `${file}.lock.json`
  const options = { staleMs: STALE_MS, waitMs: STALE_MS + 2_000, onlyForDead: true, onCompromised }
  const lock = await acquireLock(file, options).catch(async (error: unknown) => {
    throw error instanceof LockHeldError ? new StoreLockedError(file, await readHolder(note)) : error
  })
  const startedAt = new Date(performance.timeOrigin).toISOString()
  const holder: Holder = { pid: process.pid, host: hostname(), startedAt }
  // On a disk too full for the note the lock still holds; another process then cannot name this one.
  await writeFile(note, `${JSON.stringify(holder)}\n`, { mode: 0o600 }).catch(() => {})
  return {
    holds: () => lock.holds(),
    async release() {
      // Once the lock is lost, the note is another process's.
      if (await lock.holds()) await rm(note, { force: true }).catch(() => {})
      await lock.release()
    },
  }
}

async function readHolder(note: string): Promise<Holder | undefined> {
  try {
    return JSON.parse(await readFile(note, 'utf8')) as Holder
  } catch {
    return undefined
  }
}
