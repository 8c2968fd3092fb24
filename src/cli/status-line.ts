import { get } from 'node:http'
import { type PoolView, poolView } from '../admin/pool-view.js'
import type { PoolReport } from '../admin/reports.js'
import { harmlessLine } from '../telemetry/terminal.js'
import { clock, shortSpan } from './times.js'

/** A prompt waits for it; ms. */
const TIMEOUT_MS = 1_000

/** The pool in a few words, for a prompt or the line of tmux: `codex alice 58% · gemini 14:05 (2h10m)`. */
export function lineOf({ providers, accounts }: PoolView, now: number): string {
  const clauses = providers.map(({ provider, works, on, at, lookAt, because }) => {
    const time = at ?? lookAt
    const when = time === undefined ? '?' : `${clock(time, now)} (${shortSpan(Date.parse(time) - now)})`
    if (works === 'later') return `${provider} ${when}`
    if (works === 'never') return `${provider} ${because === 'disabled' ? 'disabled' : 'login!'}`
    const first = accounts.find(({ id }) => id === on[0])
    const used = Math.max(-1, ...(first?.windows ?? []).map(({ usedPercent }) => usedPercent ?? -1))
    return `${provider} ${on[0]}${works === 'perhaps' ? '?' : ''}${used < 0 ? '' : ` ${Math.round(used)}%`}`
  })
  return clauses.length > 0 ? clauses.join(' · ') : 'no account'
}

/**
 * `codex-pool status --line`, without what other commands load. `undefined` if the gateway has to be looked for in a
 * configuration file, or wants its token.
 * @param address `host:port`
 */
export async function quickLine(address: string): Promise<string | undefined> {
  const told = await answerOf(address)
  if (!told) return 'codex-pool is stopped'
  if (told.status !== 200) return undefined
  const report = JSON.parse(told.text) as PoolReport
  const now = Date.now()
  return harmlessLine(lineOf(poolView(report, now), now))
}

/** `undefined` if nothing answers. */
function answerOf(address: string): Promise<{ status: number; text: string } | undefined> {
  const isSocket = address.startsWith('unix:')
  const { hostname, port } = new URL(isSocket ? 'http://localhost' : `http://${address}`)
  const host = hostname.replace(/^\[|\]$/g, '')
  const socketPath = isSocket ? address.slice('unix:'.length) : undefined
  return new Promise((resolve) => {
    const options = { host, port, socketPath, path: '/admin/accounts', agent: false, timeout: TIMEOUT_MS }
    const request = get(options, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk: string) => void (text += chunk))
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }))
    })
    request.on('timeout', () => request.destroy()).on('error', () => resolve(undefined))
  })
}
