import { lstat, rm } from 'node:fs/promises'
import type { AccountReport, PoolReport } from '../admin/reports.js'
import { RECOVERY } from '../credentials/durable-file.js'
import { readConfig } from '../settings.js'
import { adminCall, noGatewayAt, tellGateway } from './admin-call.js'
import { askYesNo, isAsked } from './ask.js'
import { print, refusal } from './output.js'
import { accountById, type CommonOptions, readPoolFolder, sourceOf, underLock } from './pool-folder.js'
import { inGateway } from './pool-report.js'

/** `codex-pool accounts retry [ID]`: looks again at an account, or at all, whatever is known against it. */
export async function retry(options: CommonOptions, id: string | undefined): Promise<void> {
  const path = id === undefined ? '/admin/accounts/retry' : `/admin/accounts/${encodeURIComponent(id)}/retry`
  const told = await ofRunning<AccountReport | Pick<PoolReport, 'accounts'>>(options, path)
  for (const account of 'accounts' in told ? told.accounts : [told])
    print(`${account.id} is looked at again: it is ${account.state}`)
}

/** `codex-pool accounts redeem ID`: uses up the reset credit that expires soonest. */
export async function redeem(options: CommonOptions, id: string): Promise<void> {
  const report = await ofRunning<AccountReport>(options, `/admin/accounts/${encodeURIComponent(id)}/redeem`)
  print(
    `${id}: a reset credit is redeemed; it is ${report.state}, and has ${report.resetCredits.length} left`,
  )
}

async function ofRunning<T>(options: CommonOptions, path: string): Promise<T> {
  const config = await readConfig(sourceOf(options))
  const told = await adminCall<T>(config, 'POST', path)
  if (told === undefined) throw refusal('not_running', `${noGatewayAt(config)}: start it first`)
  return told
}

/** `codex-pool disable ID` */
export async function disable(options: CommonOptions, id: string): Promise<void> {
  await setDisabled(options, id, true)
  print(`${id} is disabled: no request goes to it`)
}

/** `codex-pool enable ID` */
export async function enable(options: CommonOptions, id: string): Promise<void> {
  const { state } = await setDisabled(options, id, false)
  print(`${id} is enabled: it is ${state}`)
}

/** Through the running gateway, or, if none answers, in its state store. */
async function setDisabled(options: CommonOptions, id: string, disabled: boolean): Promise<AccountReport> {
  const pool = await readPoolFolder(options)
  const path = `/admin/accounts/${encodeURIComponent(id)}/${disabled ? 'disable' : 'enable'}`
  const report = await adminCall<AccountReport>(pool.config, 'POST', path)
  if (report) return report
  accountById(pool, id)
  if (pool.config.database === false)
    throw refusal('no_state', 'no gateway answers, and with database: false there is nowhere to keep it')
  return inGateway(options, (gateway) => gateway.setDisabled(id, disabled)!)
}

/** `codex-pool remove ID`: deletes an account's credential file. */
export async function remove(options: CommonOptions, id: string, { yes }: { yes?: boolean }): Promise<void> {
  const pool = await readPoolFolder(options)
  const { file, provider } = accountById(pool, id)
  if (!yes && !isAsked())
    throw refusal('not_confirmed', `this deletes ${file}, and the login in it: codex-pool remove ${id} --yes`)
  if (!yes && !(await askYesNo(`Delete ${file}, and the login in it?`, false)))
    return print('nothing is deleted')
  const kept = (await lstat(file)).isSymbolicLink() ? '; the file it pointed to is not' : ''
  await underLock(file, async () => {
    await rm(file)
    await rm(`${file}${RECOVERY}`, { force: true })
    print(`${id} (${provider}) left the pool: ${file} is deleted${kept}.`)
    // Under the lock: a gateway that still holds the account would refresh its login, and write the file again.
    print(await tellGateway(pool.config))
  })
}
