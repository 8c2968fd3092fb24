import { setTimeout as delay } from 'node:timers/promises'
import { accountView, poolView } from '../admin/pool-view.js'
import type { AccountReport } from '../admin/reports.js'
import { noGatewayAt } from './admin-call.js'
import { cut } from './cells.js'
import { colours, print, printJson, printStyled, redraw, refusal } from './output.js'
import type { CommonOptions } from './pool-folder.js'
import { readPool } from './pool-report.js'
import { lineOf } from './status-line.js'
import { accountLines, type Screen, statusLines } from './status-screen.js'
import { clockAndSpan } from './times.js'

export interface StatusOptions {
  readonly json?: boolean
  readonly watch?: boolean
  readonly line?: boolean
}

/** How often `--watch` looks; ms. */
const WATCH_MS = 2_000

/** `codex-pool status`, and `codex-pool accounts` without an id. */
export async function showStatus(options: CommonOptions, own: StatusOptions): Promise<void> {
  if (own.json) return printJson(await viewOf(options))
  if (own.line) return showLine(options)
  if (!own.watch) return printStyled((await screenOf(options)).join('\n'))
  if (!process.stdout.isTTY) throw refusal('no_terminal', '--watch needs a terminal; use --json in a script')
  const screen = redraw()
  for (;;) {
    screen.show(await screenOf(options))
    await delay(WATCH_MS, undefined, { signal: screen.left }).catch(() => {})
    if (screen.left.aborted) return screen.leave()
  }
}

/** `codex-pool accounts [ID]` */
export async function showAccounts(
  options: CommonOptions,
  id: string | undefined,
  own: StatusOptions,
): Promise<void> {
  if (id === undefined) return showStatus(options, own)
  const { report, config, running } = await readPool(options)
  const account = report.accounts.find((one) => one.id === id)
  if (!account) {
    const ids = report.accounts.map((one) => one.id).join(', ')
    throw refusal(
      'unknown_account',
      `there is no account "${id}" in ${config.poolDir}. There are: ${ids || 'none'}`,
    )
  }
  const screen = screenNow()
  const view = accountView(account, screen.now)
  if (own.json) return printJson({ ...view, report: account })
  if (!running) print(`${noGatewayAt(config)}: this is what the files tell`)
  printStyled([...accountLines(view, screen), ...useLines(account, screen)].join('\n'))
}

async function viewOf(options: CommonOptions): Promise<object> {
  const { report, running } = await readPool(options)
  const { skipped, warnings } = report
  return { running, ...poolView(report, Date.now()), skipped, warnings }
}

async function showLine(options: CommonOptions): Promise<void> {
  const { report, running } = await readPool(options)
  const now = Date.now()
  print(running ? lineOf(poolView(report, now), now) : 'codex-pool is stopped')
}

async function screenOf(options: CommonOptions): Promise<string[]> {
  const { report, config, running } = await readPool(options)
  const screen = screenNow()
  const files = [...report.skipped, ...report.warnings].map(({ file, reason }) => `${file}: ${reason}`)
  const stopped = `${noGatewayAt(config)}, so no client can work. Start it: codex-pool. This is what the files tell:`
  const empty = `No: there is no account in ${config.poolDir}. Add one: codex-pool login codex, or codex-pool add FILE`
  return [
    ...(running ? [] : [screen.palette.bad(stopped)]),
    ...(report.accounts.length > 0
      ? statusLines(poolView(report, screen.now), screen)
      : [screen.palette.bad(empty)]),
    ...report.accounts.flatMap((account) => creditLines(account, screen.now)),
    ...files.map((line) => screen.palette.warning(cut(line, screen.width))),
  ]
}

/** Without a terminal the lines are as wide as the one that most programs assume. */
export function screenNow(): Screen {
  const told = Number(process.env.COLUMNS)
  const width = process.stdout.columns || (told > 0 ? told : 80)
  return { width: Math.max(24, width), now: Date.now(), palette: colours }
}

function useLines(report: AccountReport, { now }: Screen): string[] {
  const { order, reserve, concurrency, group, inFlight, lastUsedAt, tokenExpiresAt, usage } = report
  const declared = { order, reserve, concurrency, group }
  const shown = Object.entries(declared).flatMap(([name, value]) =>
    value === undefined ? [] : `${name} ${value}`,
  )
  const { requests = 0, totalTokens = 0 } = usage?.last24h ?? {}
  return [
    `  ${shown.join(', ')}`,
    `  in 24 h: ${requests} requests, ${totalTokens} tokens; now: ${inFlight} requests`,
    ...(lastUsedAt === undefined ? [] : [`  last used at ${clockAndSpan(lastUsedAt, now)}`]),
    ...(tokenExpiresAt === undefined ? [] : [`  access token ends at ${clockAndSpan(tokenExpiresAt, now)}`]),
    ...report.cooldowns.map(
      ({ model, kind, until }) =>
        `  ${model ?? 'all models'}: ${kind}, asked again at ${clockAndSpan(until, now)}`,
    ),
    ...creditLines(report, now).map((line) => `  ${line}`),
  ]
}

/** An account's credits and reset credits, in words. */
export function creditLines({ id, credits, onCredits, resetCredits }: AccountReport, now: number): string[] {
  const balance = credits?.unlimited ? 'unlimited' : (credits?.balance ?? 'some')
  const has = credits?.hasCredits || credits?.unlimited
  const inUse = onCredits ? ', and serves on them' : ''
  const [first] = resetCredits.flatMap(({ expiresAt }) => expiresAt ?? []).sort()
  const until = first === undefined ? '' : `, the first until ${clockAndSpan(first, now)}`
  const use = `To use one: codex-pool accounts redeem ${id}`
  return [
    ...(has ? [`${id} has credits (${balance})${inUse}`] : []),
    ...(resetCredits.length > 0 ? [`${id} has reset credits: ${resetCredits.length}${until}. ${use}`] : []),
  ]
}
