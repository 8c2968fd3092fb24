import { chmod, copyFile, link, open, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import Nedb from 'nedb-promises'
import { makePrivateFolder } from './folder.js'

/** One line of a datastore file. `_id` comes first: a file is recognised by how its first line begins. */
export interface Row {
  readonly _id: string
  readonly [field: string]: unknown
}

/**
 * Opens a datastore file. Creates it and its folder if they are missing (modes 0600 and 0700).
 * @param onTorn called with the path of a copy if the file had unreadable lines, which are no longer in the file itself
 * @throws {DatabaseError}
 */
export async function openDatastore(file: string, onTorn?: (backup: string) => void): Promise<Datastore> {
  try {
    await makePrivateFolder(dirname(file))
    await refuseForeign(file)
    return await load(file, onTorn)
  } catch (error) {
    throw error instanceof DatabaseError ? error : unusable(file, error as Error)
  }
}

/**
 * Refuses a file of another program. NeDB accepts any file, drops the lines that it cannot read and writes the rest back
 * at once: an old BoltDB would be an empty file after the first start.
 */
async function refuseForeign(file: string): Promise<void> {
  const stats = await stat(file).catch(ignoreMissing)
  if (!stats) return
  if (!stats.isFile()) throw foreign(file, 'is not a file') // opening a named pipe would wait for its writer
  const head = await readHead(file)
  const text = head.toString('latin1')
  const ours = ['{"_id":"', '{"$$'].some((start) => text.startsWith(start) || start.startsWith(text))
  // Zeros are what a power loss can leave: the unreadable lines are kept in a copy, like torn ones.
  if (ours || head.every((byte) => byte === 0)) return
  // Magic number of a BoltDB meta page, which follows the 16 bytes of its page header (bbolt, internal/common).
  const bolt = head.length >= 20 && head.readUInt32LE(16) === 0xed0cdaed
  throw foreign(file, bolt ? 'is a BoltDB' : 'is not a codex-pool database')
}

function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error
}

async function readHead(file: string): Promise<Buffer> {
  const handle = await open(file)
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(64), 0, 64, 0)
    return buffer.subarray(0, bytesRead)
  } finally {
    await handle.close()
  }
}

/**
 * With a threshold of 0 NeDB refuses a file with an unreadable line before it has written anything. Its default of 10 %
 * would drop up to a tenth without a word, and refuse a small file for a single torn line.
 */
async function load(file: string, onTorn?: (backup: string) => void): Promise<Datastore> {
  const strict = create(file, 0)
  try {
    return new Datastore(strict, await read(strict))
  } catch (error) {
    if (!(error as { corruptItems?: number }).corruptItems) throw error
  }
  // Always the same name: a disk that tears files again and again is not filled with copies.
  const backup = `${file}.torn`
  await copyFile(file, backup).catch((error: unknown) => keepOnFull(error, file, backup))
  await chmod(backup, 0o600)
  const lenient = create(file, 1)
  const whole = await read(lenient)
  onTorn?.(backup)
  return new Datastore(lenient, whole)
}

/**
 * Reads the file. NeDB writes it anew at once, and does nothing more if that fails. On a full disk what it has read is
 * whole all the same, and the gateway must start.
 * @returns whether the file has been written anew
 */
async function read(nedb: Nedb<Row>): Promise<boolean> {
  // NeDB reads and writes anew in one call, and its types do not name the part that writes.
  const { persistence } = nedb as unknown as { persistence: { persistCachedDatabaseAsync?(): Promise<void> } }
  const writeAnew = persistence.persistCachedDatabaseAsync!.bind(persistence)
  let written = true
  persistence.persistCachedDatabaseAsync = () =>
    writeAnew().catch((error: unknown) => {
      if (!isFull(error)) throw error
      written = false
    })
  try {
    await nedb.load()
  } finally {
    // From here on the method of its class counts again, which tells every error.
    delete persistence.persistCachedDatabaseAsync
  }
  return written
}

/** A hard link needs no room, and keeps the content: before the next append the file is replaced by a new one. */
async function keepOnFull(error: unknown, file: string, backup: string): Promise<void> {
  if (!isFull(error)) throw error
  await rm(backup, { force: true })
  await link(file, backup)
}

const isFull = (error: unknown): boolean =>
  ['ENOSPC', 'EDQUOT'].includes((error as NodeJS.ErrnoException).code ?? '')

function create(filename: string, corruptAlertThreshold: number): Nedb<Row> {
  // The published types lack `modes`; without it files are 0644.
  const options = { filename, corruptAlertThreshold, modes: { fileMode: 0o600, dirMode: 0o700 } }
  return Nedb.create(options) as Nedb<Row>
}

