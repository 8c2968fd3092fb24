import { isDeepStrictEqual } from 'node:util'
import type { Credential, Inspection } from '../../config/provider.js'
import type { Account } from './account.js'
import { claimantsOf, claimOf, type Claim, type Providers } from './claim.js'

/** A credential that is about to join the pool. */
export interface Newcomer {
  readonly provider: string
  readonly credential: Credential
  readonly inspection: Inspection
}

/**
 * Whose credential this is: by the rule that the pool's own files go by, and else, since a client names its file as it
 * likes, the one provider that can use what is in it.
 */
export function recognise(fileName: string, credential: Credential, providers: Providers): Claim {
  const byName = claimOf(credential, claimantsOf(fileName, providers))
  if ('provider' in byName) return byName
  const able = [...providers].flatMap(([provider, definition]) => {
    // Who takes every file recognises none.
    const inspection = definition.inspect?.(credential) ?? 'takes anything'
    return typeof inspection === 'string' ? [] : [{ provider, inspection }]
  })
  if (able.length === 1) return able[0]!
  if (able.length === 0) return { refused: byName.refused || 'no provider reads files of this name' }
  const names = able.map(({ provider }) => provider).join(', ')
  return {
    refused: `could be of several providers (${names}): give the file a name that only one of them reads`,
  }
}

/** The account that a newcomer already is: the same login, or the same user in the same workspace. */
export function accountOf(newcomer: Newcomer, accounts: readonly Account[]): Account | undefined {
  return accounts.find(
    ({ provider, credential, inspection }) =>
      provider === newcomer.provider &&
      (isSamePerson(inspection, newcomer.inspection) || isDeepStrictEqual(credential, newcomer.credential)),
  )
}

function isSamePerson(a: Inspection, b: Inspection): boolean {
  if (a.login !== undefined && a.login === b.login) return true
  if (a.identity === undefined || a.identity !== b.identity) return false
  // Members of one workspace share its id; who they are is in the label.
  return a.label === undefined || b.label === undefined || a.label === b.label
}

/** Whether the pool would take a file of this name for the provider that the newcomer belongs to. */
export function wouldServe(
  fileName: string,
  { provider, credential }: Newcomer,
  providers: Providers,
): boolean {
  const claim = claimOf(credential, claimantsOf(fileName, providers))
  return 'provider' in claim && claim.provider === provider
}
