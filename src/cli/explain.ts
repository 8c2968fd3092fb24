import { createInterface } from 'node:readline/promises'
import type { ExplainedPick, Explanation, Numbers } from '../../middleware/explanation.js'
import { readConfig } from '../settings.js'
import type { PoolReport } from '../admin/reports.js'
import { adminCall, noGatewayAt } from './admin-call.js'
import { columns, cut } from './cells.js'
import { colours, print, printJson, printStyled, refusal } from './output.js'
import { sourceOf, type CommonOptions } from './pool-folder.js'
import { creditLines, screenNow } from './status.js'
import { clock, clockAndSpan, span } from './times.js'

interface ExplainOptions {
  readonly last?: boolean
  readonly account?: string
  readonly conversation?: string
  readonly json?: boolean
}

/** Requests in the list. */
const SHOWN = 20

/** `codex-pool explain [ID]`: why a request went where it went; without an ID one of the last requests, or their list. */
export async function explain(
  options: CommonOptions,
  id: string | undefined,
  own: ExplainOptions,
): Promise<void> {
  const config = await readConfig(sourceOf(options))
  const ask = async <T>(path: string): Promise<T> => {
    const told = await adminCall<T>(config, 'GET', path)
    if (told === undefined) throw refusal('not_running', `${noGatewayAt(config)}: start it first`)
    return told
  }
  const explanation =
    id === undefined
      ? await chosen(own, ask)
      : await ask<Explanation>(`/admin/requests/${encodeURIComponent(id)}`)
  if (!explanation) return
  if (own.json) return printJson(explanation)
  const now = Date.now()
  print(linesOf(explanation, now).join('\n'))
  const asked = new Set(explanation.picks.map(({ account }) => account))
  const { accounts } = await ask<PoolReport>('/admin/accounts')
  for (const account of accounts)
    if (asked.has(`${account.provider}/${account.id}`))
      for (const line of creditLines(account, now)) print(line)
}

/** One of the last requests: the last, or the one that is picked at the terminal. Without a terminal they are listed. */
async function chosen(
  { last, account, conversation, json }: ExplainOptions,
  ask: <T>(path: string) => Promise<T>,
): Promise<Explanation | undefined> {
  const query = new URLSearchParams({ limit: String(last ? 1 : SHOWN) })
  if (account !== undefined) query.set('account', account)
  if (conversation !== undefined) query.set('conversation', conversation)
  const { requests } = await ask<{ requests: Explanation[] }>(`/admin/requests?${query}`)
  if (last && requests.length > 0) return requests[0]
  if (json) return void printJson({ requests })
  if (requests.length === 0) {
    print('no such request is remembered')
    return undefined
  }
  const sorted = [...requests.filter(hasFailed), ...requests.filter((one) => !hasFailed(one))]
  printStyled(listOf(sorted))
  if (!process.stdin.isTTY || !process.stdout.isTTY) {
    print('To see one: codex-pool explain ID')
    return undefined
  }
  return sorted[await choice(sorted.length)]
}

async function choice(most: number): Promise<number> {
  const terminal = createInterface({ input: process.stdin, output: process.stdout })
  try {
    const answer = await terminal.question(`Which one (1 to ${most}, Enter: none)? `)
    return Number(answer) - 1
  } finally {
    terminal.close()
  }
}

const hasFailed = ({ state, status = 0 }: Explanation): boolean => state === 'client-left' || status >= 400

function listOf(requests: readonly Explanation[]): string {
  const { now, width } = screenNow()
  const rows = requests.map((one, index) => [
    String(index + 1),
    clock(one.at, now),
    one.state === 'answered' ? String(one.status) : one.state,
    one.servedBy ?? '-',
    one.model ?? one.path,
    one.id,
  ])
  return columns(rows, new Set([0]))
    .map((line, index) => (hasFailed(requests[index]!) ? colours.bad(cut(line, width)) : cut(line, width)))
    .join('\n')
}

