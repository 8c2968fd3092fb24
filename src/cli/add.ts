import { realpath } from 'node:fs/promises'
import { basename, resolve } from 'node:path'
import type { Account } from '../accounts/account.js'
import { readCredential } from '../credentials/credential-file.js'
import { accountOf, recognise, type Newcomer } from './newcomer.js'
import { joinPool, shortName, whoIs } from './newcomer.js'
import { readPoolFolder, type PoolFolder } from './pool-folder.js'
import { refusal } from './output.js'
import type { CommonOptions } from './pool-folder.js'
import { print } from './output.js'

export interface AddOptions {
  /** Id of the account whose login is replaced. */
  readonly force?: string
  readonly name?: string
}

/** `codex-pool add FILE`: copies a credential file into the pool. */
export async function add(options: CommonOptions, path: string, { force, name }: AddOptions): Promise<void> {
  const pool = await readPoolFolder(options)
  const file = await realpath(resolve(path)).catch(() => resolve(path))
  const newcomer = await readNewcomer(file, path, pool)
  const known = accountOf(newcomer, pool.accounts)
  refuseDuplicate(newcomer, known, { path, force })
  await joinPool(newcomer, pool, { known, name })
  const advice = sharedLogin(newcomer, file, pool)
  if (advice !== undefined) print(`\n${advice}`)
}

async function readNewcomer(file: string, path: string, { providers }: PoolFolder): Promise<Newcomer> {
  const read = await readCredential(file)
  if ('problem' in read) throw refusal('unusable_file', `${path} ${read.problem}`)
  const claim = recognise(basename(file), read.credential, providers)
  if ('refused' in claim) throw refusal('unusable_file', `${path} ${claim.refused}`)
  if (read.openToOthers) print(`${path} can be read by others: chmod 600`)
  return { ...claim, credential: read.credential }
}

function refuseDuplicate(
  newcomer: Newcomer,
  known: Account | undefined,
  { path, force }: { path: string; force: string | undefined },
): void {
  if (force === known?.id) return
  if (known === undefined)
    throw refusal('not_a_duplicate', `${whoIs(newcomer)} is not the account ${force}: add it without --force`)
  throw refusal(
    'duplicate_account',
    `${whoIs(newcomer)} is in the pool already: ${shortName(known)}. ` +
      `To replace that login: codex-pool add ${path} --force ${known.id}`,
  )
}

/** Two holders of one single-use refresh token lock each other out, unless the gateway can keep them together. */
function sharedLogin(
  { provider, inspection }: Newcomer,
  file: string,
  { providers }: PoolFolder,
): string | undefined {
  const definition = providers.get(provider)!
  if (!definition.login?.singleUse || !inspection.refreshable) return undefined
  const own = `codex-pool login ${provider}`
  if (definition.clientFiles?.includes(file))
    return (
      `The client itself still uses this login. On this machine the gateway keeps both copies together.\n` +
      `Anywhere else it cannot, and the refresh token works only once: there, give the pool its own login (${own}).`
    )
  return (
    `If anything else still uses this login, one of the two will soon be locked out: its refresh token works only once.\n` +
    `Give the pool its own login instead (${own}), or delete ${file} and do not use it elsewhere.`
  )
}
