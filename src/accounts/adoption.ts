import { setTimeout as delay } from 'node:timers/promises'
import type { Credential, Inspection, Provider } from '../../config/provider.js'
import type { Account } from './account.js'
import { inspected } from './claim.js'
import { readCredential, writeCredential } from './credential-file.js'
import { codeOf } from './durable-file.js'
import type { SpentLogins } from './spent-logins.js'
import { changed, isNewer, loginOf, overlaid, twinsOf } from './twin.js'

/** A file that is just being rewritten is whole again after this; ms. */
const REWRITE_MS = 100
const REWRITE_LOOKS = 5

export interface Found {
  readonly credential: Credential
  readonly inspection: Inspection
  readonly digest: string
}

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
  if (found && found.digest !== account.digest) takeOver(account, found, around.spent)
  const twins = await twinsOf(account, around.provider)
  const newer = twins.find((twin) => isNewer(twin, account, around.spent, anyOther))
  if (newer) {
    const credential = overlaid(account.credential, loginOf(newer.credential, around.provider))
    await put(account, { credential, inspection: newer.inspection }, around)
  }
  return account.inspection.login !== login || account.inspection.expiresAt !== expiresAt
}

/**
 * A file holds something else than before. An old copy of the login that the account has, put there by hand or by an
 * editor, is not taken over: its refresh token is spent, and the only good one is in memory.
 */
export function takeOver(account: Account, found: Found, spent: SpentLogins): void {
  if (!isOldCopy(found.inspection, account, spent))
    return account.replaceCredential(found.credential, found.inspection, found.digest)
  account.sync(found.credential, found.digest)
  account.unsaved = 'an old copy of the login was put there'
}

/**
 * Writes a credential to the account's file, and then gives it to the account. What others have changed in the file
 * stays; if they have put another login there, that one counts. A disk that refuses is told in `account.unsaved`.
 */
export async function put(
  account: Account,
  { credential, inspection }: Omit<Found, 'digest'>,
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
async function lookInto(file: string, provider: Provider): Promise<Found | undefined> {
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
  { inspection: { login }, digest }: Found,
  account: Account,
  ours: string | undefined,
  spent: SpentLogins,
): boolean {
  if (login === undefined) return digest === account.digest
  return login === ours || login === account.inspection.login || spent.has(login)
}

function isOldCopy({ login, identity }: Inspection, account: Account, spent: SpentLogins): boolean {
  const ours = account.inspection
  if (account.loginNeeded || identity !== ours.identity) return false
  return login !== undefined && spent.has(login) && ours.login !== undefined && !spent.has(ours.login)
}