function linesOf(explanation: Explanation, now: number): string[] {
  const { method, path, at, route, provider, model, conversation, picks, attempts, status, durationMs } =
    explanation
  return [
    `${method} ${path}  at ${clock(at, now)} (${span(now - Date.parse(at))} ago)`,
    `route ${route}, provider ${provider}, model ${model ?? 'unknown'}, conversation ${conversation ?? 'none'}`,
    ...picks.flatMap((pick) => pickLines(pick, now)),
    ...attempts.map(
      (attempt) =>
        `${attempt.account}: ${attempt.status ?? 'no answer'}, ${attempt.outcome}, ${attempt.durationMs} ms`,
    ),
    `${explanation.state}: ${status ?? '-'} by ${explanation.servedBy ?? 'the gateway'} after ${durationMs ?? '?'} ms`,
    `so: ${sumOf(explanation)}`,
  ]
}

function pickLines({ account, by, numbers, others }: ExplainedPick, now: number): string[] {
  const own = numbers ? `: ${wordsOf(numbers)}` : ''
  const [compared, rest] = [others.filter((other) => other.numbers), others.filter((other) => !other.numbers)]
  const groups = grouped(rest)
  return [
    `asked ${account ?? 'no account'} (${by})${own}`,
    ...compared.slice(0, COMPARED).map((other) => `    not ${other.account}: ${wordsOf(other.numbers!)}`),
    ...(compared.length > COMPARED ? [`    nor ${compared.length - COMPARED} more that were free`] : []),
    ...[...groups].map(([why, members]) => `    ${groupText(why, members, now)}`),
  ]
}

/** Accounts of which the numbers are shown. */
const COMPARED = 5

type Others = ExplainedPick['others']

function grouped(others: Others): Map<string, Others> {
  const groups = new Map<string, Others>()
  for (const other of others) groups.set(other.why, [...(groups.get(other.why) ?? []), other])
  return groups
}

/** `27 others: exhausted until 14:05 (in 2 h 10 min) at the earliest` */
function groupText(why: string, members: Others, now: number): string {
  const [first] = members.flatMap(({ until }) => until ?? []).toSorted()
  const end = first === undefined ? '' : ` until ${clockAndSpan(first, now)}`
  if (members.length === 1) return `not ${members[0]!.account}: ${why}${end}`
  const earliest = first === undefined ? '' : ' at the earliest'
  const names =
    members.length <= 3 ? members.map(({ account }) => account).join(', ') : `${members.length} others`
  return `not ${names}: ${why}${end}${earliest}`
}

function wordsOf({ usedPercent, inFlight, pressure }: Numbers): string {
  return [
    usedPercent === undefined ? 'use not known' : `${Math.round(usedPercent)} % used`,
    `${inFlight} in flight`,
    ...(pressure === undefined ? [] : [`pressure ${pressure}`]),
  ].join(', ')
}

/** Why this account, in one line. */
function sumOf({ picks, attempts, servedBy, status, state, reason }: Explanation): string {
  const pick = picks.findLast(({ account }) => account === servedBy && account !== undefined)
  const tried = attempts.filter(({ account }) => account !== servedBy)
  const before = tried.length > 0 ? `, after ${tried.map(({ account }) => account).join(', ')} could not` : ''
  if (pick) return `${pick.account} ${becauseOf(pick)}${before}`
  if (state === 'running') return 'it runs'
  if (state === 'client-left') return 'the client left before an answer came'
  if (reason !== undefined) return reason
  if (picks.length === 0) return 'the gateway answered by itself, without an account'
  const [last] = attempts.slice(-1)
  if (last) return `no account could serve: the last one, ${last.account}, met ${last.outcome}`
  return `no account was free, so the gateway answered ${status ?? 'nothing'}`
}

function becauseOf({ by, numbers, others }: ExplainedPick): string {
  if (by === 'conversation') return 'served this conversation before, and its prompt cache is there'
  if (by === 'owner') return "is the caller's own account"
  const free = others.filter((other) => other.numbers).length
  if (free === 0) return 'was the only one that was free'
  return `was chosen by ${by} among ${free + 1} that were free${numbers ? ` (${wordsOf(numbers)})` : ''}`
}
