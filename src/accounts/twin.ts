import { isDeepStrictEqual } from 'node:util'
import type { Credential, Inspection, Provider } from '../../config/provider.js'
import type { Account } from './account.js'
import { readCredential, writeCredential } from './credential-file.js'

/** The client's own copy of an account's login. */
export interface Twin {
  readonly file: string
  readonly credential: Credential
  readonly inspection: Inspection
  /** Whether it holds the very refresh token of the account, so that one refresh must change both files. */
  readonly shared: boolean
}

/** The client's files that hold a login of this account: the same one, or one that has been renewed since. */
export async function twinsOf(account: Account, provider: Provider): Promise<Twin[]> {
  const twins: Twin[] = []
  for (const file of provider.twins ?? []) {
    const read = await readCredential(file)
    if ('problem' in read) continue
    const inspection = provider.inspect?.(read.credential) ?? {}
    if (typeof inspection === 'string' || !sameAccount(inspection, account.inspection)) continue
    const shared = inspection.login !== undefined && inspection.login === account.inspection.login
    twins.push({ file, credential: read.credential, inspection, shared })
  }
  return twins
}

function sameAccount(one: Inspection, other: Inspection): boolean {
  return one.identity !== undefined && one.identity === other.identity && one.label === other.label
}

/** Whether the client has renewed its login since: then ours is spent, and presenting it would revoke both. */
export function isNewer({ inspection }: Twin, account: Account): boolean {
  const { expiresAt, login } = inspection
  return login !== account.inspection.login && (expiresAt ?? 0) > (account.inspection.expiresAt ?? Infinity)
}

/** Carries a renewal over to the client's file, and leaves everything else in it as it is. */
export async function renewTwin(twin: Twin, before: Credential, after: Credential): Promise<void> {
  await writeCredential(twin.file, changed(twin.credential, before, after))
}

function changed(target: Credential, before: Credential, after: Credential): Credential {
  const result = { ...target }
  for (const [key, value] of Object.entries(after)) {
    if (isDeepStrictEqual(value, before[key])) continue
    result[key] =
      isObject(value) && isObject(target[key]) ? changed(target[key], before[key] ?? {}, value) : value
  }
  return result
}

function isObject(value: unknown): value is Credential {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
