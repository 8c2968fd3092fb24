import {
  type CallContext,
  type Credential,
  CredentialRejected,
  type Inspection,
} from '../../config/provider.js'
import type { Account } from '../accounts/account.js'
import { inspected } from '../credentials/claim.js'
import { canWrite, FOLDER_REFUSES } from '../credentials/durable-file.js'
import { cannotBeWritten, clientCopiesOf, type ClientCopy, refreshClientCopies } from './client-copy.js'
import { adopt, type LoginContext, writeLogin } from './login.js'

/** The outcome of a refresh, or of reconciling an account with its files. */
export type RefreshOutcome =
  | { readonly kind: 'refreshed'; readonly lifetimeMs?: number | undefined }
  /** Refreshed, but one of the files of this login could not be written. */
  | { readonly kind: 'unsaved'; readonly reason: string; readonly lifetimeMs?: number | undefined }
  /** Another program had refreshed it, or put another login into a file. */
  | { readonly kind: 'adopted' }
  /** A login that was only in memory, or only in one of its files, is now in all of them. */
  | { readonly kind: 'written' }
  | { readonly kind: 'needs-login'; readonly reason: string }
  /** The old token stays, and the refresh is tried again later. */
  | { readonly kind: 'failed'; readonly reason: string }

export interface RefreshContext extends LoginContext {
  readonly context: CallContext
  /** Whether this process still holds the lock. */
  readonly holds: () => Promise<boolean>
  /** Whether the access token is of no use any more: it has ended, or the upstream refused it. */
  readonly dead: boolean
  readonly now: () => number
}

/** Thrown before the token endpoint is called, so no refresh token is spent. */
export class NotAttempted extends Error {
  override name = 'NotAttempted'
}

/**
 * One refresh of one account, under its lock. A refresh token may be single use, hence the order: adopt what another
 * program has written; make sure that the disk will take the new pair; call; write; use.
 * @throws on passing trouble: the network, the token endpoint, a disk that refuses ({@link NotAttempted})
 */
export async function refresh(account: Account, context: RefreshContext): Promise<RefreshOutcome> {
  const { provider, spent } = context
  if ((await adopt(account, context)) && !hasEnded(account, context.now())) return { kind: 'adopted' }
  const { login } = account.inspection
  if (login !== undefined && spent.has(login)) {
    const reason = 'its refresh token was used before (is the file an old copy of a login?)'
    return { kind: 'needs-login', reason }
  }
  const copies = (await clientCopiesOf(account, provider)).filter(({ shared }) => shared)
  await requireDisk(account, copies, context.dead)
  // A machine that slept after it took the lock may have lost it, and another process may have spent the token.
  if (!(await context.holds())) throw new NotAttempted('another process took the lock over')
  // The login that this call spends. The file may get another one while the call runs.
  const before: Login = { credential: account.credential, inspection: account.inspection }
  let answer
  try {
    answer = await provider.refresh!(account.credential, context.context)
  } catch (error) {
    if (!(error instanceof CredentialRejected)) throw error
    if (isReplaced(account, before)) return { kind: 'adopted' }
    // A program that does not know our lock may have refreshed the login in the meantime.
    if (await adopt(account, context, true)) return { kind: 'adopted' }
    return { kind: 'needs-login', reason: error.message }
  }
  return keep(account, before, copies, answer, context)
}

/** Writes the new pair before it is used. The client's copy goes first: see docs/credentials.md. */
async function keep(
  account: Account,
  before: Login,
  copies: readonly ClientCopy[],
  { credential, expiresAt }: { credential: Credential; expiresAt?: number | undefined },
  context: RefreshContext,
): Promise<RefreshOutcome> {
  const found = inspected(context.provider, credential)
  if (typeof found === 'string') throw new Error(`the refreshed credential cannot be used: ${found}`)
  const inspection: Inspection = { ...found, expiresAt: expiresAt ?? found.expiresAt }
  const { login } = before.inspection
  if (login !== undefined && inspection.login !== login) context.spent.add(login)
  const change = { before: before.credential, after: credential }
  account.unshared = await refreshClientCopies(copies, account, context.provider, change)
  if (isReplaced(account, before)) return { kind: 'adopted' }
  await writeLogin(account, { credential, inspection }, context)
  const lifetimeMs = inspection.expiresAt === undefined ? undefined : inspection.expiresAt - context.now()
  const reason = account.unsaved ?? account.unshared
  return reason === undefined ? { kind: 'refreshed', lifetimeMs } : { kind: 'unsaved', reason, lifetimeMs }
}

type Login = Pick<Account, 'credential' | 'inspection'>

/** Whether the account was given another login meanwhile, which the refreshed one must not overwrite. */
function isReplaced(account: Account, { credential, inspection: { login } }: Login): boolean {
  return login === undefined ? account.credential !== credential : account.inspection.login !== login
}

export function hasEnded({ inspection: { expiresAt } }: Account, now: number): boolean {
  return expiresAt !== undefined && expiresAt <= now
}

/**
 * Refuses a refresh whose new pair could not be written and would be lost at the next crash, as long as the old token
 * lives. Also one that would leave the client with a spent token in a file that can never be written: when the client
 * presents that token, the issuer revokes the login for both.
 */
async function requireDisk(account: Account, copies: readonly ClientCopy[], dead: boolean): Promise<void> {
  const bytes = JSON.stringify(account.credential).length * 2
  const refused = dead ? undefined : await canWrite(account.file, bytes)
  if (refused !== undefined)
    throw new NotAttempted(
      `the pool folder cannot be written (${refused}); the token is refreshed when it can`,
    )
  for (const { file } of copies) {
    const code = await canWrite(file, bytes)
    if (code === undefined || (dead && !FOLDER_REFUSES.has(code))) continue
    account.unshared = cannotBeWritten(file, code)
    throw new NotAttempted(`${account.unshared}; refreshing it here would lock the client out`)
  }
}
