import { readdir } from 'node:fs/promises'
import type { ResolvedConfig } from '../../config/config.js'
import type { Account } from '../accounts/account.js'
import type { Providers } from '../credentials/claim.js'
import { Accounts, type SkippedFile } from '../accounts/accounts.js'
import { lockCredential } from '../credentials/credential-file.js'
import { type ConfigSource, CurrentSettings } from '../settings.js'
import { homeOf } from './home.js'
import { refusal } from './output.js'

/** The options of every command. */
export interface CommonOptions {
  config?: string
  listen?: string
  poolDir?: string
}

/** The configuration that a command works with. */
export function sourceOf({ config, listen, poolDir }: CommonOptions): ConfigSource {
  const cwd = process.cwd()
  const home = homeOf(cwd, process.env).folder
  return { config, cwd, home, env: process.env, flags: { listen, poolDir } }
}

/** The pool's files as a command sees them, without a gateway. */
export interface PoolFolder {
  readonly config: ResolvedConfig
  readonly providers: Providers
  readonly accounts: readonly Account[]
  /** Every file of the folder, accounts or not. */
  readonly fileNames: readonly string[]
  /** Files that are not accounts, and why. */
  readonly skipped: readonly SkippedFile[]
}

export async function readPoolFolder(options: CommonOptions): Promise<PoolFolder> {
  const { config, providers } = (await CurrentSettings.open(sourceOf(options))).current
  const accounts = new Accounts()
  await accounts.scan(config.poolDir, providers, config.accounts)
  const fileNames = await readdir(config.poolDir).catch(() => [])
  return { config, providers, accounts: accounts.all(), skipped: accounts.skipped, fileNames }
}

export function accountById({ accounts, config }: PoolFolder, id: string): Account {
  const account = accounts.find((candidate) => candidate.id === id)
  if (account) return account
  const ids = accounts.map((candidate) => candidate.id).join(', ')
  throw refusal(
    'unknown_account',
    `there is no account "${id}" in ${config.poolDir}. There are: ${ids || 'none'}`,
  )
}

/** Changes a credential file while no refresh of it runs: its answer would bring the old login back. */
export async function underLock(file: string, change: () => Promise<unknown>): Promise<void> {
  const lock = await lockCredential(file, () => {})
  try {
    await change()
  } finally {
    await lock.release()
  }
}
