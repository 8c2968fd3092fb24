import { basename, join } from 'node:path'
import type { Account } from '../accounts/account.js'
import { fileNameFor } from '../accounts/file-name.js'
import type { Newcomer } from '../accounts/newcomer.js'
import { place } from '../accounts/placement.js'
import type { PoolFolder } from './pool-folder.js'
import { refusal } from './refusal.js'
import { tellGateway } from './tell-gateway.js'
import { print } from './print.js'

/** Writes a newcomer's file, in the place of `known` if that is given, and tells person and gateway. */
export async function joinPool(
  newcomer: Newcomer,
  pool: PoolFolder,
  { known, name }: { known: Account | undefined; name: string | undefined },
): Promise<void> {
  const file = known?.file ?? newFile(newcomer, pool, name)
  await place(file, newcomer.credential)
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
