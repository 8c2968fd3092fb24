import {
  type CallContext,
  type Credential,
  CredentialRejected,
  type Inspection,
} from '../../config/provider.js'
import type { Account } from '../accounts/account.js'
import { inspected } from '../credentials/claim.js'
import { canWrite, codeOf, FOLDER_REFUSES } from '../credentials/durable-file.js'
import { adopt, type Surroundings, writeLogin } from './adoption.js'
import { clientCopiesOf, type ClientCopy, notShared, renewClientCopy } from './client-copy.js'

export type Renewed =
  | {
      readonly kind: 'renewed'
      readonly outcome: 'refreshed' | 'adopted' | string
      readonly lifetimeMs?: number | undefined
    }
  | { readonly kind: 'needs-login'; readonly reason: string }

export interface RenewalParts extends Surroundings {
  readonly context: CallContext
  /** Whether the lock is still ours. */
  readonly holds: () => Promise<boolean>
  /** Whether the access token is of no use any more: it has ended, or the upstream refused it. */
  readonly dead: boolean
  readonly now: () => number
}

/** No call was made, so nothing is spent. */
export class NotAttempted extends Error {
  override name = 'NotAttempted'
}

/**
 * One refresh of one account, under its lock. In this order, because a refresh token may be single use: take over what
 * somebody else has written; make sure that the disk will take the new pair; call; write; use.
 * @throws what passes: the network, the token endpoint in trouble, a disk that refuses ({@link NotAttempted})
 */
export async function renew(account: Account, parts: RenewalParts): Promise<Renewed> {
  const { provider, spent } = parts
  if ((await adopt(account, parts)) && !hasEnded(account, parts.now()))
    return { kind: 'renewed', outcome: 'adopted' }
  const { login } = account.inspection
  if (login !== undefined && spent.has(login)) {
    const reason = 'its refresh token was used before (is the file an old copy of a login?)'
    return { kind: 'needs-login', reason }
  }
  const twins = (await clientCopiesOf(account, provider)).filter(({ shared }) => shared)
  await requireDisk(account, twins, parts.dead)
  // A machine that slept between the lock and here may have lost it, and the token may be spent since.
  if (!(await parts.holds())) throw new NotAttempted('another process took the lock over')
  // A new login may be put into the file while the call runs; what is presented and spent is this one.
  const before: Login = { credential: account.credential, inspection: account.inspection }
  let renewed
  try {
    renewed = await provider.refresh!(account.credential, parts.context)
  } catch (error) {
    if (!(error instanceof CredentialRejected)) throw error
    if (isReplaced(account, before)) return { kind: 'renewed', outcome: 'adopted' }
    // Somebody who does not know our lock may have renewed it in the meantime.
    if (await adopt(account, parts, true)) return { kind: 'renewed', outcome: 'adopted' }
    return { kind: 'needs-login', reason: error.message }
  }
  return keep(account, before, twins, renewed, parts)
}

/** The new pair is on disk before it is used. The client's copy goes first: see docs/credentials.md. */
async function keep(
  account: Account,
  before: Login,
  twins: readonly ClientCopy[],
  { credential, expiresAt }: { credential: Credential; expiresAt?: number | undefined },
  parts: RenewalParts,
): Promise<Renewed> {
  const found = inspected(parts.provider, credential)
  if (typeof found === 'string') throw new Error(`the renewed credential cannot be used: ${found}`)
  const inspection: Inspection = { ...found, expiresAt: expiresAt ?? found.expiresAt }
  const { login } = before.inspection
  if (login !== undefined && inspection.login !== login) parts.spent.add(login)
  account.unshared = await renewTwins(account, twins, { before: before.credential, after: credential }, parts)
  if (isReplaced(account, before)) return { kind: 'renewed', outcome: 'adopted' }
  await writeLogin(account, { credential, inspection }, parts)
  const trouble = account.unsaved ?? account.unshared
  const lifetimeMs = inspection.expiresAt === undefined ? undefined : inspection.expiresAt - parts.now()
  const outcome = trouble === undefined ? 'refreshed' : `refreshed, but not written: ${trouble}`
  return { kind: 'renewed', outcome, lifetimeMs }
}

type Login = Pick<Account, 'credential' | 'inspection'>

/** Whether the account has another login by now, which is nobody's to overwrite. */
function isReplaced(account: Account, { credential, inspection: { login } }: Login): boolean {
  return login === undefined ? account.credential !== credential : account.inspection.login !== login
}

export function hasEnded({ inspection: { expiresAt } }: Account, now: number): boolean {
  return expiresAt !== undefined && expiresAt <= now
}

/**
 * As long as the old token lives, nothing is risked: a pair that cannot be written would be lost at the next crash. And
 * a copy of the client's that can never be written is not left behind with a spent token: to present it would revoke
 * the login for both.
 */
async function requireDisk(account: Account, twins: readonly ClientCopy[], dead: boolean): Promise<void> {
  const bytes = JSON.stringify(account.credential).length * 2
  const refused = dead ? undefined : await canWrite(account.file, bytes)
  if (refused !== undefined)
    throw new NotAttempted(`the pool folder cannot be written (${refused}); the token is renewed when it can`)
  for (const { file } of twins) {
    const code = await canWrite(file, bytes)
    if (code === undefined || (dead && !FOLDER_REFUSES.has(code))) continue
    account.unshared = notShared(file, code)
    throw new NotAttempted(`${account.unshared}; renewing it here would lock the client out`)
  }
}

async function renewTwins(
  account: Account,
  twins: readonly ClientCopy[],
  change: { readonly before: Credential; readonly after: Credential },
  { provider }: Surroundings,
): Promise<string | undefined> {
  for (const { file } of twins) {
    try {
      await renewClientCopy(file, account, provider, change)
    } catch (error) {
      return notShared(file, codeOf(error))
    }
  }
  return undefined
}
