import { lstat } from 'node:fs/promises'
import type { AccountReport } from '../admin/reports.js'
import { createGateway } from '../create-gateway.js'
import { readConfig } from '../settings.js'
import { adminCall, tellGateway } from './admin-call.js'
import { removeFromPool } from './newcomer.js'
import { print, refusal } from './output.js'
import { accountById, type CommonOptions, readPoolFolder, sourceOf } from './pool-folder.js'

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

/** `codex-pool remove ID`: deletes an account's credential file. */
export async function remove(options: CommonOptions, id: string): Promise<void> {
  const pool = await readPoolFolder(options)
  const { file, provider } = accountById(pool, id)
  const isLink = (await lstat(file)).isSymbolicLink()
  let told = ''
  await removeFromPool(file, async () => void (told = await tellGateway(pool.config)))
  print(
    `${id} (${provider}) left the pool: ${file} is deleted${isLink ? '; the file it pointed to is not' : ''}.`,
  )
  print(told)
}
