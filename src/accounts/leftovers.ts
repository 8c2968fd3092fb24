import { readdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { readCredential } from './credential-file.js'

/** A write that is still running is younger; ms. */
const OLD_MS = 60_000
/** What write-file-atomic and the disk probe call their temporary files. */
const TEMPORARY = /^.+\.json\.\d+(\.probe)?$/
const RECOVERY = /^(.+\.json)\.recovery$/

/** Tidies up after a kill: temporary files go, and a recovery copy takes the place of a file that was being rewritten. */
export async function sweepLeftovers(poolDir: string): Promise<void> {
  const names = await readdir(poolDir).catch(() => [])
  for (const name of names) {
    const path = join(poolDir, name)
    if (TEMPORARY.test(name) && (await ageOf(path)) > OLD_MS) await rm(path, { force: true }).catch(() => {})
    const recovered = RECOVERY.exec(name)?.[1]
    if (recovered !== undefined) await recover(path, join(poolDir, recovered)).catch(() => {})
  }
}

async function ageOf(path: string): Promise<number> {
  const found = await stat(path).catch(() => undefined)
  return found ? Date.now() - found.mtimeMs : 0
}

async function recover(copy: string, file: string): Promise<void> {
  if ('credential' in (await readCredential(file))) return rm(copy, { force: true })
  if ('credential' in (await readCredential(copy))) await rename(copy, file)
}
