import { existsSync } from 'node:fs'
import { lstat, rm } from 'node:fs/promises'
import Table from 'cli-table3'
import type { Flags } from '../../config/index.js'
import { type AccountReport, type OutlookReport, type PoolReport, poolReport } from '../admin/reports.js'
import { createGateway } from '../create-gateway.js'
import { RECOVERY } from '../credentials/durable-file.js'
import type { Gateway } from '../gateway.js'
import { readConfig } from '../settings.js'
import { adminCall, noGatewayAt, onOneLine, tellGateway } from './admin-call.js'
import { creditLines, minute } from './explain.js'
import { print, refusal } from './output.js'
import { accountById, type CommonOptions, readPoolFolder, sourceOf, underLock } from './pool-folder.js'

/** `codex-pool accounts`: from the running gateway, or, if none answers, from the files alone. */
export async function showAccounts(options: CommonOptions): Promise<void> {
  const config = await readConfig(sourceOf(options))
  const told = await adminCall<PoolReport>(config, 'GET', '/admin/accounts')
  const { accounts, forecast, skipped, warnings } =
    told ?? onOneLine(await listingOfFiles(options, config.database))
  if (!told) print(`${noGatewayAt(config)}: this is what the files tell`)
  print(accounts.length > 0 ? tableOf(accounts) : `no account in ${config.poolDir}`)
  for (const line of forecastLines(accounts, forecast)) print(line)
  for (const line of accounts.flatMap(creditLines)) print(line)
  for (const { file, reason } of [...skipped, ...warnings]) print(`${file}: ${reason}`)
}

/** The accounts that a gateway started now would find. Makes no database, and does not open one that is in use. */
async function listingOfFiles(options: CommonOptions, database: string | false): Promise<PoolReport> {
  const withoutDatabase = () => inGateway(options, poolReport, { database: false })
  if (database === false || !existsSync(database)) return withoutDatabase()
  return inGateway(options, poolReport).catch((error: Error & { code?: string }) => {
    if (error.code !== 'database_locked') throw error
    return withoutDatabase()
  })
}

/** Asks a gateway in this process, which serves no requests and calls no upstream. */
async function inGateway<T>(
  options: CommonOptions,
  ask: (gateway: Gateway) => T,
  flags: Flags = {},
): Promise<T> {
  const env = { ...process.env, PROXY_DISABLE_REFRESH: '1' }
  const gateway = await createGateway(options.config, {
    env,
    flags: { ...sourceOf(options).flags, ...flags },
  })
  try {
    return ask(gateway)
  } finally {
    await gateway.close()
  }
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
    // No line between two accounts.
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
      fullest?.resetsAt === undefined ? '' : minute(fullest.resetsAt),
      account.usage?.last24h.requests ?? 0,
      account.usage?.last24h.totalTokens ?? 0,
      whyNotReady(account),
    ])
  }
  return table.toString()
}

/** What is to be expected of each account, of each provider with several of them, and of the pool. */
export function forecastLines(
  accounts: PoolReport['accounts'],
  { providers, pool }: PoolReport['forecast'],
): string[] {
  const shared = Object.entries(providers).filter(([, outlook]) => outlook.accounts! > 1)
  return [
    ...accounts.flatMap(({ id, forecast = [] }) => forecast.map((outlook) => outlookLine(id, outlook))),
    ...shared.map(([name, outlook]) => outlookLine(name, outlook)),
    ...(pool && Object.keys(providers).length > 1 ? [outlookLine('the pool', pool)] : []),
  ]
}

function outlookLine(name: string, outlook: OutlookReport): string {
  const { window, model, accounts, percentPerHour, runsDryAt, unusedPercent, resetsAt, asOf } = outlook
  const of =
    accounts === undefined ? `${window}${model === undefined ? '' : ` (${model})`}` : `${accounts} accounts`
  const end =
    runsDryAt === undefined
      ? `${unusedPercent} % will expire unused by ${minute(resetsAt)} UTC`
      : `runs dry at ${minute(runsDryAt)} UTC`
  return `${name}, ${of}: ${percentPerHour} %/h, ${end} (as of ${minute(asOf)} UTC)`
}

function whyNotReady({ reason, cooldowns }: AccountReport): string {
  const ofModels = cooldowns.flatMap(({ model, reason }) =>
    model === undefined ? [] : [`${model}: ${reason}`],
  )
  return reason ?? ofModels.join('; ')
}

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
export async function remove(options: CommonOptions, id: string): Promise<void> {
  const pool = await readPoolFolder(options)
  const { file, provider } = accountById(pool, id)
  const kept = (await lstat(file)).isSymbolicLink() ? '; the file it pointed to is not' : ''
  await underLock(file, async () => {
    await rm(file)
    await rm(`${file}${RECOVERY}`, { force: true })
    print(`${id} (${provider}) left the pool: ${file} is deleted${kept}.`)
    // Under the lock: a gateway that still holds the account would refresh its login, and write the file again.
    print(await tellGateway(pool.config))
  })
}
