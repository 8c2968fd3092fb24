import { createHash } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import type { Credential } from '../../config/provider.js'
import { writeDurably } from './durable-file.js'

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

/** Writes a credential durably, see {@link writeDurably}. Returns the digest of what was written. */
export async function writeCredential(file: string, credential: Credential): Promise<string> {
  const text = `${JSON.stringify(credential, null, 2)}\n`
  await writeDurably(file, text)
  return digestOf(text)
}
