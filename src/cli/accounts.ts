import Table from 'cli-table3'
import type { AccountReport } from '../admin/account-report.js'
import { readConfig } from '../config-source.js'
import { createGateway } from '../create-gateway.js'
import { adminCall } from './admin-call.js'
import type { CommonOptions } from './main.js'
import { flagsOf, print } from './serve.js'

interface Listing {
  readonly accounts: readonly AccountReport[]
  readonly skipped: readonly { readonly file: string; readonly reason: string }[]
}

/** `codex-pool accounts`: from the running gateway, or, if none answers, from the files alone. */
export async function showAccounts(options: CommonOptions): Promise<void> {
  const source = { config: options.config, cwd: process.cwd(), env: process.env, flags: flagsOf(options) }
  const config = await readConfig(source)
  const { accounts, skipped } =
    (await adminCall<Listing>(config, 'GET', '/admin/accounts')) ?? (await fromFiles(options))
  print(accounts.length > 0 ? tableOf(accounts) : `no account in ${config.poolDir}`)
  for (const { file, reason } of skipped) print(`${file}: ${reason}`)
}

async function fromFiles(options: CommonOptions): Promise<Listing> {
  const env = { ...process.env, PROXY_DISABLE_REFRESH: '1' }
  const gateway = await createGateway(options.config, {
    env,
    flags: { ...flagsOf(options), database: false },
  })
  const listing = { accounts: gateway.accounts(), skipped: gateway.skipped() }
  await gateway.close()
  return listing
}

export function tableOf(accounts: readonly AccountReport[]): string {
  const table = new Table({
    head: ['account', 'provider', 'plan', 'state', 'used', 'resets', 'requests 24 h', 'tokens 24 h', 'why'],
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
