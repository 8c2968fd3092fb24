import { randomBytes } from 'node:crypto'
import { chmod, mkdir, open, readFile, realpath, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { SetupError } from './setup-error.js'

/** A file of the person's own, such as `~/.codex/config.toml`. */
export interface PersonalFile {
  readonly text: string
  /** Permission bits. */
  readonly mode: number
}

/**
 * `undefined` if there is none.
 * @throws {SetupError} for a file that cannot be given back byte for byte
 */
export async function readPersonal(file: string): Promise<PersonalFile | undefined> {
  try {
    const bytes = await readFile(file)
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    return { text, mode: (await stat(file)).mode & 0o777 }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    if (error instanceof TypeError)
      throw new SetupError(`${file} is not UTF-8 text, so nothing was changed`, { cause: error })
    throw error
  }
}

/** All of it or none, also when the machine stops halfway; a link stays a link. */
export async function writePersonal(file: string, { text, mode }: PersonalFile): Promise<void> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 })
  const target = await realpath(file).catch(() => file)
  const fresh = `${target}.${randomBytes(4).toString('hex')}.tmp`
  try {
    await writeDurably(fresh, 'wx', { text, mode })
    await rename(fresh, target)
  } catch (error) {
    await rm(fresh, { force: true })
    // A file that is mounted into a container cannot be renamed over.
    if ((error as NodeJS.ErrnoException).code !== 'EBUSY') throw error
    await writeDurably(target, 'w', { text, mode })
  }
}

async function writeDurably(file: string, flags: string, { text, mode }: PersonalFile): Promise<void> {
  const handle = await open(file, flags, mode)
  try {
    await handle.writeFile(text)
    await handle.sync()
  } finally {
    await handle.close()
  }
  // What `open` takes is cut by the umask.
  await chmod(file, mode)
}

export const removePersonal = (file: string): Promise<void> => rm(file, { force: true })
