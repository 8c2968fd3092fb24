import type { IncomingHttpHeaders } from 'node:http'
import type { UpstreamAnswer, Verdict } from '../config/provider.js'

/** A header's value; the first one if the header came more than once. */
export function header(headers: IncomingHttpHeaders, name: string): string | undefined {
  const value = headers[name]
  const first = Array.isArray(value) ? value[0] : value
  return first === undefined || first === '' ? undefined : first
}

/** Whether a value can stand in a header. A token with a line break in it would make every request throw. */
export function fitsHeader(value: string): boolean {
  return /^[\x21-\x7e]+$/.test(value)
}

/** Joins a base address and a path that is empty or begins with `/`. */
export function join(base: string, path: string): string {
  return base.replace(/\/+$/, '') + path
}

/** The query of a URL with its `?`; empty if there is none. */
export function queryOf(url: string): string {
  const at = url.indexOf('?')
  return at < 0 ? '' : url.slice(at)
}

/**
 * A path as the upstream will understand it: without doubled slashes and needless escapes. Else `/ps/%6dcp`, which is
 * `/ps/mcp` (RFC 3986 §6.2.2.2), would slip past a rule about that path.
 */
export function normalPath(path: string): string {
  const plain = path.replace(/%([2-7][0-9a-f])/gi, (escaped, hex: string) => {
    const character = String.fromCharCode(Number.parseInt(hex, 16))
    return /[\w.~-]/.test(character) ? character : escaped
  })
  return plain.replace(/\/{2,}/g, '/')
}

const UNIT_MS: Readonly<Record<string, number>> = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1000, ms: 1 }

/** `9h22m20s`, `1.5s`, `250ms`, `20 seconds` or `33740.910400305s` in ms. */
export function durationMs(value: unknown): number | undefined {
  if (typeof value !== 'string') return undefined
  const text = value
    .trim()
    .replace(/ *(day|hour|minute|second)s?,? */gi, (_, unit: string) => unit[0]!.toLowerCase())
  if (!/^(\d+(\.\d+)?(ms|[dhms]))+$/.test(text)) return undefined
  const parts = text.matchAll(/(\d+(?:\.\d+)?)(ms|[dhms])/g)
  return Math.ceil([...parts].reduce((sum, [, amount, unit]) => sum + Number(amount) * UNIT_MS[unit!]!, 0))
}

const AMOUNT = String.raw`((?:\d+(?:\.\d+)?(?:ms|[dhms]| *(?:day|hour|minute|second)s?),? *)+)`
const HINT = new RegExp(String.raw`(?:retry in|try again in|resets? in|resets? after) ${AMOUNT}`, 'i')

/** The wait that an error message names: "Please try again in 1.5s", "Resets in 9h22m20s." */
export function waitInMessage(message: string | undefined): number | undefined {
  return durationMs(HINT.exec(message ?? '')?.[1])
}

/** `Retry-After` in ms from now: seconds or an HTTP date (RFC 9110 §10.2.3). `undefined` for anything else. */
export function retryAfterMs(value: string | undefined, now: number = Date.now()): number | undefined {
  if (value === undefined) return undefined
  const trimmed = value.trim()
  if (/^\d+(\.\d+)?$/.test(trimmed)) return Math.round(Number(trimmed) * 1000)
  // Date.parse alone would take "1.5s" or "-3" for a date.
  if (!/^[A-Za-z]{3,9},? /.test(trimmed)) return undefined
  const at = Date.parse(trimmed)
  return Number.isNaN(at) ? undefined : Math.max(0, at - now)
}

/** Judges an answer by its status alone, as RFC 9110 defines it. */
export function statusVerdict(answer: UpstreamAnswer): Verdict {
  const { status } = answer
  const reason = `http_${status}`
  const wait = retryAfterMs(header(answer.headers, 'retry-after'))
  if (status === 401) return { kind: 'unauthorized', reason }
  if (status === 402) return { kind: 'exhausted', reason }
  if (status === 403)
    return isPage(answer) ? { kind: 'unavailable', reason: 'challenge_page' } : { kind: 'refused', reason }
  if (status === 429) return { kind: 'cooling', reason, retryAfterMs: wait }
  if (status === 408 || status >= 500) return { kind: 'unavailable', reason, retryAfterMs: wait }
  return { kind: 'pass' }
}

/** An HTML page, such as a challenge of the network in front of the upstream: it says nothing about the account. */
export function isPage({ headers, body }: UpstreamAnswer): boolean {
  if (header(headers, 'cf-mitigated') !== undefined) return true
  return /^text\/html\b/i.test(header(headers, 'content-type') ?? '') || /^\s*<(!doctype|html)/i.test(body)
}
