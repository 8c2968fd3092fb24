import { readdir } from 'node:fs/promises'
import type { ResolvedConfig } from '../../config/config.js'
import type { Account } from '../accounts/account.js'
import type { Providers } from '../accounts/claim.js'
import { Accounts } from '../accounts/registry.js'
import { CurrentSettings } from '../settings.js'
import { refusal } from './refusal.js'
import { sourceOf, type CommonOptions } from './options.js'

/** The pool as its files tell it, without a gateway. */
export interface PoolFolder {
  readonly config: ResolvedConfig
  readonly providers: Providers
  readonly accounts: readonly Account[]
  /** Every file of the folder, accounts or not. */
  readonly fileNames: readonly string[]
}

/** @throws {ConfigError} */
export async function readPoolFolder(options: CommonOptions): Promise<PoolFolder> {
  const { config, providers } = (await CurrentSettings.open(sourceOf(options))).current
  const accounts = new Accounts()
  await accounts.scan(config.poolDir, providers)
  const fileNames = await readdir(config.poolDir).catch(() => [])
  return { config, providers, accounts: accounts.all(), fileNames }
}

/** @throws if there is none of this id */
export function accountById({ accounts, config }: PoolFolder, id: string): Account {
  const account = accounts.find((candidate) => candidate.id === id)
  if (account) return account
  const ids = accounts.map((candidate) => candidate.id).join(', ')
  throw refusal(
    'unknown_account',
    `there is no account "${id}" in ${config.poolDir}. There are: ${ids || 'none'}`,
  )
}
