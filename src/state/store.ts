import { readFile, realpath, rm, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { performance } from 'node:perf_hooks'
import { type Datastore, openDatastore, type Row, unusable, WriteBehind } from './datastore.js'
import { makePrivateFolder } from './folder.js'
import { acquireLock, type Lock, LockHeldError } from './lock.js'

/** A stored value; `_id` is `KIND:KEY`. */
export interface Document {
  readonly _id: string
  readonly [field: string]: unknown
}

export interface StateStoreOptions {
  /** Called if a file was opened without its unreadable lines, with the path of a copy. */
  onTorn?: (backup: string) => void
}

/**
 * @param path `false`: in memory only
 * @throws {StoreLockedError} `database_locked`, within about a second if a living process has it open
 * @throws {DatabaseError} `database_foreign`, `database_unusable`
 */
export async function openStateStore(
  path: string | false,
  { onTorn }: StateStoreOptions = {},
): Promise<StateStore> {
  if (path === false) return new StateStore([])
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
    return new StateStore(rows.flatMap(decode), new StoreFile(datastore, rows.length, lock, () => lost))
  } catch (error) {
    await lock.release()
    throw error
  }
}

/** Small documents by kind and key, in memory. Changes reach the disk within a second, so a kill loses no more. */
export class StateStore {
  readonly #documents: Map<string, Document>
  /** Changes not yet handed to the file. */
  readonly #pending = new Map<string, Document | undefined>()
  /** Every id that may be in the file. */
  readonly #written: Set<string>
  readonly #writer = new WriteBehind(() => this.#write())

  constructor(
    documents: readonly Document[],
    private readonly file?: StoreFile,
  ) {
    this.#documents = new Map(documents.map((document) => [document._id, document]))
    this.#written = new Set(this.#documents.keys())
  }

  /** All documents of a kind, in no order. */
  all(kind: string): Document[] {
    return [...this.#documents.values()].filter(({ _id }) => _id.startsWith(`${kind}:`))
  }

  /**
   * Replaces a document. `value` is plain JSON; do not change it afterwards. Of several puts under one key within a
   * second, the last is written.
   * @param kind without `:`
   */
  put(kind: string, key: string, value: object): void {
    const _id = `${kind}:${key}`
    const document = { ...value, _id }
    this.#documents.set(_id, document)
    if (!this.file) return
    this.#pending.set(_id, document)
    this.#writer.schedule()
  }

  remove(kind: string, key: string): void {
    const id = `${kind}:${key}`
    if (!this.#documents.delete(id) || !this.file) return
    // While the disk is full nothing leaves `#pending`, and removals of documents never written would pile up.
    if (!this.#written.has(id)) return void this.#pending.delete(id)
    this.#pending.set(id, undefined)
    this.#writer.schedule()
  }

  /** Resolves when everything so far is on disk, or has failed to get there: see `failing`. */
  flush(): Promise<void> {
    return this.#writer.flush()
  }

  /** Flushes and releases the file. Later changes stay in memory. */
  async close(): Promise<void> {
    await this.#writer.close()
    await this.file?.close()
  }

  /** Why changes do not reach the disk; they are kept and tried again. */
  get failing(): string | undefined {
    return this.file?.lost ?? this.#writer.failing
  }

  async #write(): Promise<void> {
    if (!this.file || this.#pending.size === 0) return
    const batch = new Map(this.#pending)
    this.#pending.clear()
    for (const id of batch.keys()) this.#written.add(id)
    try {
      await this.file.write(batch)
    } catch (error) {
      for (const [id, document] of batch) if (!this.#pending.has(id)) this.#pending.set(id, document)
      throw error
    }
    for (const [id, document] of batch) if (!document) this.#written.delete(id)
  }
}

/** Lines that may be appended before the file is written anew: 50,000 load in 0.7 s, 15,000 are rewritten in 0.15 s. */
const MAX_APPENDED = 50_000

/** The file behind a state store, locked. */
class StoreFile {
  #damaged: boolean
  #appended = 0

  constructor(
    private readonly datastore: Datastore,
    private documents: number,
    private readonly lock: Lock,
    private readonly whyLost: () => string | undefined,
  ) {
    this.#damaged = !datastore.whole
  }

  /** Why it will never be written again. */
  get lost(): string | undefined {
    return this.whyLost()
  }

  /** Writes documents by id; `undefined` removes one. After a rejection call it again with the same and newer changes. */
  async write(changes: ReadonlyMap<string, Document | undefined>): Promise<void> {
    // Two processes that append to one file lose half of each other's changes, without an error.
    if (this.lost !== undefined) throw new Error(this.lost)
    // An append that failed may have left half a line, with which the next one would be lost too, and NeDB's memory is
    // ahead of its file. Writing the file anew from memory repairs both.
    if (this.#damaged) await this.#compact()
    this.#damaged = true
    await this.datastore.remove([...changes].flatMap(([id, document]) => (document ? [] : [id])))
    await this.datastore.put(
      [...changes.values()].flatMap((document) => (document ? [encode(document)] : [])),
    )
    this.#appended += changes.size
    if (this.#appended > MAX_APPENDED + 2 * this.documents) await this.#compact()
    this.#damaged = false
  }

  async #compact(): Promise<void> {
    await this.datastore.compact()
    this.documents = await this.datastore.count()
    this.#appended = 0
  }

  close(): Promise<void> {
    return this.lock.release()
  }
}

/**
 * The file itself if the path is a link. NeDB renames over the name that it is given, which would replace the link, and
 * two processes that come by different links must meet at one lock.
 */
async function locate(path: string): Promise<string> {
  const file = resolve(path)
  try {
    await makePrivateFolder(dirname(file))
    return await realpath(file).catch(async () => join(await realpath(dirname(file)), basename(file)))
  } catch (error) {
    throw unusable(file, error as Error)
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
