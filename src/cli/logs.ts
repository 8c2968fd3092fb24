import { createInterface } from 'node:readline'
import type { Explanation } from '../../middleware/explanation.js'
import type { LogEntry } from '../admin/follow.js'
import { readConfig } from '../settings.js'
import { adminCall, adminStream, noGatewayAt, onOneLine } from './admin-call.js'
import { colours, print, printStyled, refusal } from './output.js'
import { type CommonOptions, sourceOf } from './pool-folder.js'

/** `codex-pool logs`: the last requests; with `--follow` each one as it ends, and what happens to accounts. */
export async function showLogs(options: CommonOptions, { follow, json }: LogsOptions): Promise<void> {
  const config = await readConfig(sourceOf(options))
  const told = await adminCall<{ requests: Explanation[] }>(config, 'GET', '/admin/requests?limit=20')
  if (told === undefined) throw refusal('not_running', `${noGatewayAt(config)}: start it first`)
  const show = (entry: LogEntry) => (json ? print(JSON.stringify(entry)) : printStyled(lineOf(entry)))
  for (const one of told.requests.filter(({ state }) => state !== 'running').toReversed()) show(entryOf(one))
  if (!follow) return
  const stream = await adminStream(config, '/admin/log')
  if (!stream) throw refusal('not_running', `${noGatewayAt(config)}: start it first`)
  for await (const line of createInterface({ input: stream }))
    if (line !== '') show(onOneLine(JSON.parse(line) as LogEntry))
  print('the gateway has stopped')
}

export interface LogsOptions {
  readonly follow?: boolean
  readonly json?: boolean
}

function entryOf(told: Explanation): LogEntry {
  const { id, at, method, path, status = 499, servedBy: account, attempts, durationMs = 0 } = told
  const { model, firstByteMs, client, usage, reason } = told
  const request = { id, method, path, status, account, attempts: attempts.length, durationMs, model }
  return { at, request: { ...request, firstByteMs, client, usage, reason } }
}

/** `15:04:05  200  codex_exec  gpt-5.5  codex/alice  1 attempt  1200 in, 80 out  first byte 1.2 s, 3.4 s` */
export function lineOf(entry: LogEntry): string {
  const date = new Date(entry.at)
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(':')
  if (!entry.request) return colours.warning(`${time}  ${entry.event}`)
  const { status, client, model, path, account, attempts, usage, firstByteMs, durationMs, reason } =
    entry.request
  const first = firstByteMs === undefined ? '' : `first byte ${seconds(firstByteMs)}, `
  const parts = [
    time,
    status,
    client ?? '-',
    model ?? path,
    account ?? 'the gateway',
    `${attempts} ${attempts === 1 ? 'attempt' : 'attempts'}`,
    ...(usage ? [`${usage.inputTokens ?? '?'} in, ${usage.outputTokens ?? '?'} out`] : []),
    `${first}${seconds(durationMs)}`,
    ...(reason === undefined ? [] : [reason]),
  ]
  const line = parts.join('  ')
  return status >= 500 ? colours.bad(line) : status >= 400 ? colours.warning(line) : line
}

const two = (number: number): string => String(number).padStart(2, '0')
const seconds = (ms: number): string => (ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(1)} s`)
