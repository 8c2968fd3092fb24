import { existsSync } from 'node:fs'
import Table from 'cli-table3'
import type { Flags } from '../../config/index.js'
import type { AccountReport } from '../admin/reports.js'
import { readConfig } from '../settings.js'
import { createGateway } from '../create-gateway.js'
import { adminCall, nobodyAt } from './admin-call.js'
import { sourceOf, type CommonOptions } from './pool-folder.js'
import { print } from './output.js'

interface Listing {
  readonly accounts: readonly AccountReport[]
  readonly skipped: readonly { readonly file: string; readonly reason: string }[]
  readonly warnings: Listing['skipped']
}

/** `codex-pool accounts`: from the running gateway, or, if none answers, from the files alone. */
export async function showAccounts(options: CommonOptions): Promise<void> {
  const config = await readConfig(sourceOf(options))
  const told = await adminCall<Listing>(config, 'GET', '/admin/accounts')
  const { accounts, skipped, warnings } = told ?? (await fromFiles(options, config.database))
  if (!told) print(`${nobodyAt(config)}: this is what the files tell`)
  print(accounts.length > 0 ? tableOf(accounts) : `no account in ${config.poolDir}`)
  for (const { file, reason } of [...skipped, ...warnings]) print(`${file}: ${reason}`)
}

/** What a gateway that starts now would find. A look leaves no new database behind, and needs none that is in use. */
async function fromFiles(options: CommonOptions, database: string | false): Promise<Listing> {
  const flags = sourceOf(options).flags
  if (database === false || !existsSync(database)) return listingOf(options, { ...flags, database: false })
  return listingOf(options, flags).catch((error: Error & { code?: string }) => {
    if (error.code !== 'database_locked') throw error
    return listingOf(options, { ...flags, database: false })
  })
}

async function listingOf(options: CommonOptions, flags: Flags): Promise<Listing> {
  const env = { ...process.env, PROXY_DISABLE_REFRESH: '1' }
  const gateway = await createGateway(options.config, { env, flags })
  const listing = { accounts: gateway.accounts(), skipped: gateway.skipped(), warnings: gateway.warnings() }
  await gateway.close()
  return listing
}

export function tableOf(accounts: readonly AccountReport[]): string {
  const table = new Table({
    head: [
      'account',
      'provider',
      'plan',
      'state',
      'used',
      'resets (UTC)',
      'requests 24 h',
      'tokens 24 h',
      'why',
    ],
    style: { head: [], border: [] },
    // One line an account.
    chars: { mid: '', 'left-mid': '', 'mid-mid': '', 'right-mid': '' },
  })
  for (const account of accounts) {
    const fullest = [...account.windows].sort((a, b) => (b.usedPercent ?? -1) - (a.usedPercent ?? -1))[0]
    table.push([
      account.id,
      account.provider,
      account.plan ?? account.kind ?? '',
      account.state,
      account.usedPercent === null ? '?' : `${Math.round(account.usedPercent)} %`,
      clock(fullest?.resetsAt),
      account.usage?.last24h.requests ?? 0,
      account.usage?.last24h.totalTokens ?? 0,
      account.reason ?? '',
    ])
  }
  return table.toString()
}

function clock(time: string | undefined): string {
  return time === undefined ? '' : time.slice(0, 16).replace('T', ' ')
}
