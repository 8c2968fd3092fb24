import type { IncomingHttpHeaders } from 'node:http'
import type { Exhaustion, UpstreamAnswer, Verdict } from '../config/provider.js'

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
  return base.replace(/(?<!\/)\/+$/, '') + path
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

/** One amount of a duration, with what joins it to the next. */
const AMOUNT =
  /(\d{1,20}(?:\.\d{1,20})?) ?(ms|d(?:ays?)?|h(?:(?:ou)?rs?)?|m(?:in(?:ute)?s?)?|s(?:ec(?:ond)?s?)?)(?![a-z])(?:,? (?:and )?)?/iy

/** No limit is longer than a year; a longer wait would end beyond what `Date` can show. */
const LONGEST_WAIT_MS = 366 * 86_400_000

/** The duration that a text begins with, and where it ends. */
function leadingDuration(text: string): { ms: number | undefined; end: number } {
  let ms: number | undefined
  AMOUNT.lastIndex = 0
  let end = 0
  for (let match = AMOUNT.exec(text); match; match = AMOUNT.exec(text)) {
    const unit = match[2]!.toLowerCase()
    ms = (ms ?? 0) + Number(match[1]) * UNIT_MS[unit === 'ms' ? unit : unit[0]!]!
    end = AMOUNT.lastIndex
  }
  return { ms: ms && Math.min(Math.ceil(ms), LONGEST_WAIT_MS), end }
}

/** `9h22m20s`, `1.5s`, `250ms`, `20 seconds`, `5 min` or `33740.910400305s` in ms; a year at most. */
export function durationMs(value: unknown): number | undefined {
  const text = typeof value === 'string' ? value.trim() : ''
  const { ms, end } = leadingDuration(text)
  return end === text.length ? ms : undefined
}

const HINT =
  /(?:(?:try(?: again)?|resets?|available(?: again)?) (?:in|after)|wait(?: for)?|retry-after:?) (?:about )?/gi

/** How much of an error message is searched. A real one names its wait within the first lines. */
const LONGEST_MESSAGE = 4_096

/** The wait that an error message names: "Please try again in 1.5s", "Resets in 9h22m20s." */
export function waitInMessage(message: string | undefined): number | undefined {
  const text = message?.slice(0, LONGEST_MESSAGE) ?? ''
  for (const { index, 0: hint } of text.matchAll(HINT)) {
    const { ms } = leadingDuration(text.slice(index + hint.length))
    if (ms !== undefined) return ms
  }
  return undefined
}

/** `Retry-After` in ms from now: seconds or an HTTP date (RFC 9110 §10.2.3). `undefined` for anything else. */
export function retryAfterMs(value: string | undefined, now: number = Date.now()): number | undefined {
  const trimmed = value?.trim() ?? ''
  if (trimmed.length > 64) return undefined
  if (/^\d+(\.\d+)?$/.test(trimmed)) return Math.min(Math.round(Number(trimmed) * 1000), LONGEST_WAIT_MS)
  // Date.parse alone would take "1.5s" or "-3" for a date.
  if (!/^[A-Za-z]{3,9},? /.test(trimmed)) return undefined
  const at = Date.parse(trimmed)
  return Number.isNaN(at) ? undefined : Math.min(Math.max(0, at - now), LONGEST_WAIT_MS)
}

/** `Retry-After`, or the same in ms under the name that OpenAI's and Azure's clients know. */
export function waitIn(headers: IncomingHttpHeaders, now: number = Date.now()): number | undefined {
  const ms = Number(header(headers, 'retry-after-ms') ?? 0)
  return (
    retryAfterMs(header(headers, 'retry-after'), now) ?? (ms > 0 && ms < LONGEST_WAIT_MS ? ms : undefined)
  )
}

/** The upstream's own sentence in the reason of a verdict, which is a stable word and that sentence: `code: Sentence.` */
export function sentenceIn(reason: string | undefined): string | undefined {
  return /^[\w.-]+: (.+)/.exec(reason ?? '')?.[1]
}

/** The accounts that are exhausted, as the beginning of a sentence that goes on with a verb in the singular. */
export function exhaustedOnes({ resource }: Exhaustion): string {
  return resource === undefined ? 'Every account of the pool' : `The account that has "${resource}"`
}

/** Judges an answer by its status alone, as RFC 9110 defines it. */
export function statusVerdict(answer: UpstreamAnswer): Verdict {
  const { status } = answer
  const reason = `http_${status}`
  const wait = waitIn(answer.headers)
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
