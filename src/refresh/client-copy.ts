import { realpath } from 'node:fs/promises'
import { isDeepStrictEqual } from 'node:util'
import { isRecord } from '../../config/index.js'
import type { Credential, Inspection, Provider } from '../../config/provider.js'
import type { SpentLogins } from '../accounts/account-store.js'
import type { Account } from '../accounts/account.js'
import { inspected } from '../credentials/claim.js'
import { readCredential, writeCredential } from '../credentials/credential-file.js'

/** The client's own copy of an account's login. */
export interface ClientCopy {
  readonly file: string
  readonly credential: Credential
  readonly inspection: Inspection
  /** Whether it holds the very refresh token of the account, so that one refresh must change both files. */
  readonly shared: boolean
}

/** The client's files that hold a login of this account: the same one, or one that has been renewed since. */
export async function clientCopiesOf(account: Account, provider: Provider): Promise<ClientCopy[]> {
  const twins: ClientCopy[] = []
  for (const file of provider.clientFiles ?? []) {
    const twin = await twinAt(file, account, provider)
    if (twin) twins.push(twin)
  }
  return twins
}

async function twinAt(file: string, account: Account, provider: Provider): Promise<ClientCopy | undefined> {
  const read = await readCredential(file)
  if ('problem' in read) return undefined
  const inspection = inspected(provider, read.credential)
  if (typeof inspection === 'string' || !isSameAccount(inspection, account.inspection)) return undefined
  // The pool may hold a link to it: then there is only one file to write.
  if ((await targetOf(file)) === (await targetOf(account.file))) return undefined
  const { login } = inspection
  const shared = login !== undefined && login === account.inspection.login
  return { file, credential: read.credential, inspection, shared }
}

const targetOf = (file: string): Promise<string> => realpath(file).catch(() => file)

function isSameAccount(one: Inspection, other: Inspection): boolean {
  return one.identity !== undefined && one.identity === other.identity && one.label === other.label
}

/**
 * Whether the client has renewed its login since: then ours is spent, and presenting it would revoke both. `anyOther`:
 * with ours refused, any other one is worth a try.
 */
export function isNewer(
  { inspection: { expiresAt = 0, login } }: ClientCopy,
  account: Account,
  spent: SpentLogins,
  anyOther = account.loginNeeded !== undefined,
): boolean {
  if (login === account.inspection.login || (login !== undefined && spent.has(login))) return false
  return anyOther || expiresAt > (account.inspection.expiresAt ?? Infinity)
}

/**
 * Carries a renewal over to the client's file, and leaves everything else in it as it is. A login that was put there
 * meanwhile stays.
 */
export async function renewClientCopy(
  file: string,
  account: Account,
  provider: Provider,
  { before, after }: { before: Credential; after: Credential },
): Promise<void> {
  const now = await twinAt(file, account, provider)
  if (now?.shared) await writeCredential(file, changed(now.credential, before, after))
}

/** Brings the client's file up to the account's login if it still holds a spent one of it. */
export async function repairClientCopy(
  { file, credential }: ClientCopy,
  account: Account,
  provider: Provider,
): Promise<void> {
  const login = loginOf(account.credential, provider)
  await writeCredential(file, overlaid(credential, onlyKeysOf(credential, login)))
}

/** What of a file is the login. Fields that we do not know are the file's own, even if both files have them. */
export function loginOf(credential: Credential, { loginFields }: Provider): Credential {
  if (!loginFields) return credential
  return Object.fromEntries(Object.entries(credential).filter(([name]) => loginFields.includes(name)))
}

/** `target` with what differs between `before` and `after`. */
export function changed(target: Credential, before: Credential, after: Credential): Credential {
  const result = { ...target }
  for (const [key, value] of Object.entries(after)) {
    if (isDeepStrictEqual(value, before[key])) continue
    result[key] =
      isRecord(value) && isRecord(target[key]) ? changed(target[key], before[key] ?? {}, value) : value
  }
  return result
}

/** `target` with everything that `other` has. */
export function overlaid(target: Credential, other: Credential): Credential {
  return changed(target, {}, other)
}

function onlyKeysOf(target: Credential, source: Credential): Credential {
  const known = Object.entries(source).filter(([key]) => key in target)
  return Object.fromEntries(
    known.map(([key, value]) => [
      key,
      isRecord(value) && isRecord(target[key]) ? onlyKeysOf(target[key], value) : value,
    ]),
  )
}

export function notShared(file: string, code: string): string {
  return `the client's own copy of the login, ${file}, cannot be written (${code})`
}
