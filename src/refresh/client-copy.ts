import { realpath } from 'node:fs/promises'
import { isDeepStrictEqual } from 'node:util'
import { isRecord } from '../../config/index.js'
import type { Credential, Inspection, Provider } from '../../config/provider.js'
import type { SpentLogins } from '../accounts/account-store.js'
import type { Account } from '../accounts/account.js'
import { inspected } from '../credentials/claim.js'
import { readCredential, writeCredential } from '../credentials/credential-file.js'
import { codeOf } from '../credentials/durable-file.js'

/** A file of the client's own with an account's login: the same one, or one that was refreshed since. */
export interface ClientCopy {
  readonly file: string
  readonly credential: Credential
  readonly inspection: Inspection
  /** Whether it holds the very refresh token of the account, so that one refresh must change both files. */
  readonly shared: boolean
}

export async function clientCopiesOf(account: Account, provider: Provider): Promise<ClientCopy[]> {
  const copies: ClientCopy[] = []
  for (const file of provider.clientFiles ?? []) {
    const copy = await clientCopyAt(file, account, provider)
    if (copy) copies.push(copy)
  }
  return copies
}

async function clientCopyAt(
  file: string,
  account: Account,
  provider: Provider,
): Promise<ClientCopy | undefined> {
  const read = await readCredential(file)
  if ('problem' in read) return undefined
  const inspection = inspected(provider, read.credential)
  if (typeof inspection === 'string') return undefined
  const { identity, label, login } = inspection
  const ours = account.inspection
  if (identity === undefined || identity !== ours.identity || label !== ours.label) return undefined
  // The pool's file may be a link to the client's: then there is only one file to write.
  if ((await targetOf(file)) === (await targetOf(account.file))) return undefined
  return {
    file,
    credential: read.credential,
    inspection,
    shared: login !== undefined && login === ours.login,
  }
}

const targetOf = (file: string): Promise<string> => realpath(file).catch(() => file)

/**
 * Whether the client has refreshed the login since. The account's own token is then spent, and presenting it would
 * revoke both. `anyOther` accepts any other login, since the account's own is refused.
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

/** Whether the client copy still holds a spent token of this login. If the client presents it, both are logged out. */
export function isLeftBehind(
  { inspection: { login } }: ClientCopy,
  { inspection: { login: ours } }: Account,
  spent: SpentLogins,
): boolean {
  return login !== undefined && login !== ours && spent.has(login) && ours !== undefined && !spent.has(ours)
}

/**
 * Writes a refreshed login to the client copies and changes nothing else in them. A copy that has got another login
 * meanwhile stays unchanged.
 * @returns which copy cannot be written, and why
 */
export async function refreshClientCopies(
  copies: readonly ClientCopy[],
  account: Account,
  provider: Provider,
  { before, after }: { before: Credential; after: Credential },
): Promise<string | undefined> {
  for (const { file } of copies) {
    const now = await clientCopyAt(file, account, provider)
    if (!now?.shared) continue
    const trouble = await written(file, changed(now.credential, before, after))
    if (trouble !== undefined) return trouble
  }
  return undefined
}

/** Writes the account's login to a copy that {@link isLeftBehind}. @returns why it cannot be written */
export function repairClientCopy(
  { file, credential }: ClientCopy,
  account: Account,
  provider: Provider,
): Promise<string | undefined> {
  const login = loginOf(account.credential, provider)
  return written(file, overlaid(credential, onlyKeysOf(credential, login)))
}

async function written(file: string, credential: Credential): Promise<string | undefined> {
  try {
    await writeCredential(file, credential)
    return undefined
  } catch (error) {
    return cannotBeWritten(file, codeOf(error))
  }
}

export function cannotBeWritten(file: string, code: string): string {
  return `the client's own copy of the login, ${file}, cannot be written (${code})`
}

/** The fields that make up the login. All others belong to their file, even if both files have them. */
export function loginOf(credential: Credential, { loginFields }: Provider): Credential {
  if (!loginFields) return credential
  return Object.fromEntries(Object.entries(credential).filter(([name]) => loginFields.includes(name)))
}

/** `target` with the changes from `before` to `after`. */
export function changed(target: Credential, before: Credential, after: Credential): Credential {
  const result = { ...target }
  for (const [key, value] of Object.entries(after)) {
    if (isDeepStrictEqual(value, before[key])) continue
    result[key] =
      isRecord(value) && isRecord(target[key]) ? changed(target[key], before[key] ?? {}, value) : value
  }
  return result
}

/** `target` with the fields of `other` set over its own. */
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