/** Rows between two turns of the event loop; NeDB spends about 20 µs on each. */
const CHUNK = 500

/** An open datastore file, all of which is in memory. Every method rejects if the disk refuses. */
export class Datastore {
  /** @param whole `false` after a start on a full disk: the file may hold unreadable lines, and must be written anew */
  constructor(
    private readonly nedb: Nedb<Row>,
    readonly whole: boolean,
  ) {}

  async all(): Promise<Row[]> {
    return await this.nedb.find<Row>({})
  }

  async count(): Promise<number> {
    return await this.nedb.count({})
  }

  /** Adds new rows in one append, and replaces others in one append each. A second call does no harm. */
  async put(rows: readonly Row[]): Promise<void> {
    for (const chunk of chunks(rows)) await this.#putChunk(chunk)
  }

  /**
   * Measured with 15,000 documents on Node 20, CPU per document: insertMany 20 µs, update 250 µs (each opens, appends and
   * closes). 300 updates take 80 ms, of which the loop is never held for more than 6. removeMany and insertMany take
   * 50 µs, but a kill between their two appends would lose the documents.
   */
  async #putChunk(rows: readonly Row[]): Promise<void> {
    // Asks NeDB which rows it has: a failed append leaves its documents in NeDB's memory.
    const found = await this.nedb.find<Row>({ _id: { $in: rows.map((row) => row._id) } }, { _id: 1 })
    const there = new Set(found.map((row) => row._id))
    const fresh = rows.filter((row) => !there.has(row._id))
    if (fresh.length > 0) await this.nedb.insertMany(fresh)
    for (const row of rows) if (there.has(row._id)) await this.nedb.update({ _id: row._id }, row)
  }

  async remove(ids: readonly string[]): Promise<void> {
    for (const chunk of chunks(ids)) await this.nedb.removeMany({ _id: { $in: chunk } }, {})
  }

  /** Writes the file anew, one line per document, by a temporary file that is synced and renamed. */
  compact(): Promise<void> {
    // The types name `persistence.compactDatafile` alone, which is deprecated, says so on stderr, and hides its errors.
    return (this.nedb as unknown as { compactDatafileAsync(): Promise<void> }).compactDatafileAsync()
  }
}

function* chunks<T>(items: readonly T[]): Generator<T[]> {
  for (let at = 0; at < items.length; at += CHUNK) yield items.slice(at, at + CHUNK)
}

const DELAY_MS = 1000
/** Pause after a failed write: a full disk stays full for a while; ms. */
const RETRY_MS = 5000

/**
 * Calls `write` off the request path, one call at a time. `write` writes what is pending; if it rejects it must have kept
 * that, and is called again.
 */
export class WriteBehind {
  #timer: NodeJS.Timeout | undefined
  #last = Promise.resolve()
  #closed = false
  /** Why the last write failed; `undefined` once one has succeeded. */
  failing: string | undefined

  constructor(private readonly write: () => Promise<void>) {}

  /** Writes what is pending within a second. */
  schedule(): void {
    if (this.#closed || this.#timer) return
    const delay = this.failing === undefined ? DELAY_MS : RETRY_MS
    this.#timer = setTimeout(() => void this.flush(), delay).unref()
  }

  /** Writes what is pending now. Never rejects: see `failing`. */
  flush(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (!this.#closed) this.#last = this.#last.then(() => this.#attempt())
    return this.#last
  }

  /** Flushes a last time. */
  async close(): Promise<void> {
    const done = this.flush()
    this.#closed = true
    await done
    clearTimeout(this.#timer)
  }

  async #attempt(): Promise<void> {
    try {
      await this.write()
      this.failing = undefined
    } catch (error) {
      this.failing = error instanceof Error ? error.message : String(error)
      this.schedule()
    }
  }
}

export class DatabaseError extends Error {
  constructor(
    /**
     * - `database_foreign`: the file is another program's, and was left untouched.
     * - `database_unusable`: the system refused; `cause` says how.
     */
    readonly code: 'database_foreign' | 'database_unusable',
    readonly file: string,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options)
    this.name = 'DatabaseError'
  }
}

const OTHER_PATH = 'Name another path by "database" or PROXY_DB_PATH'

function foreign(file: string, what: string): DatabaseError {
  return new DatabaseError('database_foreign', file, `${file} ${what}; it was left untouched. ${OTHER_PATH}`)
}

export function unusable(file: string, cause: Error): DatabaseError {
  const message = `${file} cannot be opened: ${cause.message}. ${OTHER_PATH}, or keep state in memory with database: false`
  return new DatabaseError('database_unusable', file, message, { cause })
}
