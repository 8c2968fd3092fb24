import { randomBytes } from 'node:crypto'
import { access, chown, constants, type FileHandle, open, realpath, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'

export { makeFolder, makePrivateFolder } from '../state/folder.js'

/** How the name of a file ends until it is whole. */
export const TEMPORARY = /\.\d+-[0-9a-f]{8}\.tmp$/
/** How the name of the copy ends that holds the new content while the file itself is overwritten. */
export const RECOVERY = '.recovery'

/**
 * Writes a file so that a crash at any moment leaves the old content or the new one: temporary file (0600), fsync,
 * rename, fsync of the folder. A link is followed, and the owner stays. Where no rename can be, it is overwritten.
 * @throws if the disk refuses; the file is then as it was, or its recovery copy holds the new content
 */
export async function writeDurably(file: string, text: string): Promise<void> {
  const target = await realpath(file).catch(() => file)
  try {
    await replace(target, text)
  } catch (error) {
    if (!(await onlyInPlace(target, error as NodeJS.ErrnoException))) throw error
    await writeInPlace(target, text)
  }
}

/** Whether the disk takes `bytes` more for a new `file`. Returns the system's code if it does not. */
export async function canWrite(file: string, bytes: number): Promise<string | undefined> {
  const target = await realpath(file).catch(() => file)
  const probe = temporaryName(target)
  try {
    await writeWhole(probe, Buffer.alloc(bytes))
    return undefined
  } catch (error) {
    if (await onlyInPlace(target, error as NodeJS.ErrnoException)) return undefined
    return codeOf(error)
  } finally {
    await rm(probe, { force: true }).catch(() => {})
  }
}

/** Why the system refused, in one word. */
export function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? 'write failed'
}

const temporaryName = (file: string): string => `${file}.${process.pid}-${randomBytes(4).toString('hex')}.tmp`

async function replace(file: string, text: string): Promise<void> {
  const temporary = temporaryName(file)
  const old = await stat(file).catch(() => undefined)
  try {
    await writeWhole(temporary, Buffer.from(text))
    // A gateway that runs as root must not take a person's login away from them.
    if (old && process.getuid?.() === 0) await chown(temporary, old.uid, old.gid)
    await rename(temporary, file)
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {})
    throw error
  }
  await syncFolder(dirname(file))
}

/**
 * Writes all bytes or throws. On a disk that fills up, one call of `write` takes a part and reports no error;
 * write-file-atomic does not look at how much was taken, and replaces a whole login with half of one.
 */
async function writeWhole(file: string, bytes: Buffer): Promise<void> {
  const handle = await open(file, 'wx', 0o600)
  try {
    await handle.writeFile(bytes)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** A bind-mounted file cannot be renamed over, and a writable file can lie in a folder that takes no new file. */
async function onlyInPlace(file: string, { code = '' }: NodeJS.ErrnoException): Promise<boolean> {
  if (code === 'EBUSY') return true
  if (!FOLDER_REFUSES.has(code)) return false
  return access(file, constants.W_OK).then(
    () => true,
    () => false,
  )
}

/** The folder takes no new file, and waiting does not change that. */
export const FOLDER_REFUSES = new Set(['EROFS', 'EACCES', 'EPERM'])

/**
 * Lengthens the file with blanks while the old content is still there, so that the disk cannot fill up later; blanks
 * behind a JSON text do no harm. Then writes the recovery copy, and only then the new content.
 */
async function writeInPlace(file: string, text: string): Promise<void> {
  const bytes = Buffer.from(text)
  const handle = await open(file, 'r+')
  try {
    const { size } = await handle.stat()
    const copy = await prepare(handle, size, file, text).catch(async (error: unknown) => {
      await handle.truncate(size)
      throw error
    })
    await writeAt(handle, Buffer.concat([bytes, blanks(size - bytes.length)]), 0)
    await handle.sync()
    await handle.truncate(bytes.length)
    await handle.sync()
    if (copy !== undefined) await rm(copy, { force: true })
  } finally {
    await handle.close()
  }
}

/** @returns where the recovery copy is, if the folder takes one */
async function prepare(
  handle: FileHandle,
  size: number,
  file: string,
  text: string,
): Promise<string | undefined> {
  await writeAt(handle, blanks(Buffer.byteLength(text) - size), size)
  await handle.sync()
  const copy = `${file}${RECOVERY}`
  try {
    await replace(copy, text)
    return copy
  } catch (error) {
    if (!FOLDER_REFUSES.has(codeOf(error))) throw error
    return undefined
  }
}

const blanks = (length: number): Buffer => Buffer.alloc(Math.max(length, 0), ' ')

async function writeAt(handle: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, position + done)
    done += bytesWritten
  }
}

/**
 * Without this a power loss can bring back the old file, and with it a refresh token that is already spent. Where the
 * system cannot sync a folder, the file itself is safe and an error would gain nothing.
 */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY).catch(() => undefined)
  await handle?.sync().catch(() => {})
  await handle?.close()
}
