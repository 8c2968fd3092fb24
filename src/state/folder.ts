import { existsSync } from 'node:fs'
import { mkdir, stat, writeFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'

/**
 * Makes a folder, and those above it, with the mode 0700. `mkdir` with `recursive` tries without end where the file
 * system takes no folders, as under /proc.
 * @returns whether it was not there before
 */
export async function makeFolder(path: string): Promise<boolean> {
  const folder = resolve(path)
  try {
    await mkdir(folder, { mode: 0o700 })
    return true
  } catch (error) {
    const isThere = await stat(folder).then(
      (info) => info.isDirectory(),
      () => false,
    )
    if (isThere) return false
    const parent = dirname(folder)
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || existsSync(parent)) throw error
    await makeFolder(parent)
    return makeFolder(folder)
  }
}

/**
 * Makes a folder for logins or state. A new one holds a `.gitignore` for all of it: in a git repository, `git add -A`
 * would take the logins.
 */
export async function makePrivateFolder(path: string): Promise<void> {
  // Not told here: on the same disk the write of a login fails too, and tells the error.
  if (await makeFolder(path)) await writeFile(join(path, '.gitignore'), '*\n', { flag: 'wx' }).catch(() => {})
}
