import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { open, readFile, realpath, rm, stat, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import writeFileAtomic from 'write-file-atomic'
import type { Credential } from '../../config/provider.js'

/** No login file is larger; anything that is, is not one. */
const LARGEST_FILE = 1024 * 1024

export type CredentialRead =
  | { readonly credential: Credential; readonly digest: string; readonly openToOthers: boolean }
  | { readonly problem: string }

/** Reads a credential file. A problem is told in words, never with the file's content. */
export async function readCredential(file: string): Promise<CredentialRead> {
  let text: string
  let mode: number
  try {
    const info = await stat(file)
    if (!info.isFile()) return { problem: 'is not a regular file' }
    if (info.size > LARGEST_FILE)
      return { problem: `is larger than any credential file (${info.size} bytes)` }
    mode = info.mode
    text = await readFile(file, 'utf8')
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    return { problem: code === 'EACCES' ? 'cannot be read: permission denied' : `cannot be read: ${code}` }
  }
  if (text.trim() === '') return { problem: 'is empty' }
  const credential = parse(text)
  if (credential === undefined) return { problem: 'is not valid JSON (half-written?)' }
  if (typeof credential !== 'object' || credential === null || Array.isArray(credential))
    return { problem: 'holds no JSON object' }
  return { credential: credential as Credential, digest: digestOf(text), openToOthers: (mode & 0o077) !== 0 }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // The parser's own message quotes the text, and so a token.
    return undefined
  }
}

const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex')

/**
 * Writes a credential so that it survives a crash at any moment: temporary file (0600), fsync, rename, fsync of the
 * folder. A link is followed. Returns the digest of what was written.
 */
export async function writeCredential(file: string, credential: Credential): Promise<string> {
  const text = `${JSON.stringify(credential, null, 2)}\n`
  const target = await realpath(file).catch(() => file)
  try {
    await writeFileAtomic(target, text, { mode: 0o600 })
    await syncFolder(dirname(target))
  } catch (error) {
    // A bind-mounted file cannot be renamed over.
    if ((error as NodeJS.ErrnoException).code !== 'EBUSY') throw error
    await writeInPlace(target, text)
  }
  return digestOf(text)
}

/** Whether the folder of `file` takes `bytes` more. Returns the system's code if it does not. */
export async function canWrite(file: string, bytes: number): Promise<string | undefined> {
  const probe = `${await realpath(file).catch(() => file)}.${process.pid}.probe`
  try {
    await writeFile(probe, Buffer.alloc(bytes), { mode: 0o600, flush: true })
    return undefined
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'write failed'
  } finally {
    await rm(probe, { force: true }).catch(() => {})
  }
}

/** The recovery copy is complete on disk before the only other one is overwritten. */
async function writeInPlace(file: string, text: string): Promise<void> {
  await writeFileAtomic(`${file}.recovery`, text, { mode: 0o600 })
  const handle = await open(file, constants.O_WRONLY)
  try {
    await handle.truncate(0)
    await handle.writeFile(text)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Without it a power loss can bring back the old name, and with it a refresh token that is already spent. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY)
  try {
    await handle.sync()
  } catch (error) {
    // Windows cannot sync a folder.
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') throw error
  } finally {
    await handle.close()
  }
}
