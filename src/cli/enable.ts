import type { AccountReport } from '../admin/account-report.js'
import { readConfig } from '../config-source.js'
import { createGateway } from '../create-gateway.js'
import { adminCall } from './admin-call.js'
import { accountById, readPoolFolder } from './pool-folder.js'
import { refusal } from './refusal.js'
import { sourceOf, type CommonOptions } from './options.js'
import { print } from './print.js'

/** `codex-pool enable ID`, `codex-pool disable ID`: by the running gateway, or, if none answers, in its state store. */
export async function setDisabled(options: CommonOptions, id: string, disabled: boolean): Promise<void> {
  const config = await readConfig(sourceOf(options))
  const path = `/admin/accounts/${encodeURIComponent(id)}/${disabled ? 'disable' : 'enable'}`
  const report =
    (await adminCall<AccountReport>(config, 'POST', path)) ?? (await inStore(options, id, disabled))
  print(disabled ? `${id} is disabled: no request goes to it` : `${id} is enabled: it is ${report.state}`)
}

async function inStore(options: CommonOptions, id: string, disabled: boolean): Promise<AccountReport> {
  const pool = await readPoolFolder(options)
  accountById(pool, id)
  if (pool.config.database === false)
    throw refusal('no_state', 'no gateway answers, and with database: false there is nowhere to keep it')
  const env = { ...process.env, PROXY_DISABLE_REFRESH: '1' }
  const gateway = await createGateway(options.config, { env, flags: sourceOf(options).flags })
  try {
    return gateway.setDisabled(id, disabled)!
  } finally {
    await gateway.close()
  }
}
