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
  clientCopiesOf,
  type ClientCopy,
  isNewer,
  loginOf,
  notShared,
  overlaid,
  repairClientCopy,
} from './client-copy.js'

/** A file that is just being rewritten is whole again after this; ms. */
const REWRITE_MS = 100
const REWRITE_LOOKS = 5

export interface Surroundings {
  readonly provider: Provider
  readonly spent: SpentLogins
}

/**
 * Takes over what somebody else has written: to the pool's file, or to the client's own copy of the login. Needs the
 * account's lock. `anyOther`: even a login that is not newer, since ours is refused.
 * @returns whether the account has another login or another token now
 */
export async function adopt(account: Account, around: Surroundings, anyOther = false): Promise<boolean> {
  const { login, expiresAt } = account.inspection
  const found = await lookInto(account.file, around.provider)
  if (found && found.digest !== account.digest) adoptFileContent(account, found, around.spent)
  const twins = await clientCopiesOf(account, around.provider)
  const newer = twins.find((twin) => isNewer(twin, account, around.spent, anyOther))
  if (newer) {
    const credential = overlaid(account.credential, loginOf(newer.credential, around.provider))
    await writeLogin(account, { credential, inspection: newer.inspection }, around)
  }
  return account.inspection.login !== login || account.inspection.expiresAt !== expiresAt
}

/**
 * Writes a credential to the account's file, and then gives it to the account. What others have changed in the file
 * stays; if they have put another login there, that one counts. A disk that refuses is told in `account.unsaved`.
 */
export async function writeLogin(
  account: Account,
  { credential, inspection }: Omit<FoundCredential, 'digest'>,
  { provider, spent }: Surroundings,
): Promise<void> {
  try {
    const found = await lookInto(account.file, provider)
    if (found && !isReplaceable(found, account, inspection.login, spent))
      return account.replaceCredential(found.credential, found.inspection, found.digest)
    const merged = found ? changed(found.credential, account.written, credential) : credential
    const digest = await writeCredential(account.file, merged)
    account.replaceCredential(merged, inspection, digest)
  } catch (error) {
    account.replaceCredential(credential, inspection)
    account.unsaved = codeOf(error)
  }
}

/** What a file holds, if it holds a login. A reader can meet a writer that is not atomic in the middle of its work. */
async function lookInto(file: string, provider: Provider): Promise<FoundCredential | undefined> {
  for (let look = 1; look <= REWRITE_LOOKS; look++) {
    const read = await readCredential(file)
    if ('credential' in read) {
      const inspection = inspected(provider, read.credential)
      return typeof inspection === 'string' ? undefined : { ...read, inspection }
    }
    await delay(REWRITE_MS)
  }
  return undefined
}

/** Whether a file may be written over: it holds our login, or one that we know to be spent. */
function isReplaceable(
  { inspection: { login }, digest }: FoundCredential,
  account: Account,
  ours: string | undefined,
  spent: SpentLogins,
): boolean {
  if (login === undefined) return digest === account.digest
  return login === ours || login === account.inspection.login || spent.has(login)
}

/** Whether there is anything to settle. Cheap, and without a lock: every change of a file asks for every account. */
export async function hasNews(account: Account, { provider, spent }: Surroundings): Promise<boolean> {
  if (account.unsaved !== undefined) return true
  const twins = await clientCopiesOf(account, provider)
  return twins.some((twin) => isNewer(twin, account, spent) || isLeftBehind(twin, account, spent))
}

/**
 * Brings the account, its file and the client's own copy of its login together again. Needs the account's lock.
 * @returns what has come of it, if anything has
 */
export async function reconcile(account: Account, around: Surroundings): Promise<string | undefined> {
  const adopted = await adopt(account, around)
  const pending = account.unsaved !== undefined
  if (pending) await writeLogin(account, account, around)
  const left = (await clientCopiesOf(account, around.provider)).filter((twin) =>
    isLeftBehind(twin, account, around.spent),
  )
  if (left.length === 0) account.unshared = undefined
  for (const twin of left) account.unshared = await revive(twin, account, around)
  if (adopted) return 'adopted'
  const written = (pending && account.unsaved === undefined) || (left.length > 0 && !account.unshared)
  return written ? 'written' : undefined
}

async function revive(
  twin: ClientCopy,
  account: Account,
  { provider }: Surroundings,
): Promise<string | undefined> {
  try {
    await repairClientCopy(twin, account, provider)
    return undefined
  } catch (error) {
    return notShared(twin.file, codeOf(error))
  }
}

/** The client still holds a token that we have spent; were it to present it, both would be logged out. */
function isLeftBehind({ inspection: { login } }: ClientCopy, account: Account, spent: SpentLogins): boolean {
  const ours = account.inspection.login
  return login !== undefined && login !== ours && spent.has(login) && ours !== undefined && !spent.has(ours)
}
