import { describeConfig, proxyOf } from '../../config/index.js'
import { declarations, unmatched } from '../accounts/declared.js'
import { useOf } from '../admin/reports.js'
import { print, warn } from './output.js'
import { type CommonOptions, readPoolFolder } from './pool-folder.js'

/** `codex-pool check`: status 2 and every problem, or the configuration as it will run. No secret. */
export async function check(options: CommonOptions): Promise<void> {
  const { config, accounts } = await readPoolFolder(options)
  const used = accounts.map((account): [string, object] => {
    const proxy = account.declared.proxy ?? proxyOf(config.providers[account.provider], account.id)
    return [account.id, { provider: account.provider, ...useOf(account), proxy }]
  })
  const resolved = { ...config, resolvedAccounts: Object.fromEntries(used) }
  print(JSON.stringify(describeConfig(resolved), null, 2))
  const ids = accounts.map(({ id }) => id)
  for (const { file, reason } of unmatched(ids, declarations(config.accounts))) warn(`${file}: ${reason}`)
}
