import type { Grouping, UsageRow } from '../usage/report.js'
import { plus } from '../usage/rollups.js'
import { bar, columns } from './cells.js'
import { print, printJson, refusal } from './output.js'
import type { CommonOptions } from './pool-folder.js'
import { read } from './pool-report.js'
import { dayOf } from './times.js'

export interface UsageOptions {
  /** `24h`, `7d` */
  readonly since: string
  readonly by: string
  readonly json?: boolean
}

const HOURS = { h: 1, d: 24 } as const
const choices: readonly string[] = ['day', 'hour', 'account', 'model', 'provider']

/** `codex-pool usage`: requests and tokens, as the upstreams counted them. */
export async function showUsage(options: CommonOptions, { since, by, json }: UsageOptions): Promise<void> {
  const [, count = '', unit = ''] = /^(\d{1,4})([hd])$/.exec(since) ?? []
  if (unit === '')
    throw refusal('bad_option', `--since ${since}: use a number of hours or days, such as 24h or 7d`)
  if (!choices.includes(by)) throw refusal('bad_option', `--by ${by}: use one of ${choices.join(', ')}`)
  const from = Date.now() - Number(count) * HOURS[unit as keyof typeof HOURS] * 3_600_000
  // Days are those of the viewer's clock.
  const grouping = (by === 'day' ? 'hour' : by) as Grouping
  const path = `/admin/usage?by=${grouping}&since=${new Date(from).toISOString()}`
  const { report } = await read(options, path, (gateway) => ({ usage: gateway.usage(grouping, from) }))
  const rows = by === 'day' ? byDay(report.usage) : report.usage
  if (json) return printJson({ by, since: new Date(from).toISOString(), usage: rows })
  print(rows.length > 0 ? tableOf(rows, by).join('\n') : `nothing was used in the last ${since}`)
  print(NOT_COUNTED)
}

const NOT_COUNTED =
  'Not counted: what clients use past this gateway, answers of the gateway by itself, its own polls, tokens of answers\n' +
  'that tell none, and what is older than 30 days. Cached tokens are part of the input, reasoning of the output.'

function byDay(rows: readonly UsageRow[]): UsageRow[] {
  const days = new Map<string, UsageRow>()
  for (const row of rows) {
    const key = dayOf(new Date(row.key))
    const day = days.get(key)
    days.set(key, day ? added(day, row) : { ...row, key })
  }
  return [...days.values()]
}

const added = (a: UsageRow, b: UsageRow): UsageRow => ({ key: a.key, ...plus(a, b) })

function tableOf(rows: readonly UsageRow[], by: string): string[] {
  const most = Math.max(1, ...rows.map(({ totalTokens }) => totalTokens))
  const all = rows.length > 1 ? [{ ...rows.reduce(added), key: 'all' }] : []
  const cells = [...rows, ...all].map((row) => [
    by === 'hour' && row.key !== 'all' ? hourOf(row.key) : row.key,
    row.key === 'all' ? '' : bar((row.totalTokens / most) * 100, 8),
    ...[row.requests, row.inputTokens].map(short),
    row.inputTokens > 0 ? `${Math.round((row.cachedTokens / row.inputTokens) * 100)}%` : '',
    ...[row.outputTokens, row.reasoningTokens].map(short),
  ])
  const head = [by, '', 'requests', 'input', 'cached', 'output', 'reasoning']
  return columns([head, ...cells], new Set([2, 3, 4, 5, 6]))
}

function hourOf(iso: string): string {
  const date = new Date(iso)
  return `${dayOf(date)} ${String(date.getHours()).padStart(2, '0')}:00`
}

function short(number: number): string {
  if (number < 10_000) return String(number)
  return number < 10_000_000 ? `${Math.round(number / 1000)}k` : `${Math.round(number / 1_000_000)}M`
}
