import { existsSync } from 'node:fs'
import { mkdir, stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'

/**
 * Makes a folder, and those above it, with the mode 0700. `mkdir` with `recursive` tries without end where the file
 * system takes no folders, as under /proc.
 */
export async function makeFolder(path: string): Promise<void> {
  const folder = resolve(path)
  try {
    await mkdir(folder, { mode: 0o700 })
  } catch (error) {
    const isThere = await stat(folder).then(
      (info) => info.isDirectory(),
      () => false,
    )
    if (isThere) return
    const parent = dirname(folder)
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || existsSync(parent)) throw error
    await makeFolder(parent)
    await makeFolder(folder)
  }
}
