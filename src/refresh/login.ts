import { setTimeout as delay } from 'node:timers/promises'
import type { Provider } from '../../config/provider.js'
import type { SpentLogins } from '../accounts/account-store.js'
import type { Account } from '../accounts/account.js'
import { adoptFileContent, type FoundCredential } from '../accounts/accounts.js'
import { inspected } from '../credentials/claim.js'
import { readCredential, writeCredential } from '../credentials/credential-file.js'
import { codeOf } from '../credentials/durable-file.js'
import {
  changed,
  type ClientCopy,
  clientCopiesOf,
  isLeftBehind,
  isNewer,
  loginOf,
  overlaid,
  repairClientCopy,
} from './client-copy.js'

/** A file that is being rewritten when it is read is whole again after this; ms. */
const REWRITE_MS = 100
const REWRITE_READS = 5

export interface LoginContext {
  readonly provider: Provider
  readonly spent: SpentLogins
}

/**
 * Adopts a login that another program has written to the pool's file or to the client's own copy. Needs the account's
 * lock. With `anyOther` even one that is not newer, since the account's own is refused.
 * @returns whether the account has another login or another token now
 */
export async function adopt(account: Account, context: LoginContext, anyOther = false): Promise<boolean> {
  const { login, expiresAt } = account.inspection
  const found = await readLogin(account.file, context.provider)
  if (found && found.digest !== account.digest) adoptFileContent(account, found, context.spent)
  const copies = await clientCopiesOf(account, context.provider)
  const newer = copies.find((copy) => isNewer(copy, account, context.spent, anyOther))
  if (newer) {
    const credential = overlaid(account.credential, loginOf(newer.credential, context.provider))
    await writeLogin(account, { credential, inspection: newer.inspection }, context)
  }
  return account.inspection.login !== login || account.inspection.expiresAt !== expiresAt
}

/**
 * Writes a login to the account's file, and then gives it to the account. Other fields that were changed in the file
 * stay. If another login was put into the file meanwhile, the account gets that one. If the disk refuses,
 * `account.unsaved` says so.
 */
export async function writeLogin(
  account: Account,
  { credential, inspection }: Omit<FoundCredential, 'digest'>,
  { provider, spent }: LoginContext,
): Promise<void> {
  try {
    const found = await readLogin(account.file, provider)
    if (found && !isReplaceable(found, account, inspection.login, spent))
      return account.replaceCredential(found.credential, found.inspection, found.digest)
    const merged = found ? changed(found.credential, account.written, credential) : credential
    const digest = await writeCredential(account.file, merged)
    account.refreshCredential(merged, inspection, digest)
  } catch (error) {
    account.refreshCredential(credential, inspection)
    account.unsaved = codeOf(error)
  }
}

/** Reads a login, several times if another program is writing the file and not atomically. */
async function readLogin(file: string, provider: Provider): Promise<FoundCredential | undefined> {
  for (let reads = 1; reads <= REWRITE_READS; reads++) {
    const read = await readCredential(file)
    if ('credential' in read) {
      const inspection = inspected(provider, read.credential)
      return typeof inspection === 'string' ? undefined : { ...read, inspection }
    }
    await delay(REWRITE_MS)
  }
  return undefined
}

/** Whether a file may be overwritten: it holds the account's login, or one that is known to be spent. */
function isReplaceable(
  { inspection: { login }, digest }: FoundCredential,
  account: Account,
  ours: string | undefined,
  spent: SpentLogins,
): boolean {
  if (login === undefined) return digest === account.digest
  return login === ours || login === account.inspection.login || spent.has(login)
}

/** Whether {@link reconcile} has anything to do. Takes no lock: every change of any file asks for every account. */
export function needsReconciling(
  account: Account,
  copies: readonly ClientCopy[],
  spent: SpentLogins,
): boolean {
  if (account.unsaved !== undefined) return true
  return copies.some((copy) => isNewer(copy, account, spent) || isLeftBehind(copy, account, spent))
}

/**
 * Brings the account, its file and the client's own copy of its login together. Needs the account's lock.
 * @returns whether a login was adopted, or one that was in memory only was written
 */
export async function reconcile(
  account: Account,
  context: LoginContext,
): Promise<'adopted' | 'written' | undefined> {
  const adopted = await adopt(account, context)
  const pending = account.unsaved !== undefined
  if (pending) await writeLogin(account, account, context)
  const copies = await clientCopiesOf(account, context.provider)
  const behind = copies.filter((copy) => isLeftBehind(copy, account, context.spent))
  if (behind.length === 0) account.unshared = undefined
  for (const copy of behind) account.unshared = await repairClientCopy(copy, account, context.provider)
  if (adopted) return 'adopted'
  const written = (pending && account.unsaved === undefined) || (behind.length > 0 && !account.unshared)
  return written ? 'written' : undefined
}
