import { type Document, openStoreFile } from './store-file.js'
import { writeBehind } from './datastore.js'

/** Small documents by kind and key, in memory; changes reach the disk within a second, so a kill loses no more. */
export interface StateStore {
  /** All documents of a kind, in no order. */
  all(kind: string): Document[]
  /**
   * Replaces a document. `value` is plain JSON; do not change it afterwards. Of several puts under one key within a
   * second, the last is written.
   * @param kind without `:`
   */
  put(kind: string, key: string, value: object): void
  remove(kind: string, key: string): void
  /** Resolves when everything so far is on disk, or has failed to get there: see `failing`. */
  flush(): Promise<void>
  /** Flushes and releases the file. Later changes stay in memory. */
  close(): Promise<void>
  /** Why changes do not reach the disk; they are kept and tried again. */
  readonly failing: string | undefined
}

export interface StateStoreOptions {
  /** Called if a file was opened without its unreadable lines, with the path of a copy. */
  onTorn?: (backup: string) => void
}

/**
 * @param path `false`: in memory only
 * @throws {StoreLockedError} `database_locked`: another process has it open
 * @throws {DatabaseError} `database_foreign`, `database_unusable`
 */
export async function openStateStore(
  path: string | false,
  options: StateStoreOptions = {},
): Promise<StateStore> {
  const file = path === false ? undefined : await openStoreFile(path, options.onTorn)
  const documents = new Map(file?.documents.map((document) => [document._id, document]))
  /** Changes not yet handed to the file. */
  const pending = new Map<string, Document | undefined>()
  /** Every id that may be in the file. */
  const written = new Set(documents.keys())

  const writer = writeBehind(async function writePending() {
    if (!file || pending.size === 0) return
    const batch = new Map(pending)
    pending.clear()
    for (const id of batch.keys()) written.add(id)
    try {
      await file.write(batch)
    } catch (error) {
      for (const [id, document] of batch) if (!pending.has(id)) pending.set(id, document)
      throw error
    }
    for (const [id, document] of batch) if (!document) written.delete(id)
  })

  return {
    all: (kind) => [...documents.values()].filter((document) => document._id.startsWith(`${kind}:`)),
    put(kind, key, value) {
      const _id = `${kind}:${key}`
      const document = { ...value, _id }
      documents.set(_id, document)
      if (!file) return
      pending.set(_id, document)
      writer.schedule()
    },
    remove(kind, key) {
      const id = `${kind}:${key}`
      if (!documents.delete(id) || !file) return
      // While the disk is full nothing leaves `pending`, and removals of documents never written would pile up.
      if (!written.has(id)) return void pending.delete(id)
      pending.set(id, undefined)
      writer.schedule()
    },
    flush: writer.flush,
    async close() {
      await writer.close()
      await file?.close()
    },
    get failing() {
      return file?.lost ?? writer.failing
    },
  }
}
