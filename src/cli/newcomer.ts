import { mkdir, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { credentialsPattern } from '../../config/index.js'
import type { Credential, Inspection } from '../../config/provider.js'
import type { Account } from '../accounts/account.js'
import { type Claim, claimantsOf, claimOf, fixedPart, type Providers } from '../credentials/claim.js'
import { writeCredential } from '../credentials/credential-file.js'
import { lockCredential } from '../credentials/credential-lock.js'
import { tellGateway } from './admin-call.js'
import { print, refusal } from './output.js'
import type { PoolFolder } from './pool-folder.js'

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

/**
 * A free file name for a newcomer, from who it is, such that the pool takes the file for the right provider.
 * `wanted`: a name of the person's choice, with or without `.json`.
 * @returns the reason if there is none
 */
export function fileNameFor(
  newcomer: Newcomer,
  wanted: string | undefined,
  taken: readonly string[],
  providers: Providers,
): { readonly name: string } | { readonly problem: string } {
  const names = wanted === undefined ? suggestions(newcomer) : [wanted.replace(/\.json$/, '')]
  if (names.some((name) => !/^[\w][\w.@+-]*$/.test(name)))
    return { problem: `"${wanted}" is no good file name: use letters, digits and . _ - + @` }
  const used = new Set(taken.map((name) => name.toLowerCase()))
  const prefix = fixedPart(credentialsPattern(newcomer.provider, providers.get(newcomer.provider)!))
  for (const name of names) {
    const fitting = [`${name}.json`, `${prefix}${name}.json`].find((file) =>
      wouldServe(file, newcomer, providers),
    )
    if (fitting === undefined) continue
    // File names that differ in case only are one file on many disks.
    if (!used.has(fitting.toLowerCase())) return { name: fitting }
    if (wanted !== undefined) return { problem: `there is a ${fitting} already; choose another --name` }
  }
  const pattern = credentialsPattern(newcomer.provider, providers.get(newcomer.provider)!)
  return { problem: `no name was found that fits ${pattern}; choose one with --name` }
}

const SUGGESTIONS = 1_000

/** Who it is; then with the plan, since one person may be in several workspaces; then numbers. */
function suggestions({ provider, inspection: { label, plan } }: Newcomer): string[] {
  const who = plain(label?.replace(/@.*$/, '')) ?? plain(plan) ?? plain(provider) ?? 'account'
  const more = plain(plan)
  const numbered = Array.from({ length: SUGGESTIONS }, (_, index) => `${who}-${index + 2}`)
  return [who, ...(more === undefined || more === who ? [] : [`${who}-${more}`]), ...numbered]
}

/** What any disk takes as a file name, and a shell without quotes. */
function plain(text: string | undefined): string | undefined {
  const safe = text
    ?.toLowerCase()
    .replace(/[^a-z0-9._-]+/g, '-')
    .replace(/^[-._]+|[-._]+$/g, '')
    .slice(0, 40)
  return safe || undefined
}

/**
 * Writes a credential into the pool, 0600 and durably. Under the lock of its file: a refresh of the old content that is
 * in flight would otherwise write its answer over the new one.
 */
export async function writeToPool(file: string, credential: Credential): Promise<void> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 })
  await underLock(file, () => writeCredential(file, credential))
}

/**
 * Deletes a credential file. `tell` runs before the lock is given back: a gateway that has not heard of it would renew
 * the login, and so write the file again.
 */
export async function removeFromPool(file: string, tell: () => Promise<void>): Promise<void> {
  await underLock(file, async () => {
    await rm(file)
    // A copy that a write in place has left.
    await rm(`${file}.recovery`, { force: true })
    await tell()
  })
}

async function underLock(file: string, work: () => Promise<unknown>): Promise<void> {
  const lock = await lockCredential(file, () => {})
  try {
    await work()
  } finally {
    await lock.release()
  }
}

/** Writes a newcomer's file, in the place of `known` if that is given, and tells person and gateway. */
export async function joinPool(
  newcomer: Newcomer,
  pool: PoolFolder,
  { known, name }: { known: Account | undefined; name: string | undefined },
): Promise<void> {
  const file = known?.file ?? newFile(newcomer, pool, name)
  await writeToPool(file, newcomer.credential)
  print(`${whoIs(newcomer)} ${known ? 'has a new login' : 'joined the pool'}: ${file}`)
  print(await tellGateway(pool.config))
}

function newFile(newcomer: Newcomer, { config, fileNames, providers }: PoolFolder, name?: string): string {
  const named = fileNameFor(newcomer, name, fileNames, providers)
  if ('problem' in named) throw refusal('no_file_name', named.problem)
  return join(config.poolDir, named.name)
}

/** `alice@example.com (codex, chatgpt, plus)` */
export function whoIs({ provider, inspection: { label, kind, plan } }: Newcomer): string {
  const facts = [provider, kind, plan].filter(Boolean).join(', ')
  return label === undefined ? facts : `${label} (${facts})`
}

/** What a person calls an account's file. */
export function shortName(account: Account): string {
  return basename(account.file)
}
