import { setTimeout as delay } from 'node:timers/promises'
import {
  CredentialRejected,
  type CallContext,
  type Credential,
  type Inspection,
  type Provider,
} from '../../config/provider.js'
import type { Account } from './account.js'
import { canWrite, readCredential, writeCredential } from './credential-file.js'
import { isNewer, renewTwin, twinsOf, type Twin } from './twin.js'

/** Remembers refresh tokens that were presented, by fingerprint, over restarts. */
export interface SpentLogins {
  has(login: string): boolean
  add(login: string): void
}

export type Renewed =
  | {
      readonly kind: 'renewed'
      readonly outcome: 'refreshed' | 'adopted' | string
      readonly lifetimeMs?: number | undefined
    }
  | { readonly kind: 'needs-login'; readonly reason: string }

export interface RenewalParts {
  readonly provider: Provider
  readonly context: CallContext
  readonly spent: SpentLogins
  readonly now: () => number
}

/** A file that is just being rewritten is whole again after this; ms. */
const REWRITE_MS = 100
const REWRITE_LOOKS = 5

/**
 * One refresh of one account, under its lock. In this order, because a refresh token may be single use: take over what
 * somebody else has written; make sure that the disk will take the new pair; call; write; use.
 * @throws what passes: the network, the token endpoint in trouble, a disk that refuses
 */
export async function renew(account: Account, parts: RenewalParts): Promise<Renewed> {
  if ((await adopt(account, parts.provider)) && !hasEnded(account, parts.now()))
    return { kind: 'renewed', outcome: 'adopted' }
  const { login } = account.inspection
  if (login && parts.spent.has(login)) {
    const reason = 'its refresh token was used before (is the file an old copy of a login?)'
    return { kind: 'needs-login', reason }
  }
  const twins = await twinsOf(account, parts.provider)
  await requireDisk(account, parts.now())
  const before = account.credential
  let renewed
  try {
    renewed = await parts.provider.refresh!(before, parts.context)
  } catch (error) {
    if (!(error instanceof CredentialRejected)) throw error
    // Somebody who does not know our lock may have renewed it in the meantime.
    if (await adopt(account, parts.provider)) return { kind: 'renewed', outcome: 'adopted' }
    return { kind: 'needs-login', reason: error.message }
  }
  const inspection = inspected(parts.provider, renewed.credential)
  if (typeof inspection === 'string') throw new Error(`the renewed credential cannot be used: ${inspection}`)
  const expiresAt = renewed.expiresAt ?? inspection.expiresAt
  if (login && inspection.login !== login) parts.spent.add(login)
  const unsaved = await write(account, renewed.credential)
  account.replaceCredential(renewed.credential, { ...inspection, expiresAt })
  account.unsaved = unsaved
  const unshared = await writeTwins(twins, before, renewed.credential)
  const lifetimeMs = expiresAt === undefined ? undefined : expiresAt - parts.now()
  const trouble = unsaved ?? unshared
  return {
    kind: 'renewed',
    outcome: trouble ? `refreshed, but not written: ${trouble}` : 'refreshed',
    lifetimeMs,
  }
}

/** Writes a credential to its file. Returns why the disk refused, if it did. */
export async function write(account: Account, credential: Credential): Promise<string | undefined> {
  try {
    account.digest = await writeCredential(account.file, credential)
    return undefined
  } catch (error) {
    return codeOf(error)
  }
}

export function hasEnded({ inspection: { expiresAt } }: Account, now: number): boolean {
  return expiresAt !== undefined && expiresAt <= now
}

/** Takes over what somebody else has written: to the pool's file, or to the client's own copy of the login. */
export async function adopt(account: Account, provider: Provider): Promise<boolean> {
  const read = await readSettled(account.file)
  if ('credential' in read && read.digest !== account.digest) {
    const inspection = inspected(provider, read.credential)
    if (typeof inspection !== 'string') {
      account.replaceCredential(read.credential, inspection, read.digest)
      return true
    }
  }
  const newer = (await twinsOf(account, provider)).find((twin) => isNewer(twin, account))
  if (!newer) return false
  const unsaved = await write(account, newer.credential)
  account.replaceCredential(newer.credential, newer.inspection)
  account.unsaved = unsaved
  return true
}

/** A reader can meet a writer that is not atomic in the middle of its work. */
async function readSettled(file: string): ReturnType<typeof readCredential> {
  for (let look = 1; ; look++) {
    const read = await readCredential(file)
    if ('credential' in read || look === REWRITE_LOOKS) return read
    await delay(REWRITE_MS)
  }
}

/** As long as the old token lives, nothing is risked: a pair that cannot be written would be lost at the next crash. */
async function requireDisk(account: Account, now: number): Promise<void> {
  if (hasEnded(account, now)) return
  const refused = await canWrite(account.file, JSON.stringify(account.credential).length * 2)
  if (refused)
    throw new Error(`the pool folder cannot be written (${refused}); the token is renewed when it can`)
}

async function writeTwins(
  twins: readonly Twin[],
  before: Credential,
  after: Credential,
): Promise<string | undefined> {
  for (const twin of twins.filter(({ shared }) => shared)) {
    try {
      await renewTwin(twin, before, after)
    } catch (error) {
      return `${twin.file}: ${codeOf(error)}`
    }
  }
  return undefined
}

function inspected(provider: Provider, credential: Credential): Inspection | string {
  return provider.inspect?.(credential) ?? {}
}

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? 'write failed'
