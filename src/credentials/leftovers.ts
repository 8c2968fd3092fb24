import { readdir, readFile, realpath, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { readCredential } from './credential-file.js'
import { RECOVERY, TEMPORARY, writeDurably } from './durable-file.js'

/** A temporary file that is younger may belong to a write that still runs; ms. */
export const OLD_MS = 60_000

/**
 * Cleans up after a kill: removes temporary files, and restores a file that was being overwritten from its recovery
 * copy. `others` are credential files outside the pool folder; beside them only files of their names are touched.
 */
export async function sweepLeftovers(poolDir: string, others: readonly string[]): Promise<void> {
  const inPool = await namesIn(poolDir)
  await sweep(poolDir, inPool, (name) => name.endsWith('.json'))
  const files = new Set<string>(others)
  for (const name of inPool.filter((each) => each.endsWith('.json'))) {
    const target = await realpath(join(poolDir, name)).catch(() => undefined)
    if (target !== undefined && dirname(target) !== poolDir) files.add(target)
  }
  for (const file of files)
    await sweep(dirname(file), await namesIn(dirname(file)), (name) => name === basename(file))
}

const namesIn = (folder: string): Promise<string[]> => readdir(folder).catch(() => [])

async function sweep(
  folder: string,
  names: readonly string[],
  isOurs: (name: string) => boolean,
): Promise<void> {
  for (const name of names) {
    const path = join(folder, name)
    const written = name.replace(TEMPORARY, '')
    if (written !== name && isOurs(written.replace(RECOVERY, ''))) await removeOld(path)
    else if (name.endsWith(RECOVERY) && isOurs(name.replace(RECOVERY, '')))
      await recover(path, path.replace(RECOVERY, '')).catch(() => {})
  }
}

async function removeOld(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined)
  if (found && Date.now() - found.mtimeMs > OLD_MS) await rm(path, { force: true }).catch(() => {})
}

/** The copy is newer than the file, unless another program has written the file since. */
async function recover(copy: string, file: string): Promise<void> {
  const [copied, written] = [await stat(copy), await stat(file).catch(() => undefined)]
  const whole = 'credential' in (await readCredential(file))
  const newer = written && written.mtimeMs >= copied.mtimeMs
  if (!(whole && newer) && 'credential' in (await readCredential(copy)))
    await writeDurably(file, await readFile(copy, 'utf8'))
  await rm(copy, { force: true })
}
