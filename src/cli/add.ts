import { realpath } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { credentialsPattern } from '../../config/index.js'
import type { Credential, Inspection } from '../../config/provider.js'
import type { Account } from '../accounts/account.js'
import {
  type Claim,
  claimantsOf,
  claimOf,
  fixedPart,
  inspected,
  type Providers,
} from '../credentials/claim.js'
import { readCredential, writeCredential } from '../credentials/credential-file.js'
import { makePrivateFolder } from '../credentials/durable-file.js'
import { tellGateway } from './admin-call.js'
import { print, refusal } from './output.js'
import { type CommonOptions, type PoolFolder, readPoolFolder, underLock } from './pool-folder.js'

/** A credential that is about to join the pool. */
export interface NewCredential {
  readonly provider: string
  readonly credential: Credential
  readonly inspection: Inspection
}

export interface AddOptions {
  /** Id of the account whose login is replaced. */
  readonly force?: string
  /** Name of the account's file, with or without `.json`. */
  readonly name?: string
}

/** `codex-pool add FILE`: copies a credential file into the pool. */
export async function add(options: CommonOptions, path: string, { force, name }: AddOptions): Promise<void> {
  const pool = await readPoolFolder(options)
  const file = await realpath(resolve(path)).catch(() => resolve(path))
  const added = await readNewCredential(file, path, pool)
  const known = accountOf(added, pool.accounts)
  if (force !== known?.id) throw duplicateRefusal(added, known, path, force)
  await joinPool(added, pool, { known, name })
  const advice = sharedLoginAdvice(added, file, pool)
  if (advice !== undefined) print(`\n${advice}`)
}

async function readNewCredential(
  file: string,
  path: string,
  { providers }: PoolFolder,
): Promise<NewCredential> {
  const read = await readCredential(file)
  if ('problem' in read) throw refusal('unusable_file', `${path} ${read.problem}`)
  const claim = recognise(basename(file), read.credential, providers)
  if ('refused' in claim) throw refusal('unusable_file', `${path} ${claim.refused}`)
  if (read.openToOthers) print(`${path} can be read by others: chmod 600`)
  return { ...claim, credential: read.credential }
}

/**
 * The provider of a credential: by the rule for the pool's own files, and else, since a client names its file as it
 * likes, the one provider that can use the content.
 */
export function recognise(fileName: string, credential: Credential, providers: Providers): Claim {
  const byName = claimOf(credential, claimantsOf(fileName, providers))
  if ('provider' in byName) return byName
  const able = [...providers].flatMap(([provider, definition]) => {
    // Without `inspect` every file matches, so a match proves nothing.
    const inspection = definition.inspect ? inspected(definition, credential) : 'takes anything'
    return typeof inspection === 'string' ? [] : [{ provider, inspection }]
  })
  if (able.length === 1) return able[0]!
  if (able.length === 0) return { refused: byName.refused || 'no provider reads files of this name' }
  const names = able.map(({ provider }) => provider).join(', ')
  return {
    refused: `could be of several providers (${names}): give the file a name that only one of them reads`,
  }
}

/** The account of the pool with the same login, or of the same user in the same workspace. */
export function accountOf(added: NewCredential, accounts: readonly Account[]): Account | undefined {
  return accounts.find(
    ({ provider, credential, inspection }) =>
      provider === added.provider &&
      (isSameUser(inspection, added.inspection) || isDeepStrictEqual(credential, added.credential)),
  )
}

function isSameUser(a: Inspection, b: Inspection): boolean {
  if (a.login !== undefined && a.login === b.login) return true
  if (a.identity === undefined || a.identity !== b.identity) return false
  // Members of one workspace share its id; the label tells them apart.
  return a.label === undefined || b.label === undefined || a.label === b.label
}

function duplicateRefusal(
  added: NewCredential,
  known: Account | undefined,
  path: string,
  force?: string,
): Error {
  if (known === undefined)
    return refusal(
      'not_a_duplicate',
      `${described(added)} is not the account ${force}: add it without --force`,
    )
  return refusal(
    'duplicate_account',
    `${described(added)} is in the pool already: ${basename(known.file)}. ` +
      `To replace that login: codex-pool add ${path} --force ${known.id}`,
  )
}

