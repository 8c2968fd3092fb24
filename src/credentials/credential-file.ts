import { createHash } from 'node:crypto'
import { readdir, readFile, realpath, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { parseJson } from '../../config/index.js'
import type { Credential } from '../../config/provider.js'
import { acquireLock, type Lock } from '../state/lock.js'
import { RECOVERY, TEMPORARY, writeDurably } from './durable-file.js'

/** Larger than any credential file; bytes. */
const LARGEST_FILE = 1024 * 1024

export type CredentialRead =
  | { readonly credential: Credential; readonly digest: string; readonly openToOthers: boolean }
  | { readonly problem: string }

/** Reads a credential file. `problem` says in words why it cannot be used, and never quotes the file. */
export async function readCredential(file: string): Promise<CredentialRead> {
  let text: string | undefined
  let mode: number
  try {
    const info = await stat(file)
    if (!info.isFile()) return { problem: 'is not a regular file' }
    if (info.size > LARGEST_FILE)
      return { problem: `is larger than any credential file (${info.size} bytes)` }
    mode = info.mode
    text = decoded(await readFile(file))
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    return { problem: code === 'EACCES' ? 'cannot be read: permission denied' : `cannot be read: ${code}` }
  }
  // No text has a zero character; UTF-32 read as UTF-16 does.
  if (text === undefined || text.includes('\0')) return { problem: 'is not text in UTF-8 or UTF-16' }
  if (text.trim() === '') return { problem: 'is empty' }
  // The error of `JSON.parse` would quote the text, and so a token.
  const credential = parseJson(text)
  if (credential === undefined)
    return {
      problem: /^\s*\{.*[^}\s]\s*$/s.test(text) ? 'is not valid JSON (half-written?)' : 'is not valid JSON',
    }
  if (typeof credential !== 'object' || credential === null || Array.isArray(credential))
    return { problem: 'holds no JSON object' }
  return { credential: credential as Credential, digest: digestOf(text), openToOthers: (mode & 0o077) !== 0 }
}

/** Whether another user of this machine may write to a folder: such a user could have requests sent in their name. */
export async function isOpenToOthers(folder: string): Promise<boolean> {
  const { mode, uid, gid } = await stat(folder).catch(() => ({ mode: 0, uid: 0, gid: 0 }))
  // Where each user has a group alone, it has the user's number, and folders are made writable to it. Windows has no modes.
  const others = uid === gid ? 0o002 : 0o022
  return process.platform !== 'win32' && (mode & others) !== 0
}

/**
 * Editors on Windows write a byte-order mark, and PowerShell's `>` writes UTF-16; JSON.parse refuses both.
 * @returns `undefined` for bytes that are no text
 */
function decoded(bytes: Buffer): string | undefined {
  try {
    return new TextDecoder(encodingOf(bytes), { fatal: true }).decode(bytes)
  } catch {
    return undefined
  }
}

/** JSON begins with a character of ASCII, so in UTF-16 without a mark one of the first two bytes is 0. */
function encodingOf([first, second]: Buffer): string {
  if ((first === 0xff && second === 0xfe) || (first !== 0 && second === 0)) return 'utf-16le'
  return (first === 0xfe && second === 0xff) || (first === 0 && second !== 0) ? 'utf-16be' : 'utf-8'
}

const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex')

/** Writes a credential with {@link writeDurably}. @returns the digest of the file's new content */
export async function writeCredential(file: string, credential: Credential): Promise<string> {
  const text = `${JSON.stringify(credential, null, 2)}\n`
  await writeDurably(file, text)
  return digestOf(text)
}

/**
 * After this a holder on another machine or in another container counts as dead (one that was killed on this machine is
 * seen at once): five heartbeats; ms. With less, a disk that is busy for a moment makes a living holder look dead, and
 * the next one presents the same refresh token. With more, requests on a token that has ended wait longer.
 */
const STALE_MS = 5_000

/** Longer than a token call of another process (10 s) and, if that was killed meanwhile, until its lock is stale; ms. */
const WAIT_MS = 20_000

/**
 * Locks a credential file against other processes that refresh or write it. Of a link, the target is locked, since two
 * pools may have a link to one file.
 * @param onCompromised called if the lock is taken away
 * @throws {LockHeldError} if another process does not release it
 */
export async function lockCredential(file: string, onCompromised: () => void): Promise<Lock> {
  const target = await realpath(file).catch(() => file)
  const lockfile = join(dirname(target), `.${basename(target, '.json')}.codex-pool.lock`)
  return acquireLock(target, { lockfile, staleMs: STALE_MS, waitMs: WAIT_MS, onCompromised })
}

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