/** Writes a credential into the pool, as the new login of `known` if that is given, and tells the gateway. */
export async function joinPool(
  added: NewCredential,
  pool: PoolFolder,
  { known, name }: { known: Account | undefined; name: string | undefined },
): Promise<void> {
  const file = known?.file ?? newFile(added, pool, name)
  await makePrivateFolder(dirname(file))
  await underLock(file, () => writeCredential(file, added.credential))
  print(`${described(added)} ${known ? 'has a new login' : 'joined the pool'}: ${file}`)
  print(await tellGateway(pool.config))
}

/** A file name that is free, and that the pool reads for the right provider. */
function newFile(
  added: NewCredential,
  { config, fileNames, providers }: PoolFolder,
  wanted?: string,
): string {
  const names = wanted === undefined ? suggestedNames(added) : [wanted.replace(/\.json$/, '')]
  if (names.some((name) => !/^\w[\w.@+-]*$/.test(name)))
    throw refusal('no_file_name', `"${wanted}" is no good file name: use letters, digits and . _ - + @`)
  // File names that differ in case only are one file on many disks.
  const used = new Set(fileNames.map((name) => name.toLowerCase()))
  const pattern = credentialsPattern(added.provider, providers.get(added.provider)!)
  const fits = (file: string): boolean => {
    const claim = claimOf(added.credential, claimantsOf(file, providers))
    return 'provider' in claim && claim.provider === added.provider
  }
  for (const name of names) {
    const file = [`${name}.json`, `${fixedPart(pattern)}${name}.json`].find(fits)
    if (file !== undefined && !used.has(file.toLowerCase())) return join(config.poolDir, file)
    if (file !== undefined && wanted !== undefined)
      throw refusal('no_file_name', `there is a ${file} already; choose another --name`)
  }
  throw refusal('no_file_name', `no name was found that fits ${pattern}; choose one with --name`)
}

/** By the user; then with the plan, since one user may be in several workspaces; then with numbers. */
function suggestedNames({ provider, inspection: { label, plan } }: NewCredential): string[] {
  const user = plainName(label?.replace(/@.*$/, '')) ?? plainName(plan) ?? plainName(provider) ?? 'account'
  const withPlan = plainName(plan) === undefined ? [] : [`${user}-${plainName(plan)}`]
  return [user, ...withPlan, ...Array.from({ length: 1_000 }, (_, index) => `${user}-${index + 2}`)]
}

/** A name that every disk takes, and a shell without quotes. */
function plainName(text: string | undefined): string | undefined {
  const plain = text
    ?.toLowerCase()
    .replace(/[^a-z0-9._-]+/g, '-')
    .replace(/^[-._]+|[-._]+$/g, '')
  return plain?.slice(0, 40) || undefined
}

/** `alice@example.com (codex, chatgpt, plus)` */
function described({ provider, inspection: { label, kind, plan } }: NewCredential): string {
  const facts = [provider, kind, plan].filter(Boolean).join(', ')
  return label === undefined ? facts : `${label} (${facts})`
}

/** Two holders of one single-use refresh token lock each other out, unless the gateway can keep them together. */
function sharedLoginAdvice(
  added: NewCredential,
  file: string,
  { providers }: PoolFolder,
): string | undefined {
  const { login, clientFiles } = providers.get(added.provider)!
  if (!login?.singleUse || !added.inspection.refreshable) return undefined
  const own = `codex-pool login ${added.provider}`
  if (clientFiles?.includes(file))
    return (
      `The client itself still uses this login. On this machine the gateway keeps both copies together.\n` +
      `Anywhere else it cannot, and the refresh token works only once: there, give the pool its own login (${own}).`
    )
  return (
    `If anything else still uses this login, one of the two will soon be locked out: its refresh token works only once.\n` +
    `Give the pool its own login instead (${own}), or delete ${file} and do not use it elsewhere.`
  )
}
