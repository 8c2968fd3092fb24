import type { IncomingHttpHeaders } from 'node:http'
import { durationMs, header, waitIn as headerWait, waitInMessage } from '../http.js'
import { number, text } from '../json.js'

/** All values that an error has under one of these names, the innermost first. */
type All = (names: readonly string[]) => unknown[]

const RESETS_AT = [
  'resets_at',
  'reset_at',
  'resetsAt',
  'resetAt',
  'reset_time',
  'resetTime',
  'resets_at_ms',
  'reset_at_ms',
]
const RESETS_IN = [
  'resets_in_seconds',
  'reset_after_seconds',
  'resets_in',
  'reset_in',
  'resetsIn',
  'resetsInSeconds',
  'resetAfterSeconds',
]
const RESETS_IN_MS = ['resets_in_ms', 'reset_after_ms', 'resetsInMs', 'resetAfterMs']

/** When the limit ends; ms since 1970. */
export function resetFrom(all: All, now: number): number | undefined {
  const at = all(RESETS_AT).map((value) => timeOf(value, now))
  const after = all(RESETS_IN).map((value) => distanceOf(value, now))
  const afterMs = all(RESETS_IN_MS).map((value) => distanceOf((number(value) ?? 0) / 1000, now))
  return [...at, ...after, ...afterMs].find((time) => time !== undefined)
}

/** How long an error asks to wait; ms. */
export function waitFrom(all: All): number | undefined {
  const ms = all(['retry_after_ms', 'retryAfterMs', 'wait_ms'])
    .map(number)
    .find((one) => one !== undefined && one > 0)
  if (ms !== undefined) return ms
  const told = all(['retry_after', 'retry_after_seconds', 'retryAfter', 'retry_delay', 'retryDelay'])
  return told.map((value) => distanceOf(value, 0)).find((one) => one !== undefined)
}

/** The wait that headers tell, or the reset of the limit of which nothing is left (OpenAI, "Rate limits"); ms. */
export function waitInHeaders(headers: IncomingHttpHeaders, now: number): number | undefined {
  const spent = ['requests', 'tokens'].find(
    (what) => header(headers, `x-ratelimit-remaining-${what}`) === '0',
  )
  return headerWait(headers, now) ?? durationMs(header(headers, `x-ratelimit-reset-${spent ?? ''}`))
}

/** The last day that `Date` knows; ms. */
const LATEST = 8.64e15

/** A time in seconds or milliseconds since 1970, as an ISO date, or in words; ms since 1970. */
function timeOf(value: unknown, now: number): number | undefined {
  const told = number(value)
  if (told === undefined) {
    const given = text(value) ?? ''
    return dateIn(given) ?? distanceOf(given, now)
  }
  // As seconds since 1970 this would be before 2001, so it is a number of seconds from now.
  if (told > 0 && told < 1e9) return now + told * 1000
  // In seconds, 1e11 is the year 5138; in milliseconds, the year 1973.
  const time = told >= 1e11 ? told : told * 1000
  return told > 0 && time <= LATEST ? time : undefined
}

/** Seconds from now, as a number or in words; ms since 1970. */
function distanceOf(value: unknown, now: number): number | undefined {
  const seconds = number(value)
  const ms = seconds === undefined ? durationMs(spelledOut(text(value) ?? '')) : seconds * 1000
  return ms !== undefined && ms > 0 && now + ms <= LATEST ? now + ms : undefined
}

/** "in 2 weeks" and "an hour" as numbers of days and hours. */
function spelledOut(given: string): string {
  return given
    .replace(/^\s*(?:in|after|about) /i, '')
    .replace(/\b(an?|one) (?=(week|day|hour|minute|second)\b)/gi, '1 ')
    .replace(/\b(\d{1,4}) ?(?:w|wks?|weeks?)\b/gi, (_, weeks: string) => `${Number(weeks) * 7} days`)
}

/** The wait that a text for people names; ms. */
export function waitIn(message: string): number | undefined {
  return waitInMessage(spelledOut(message))
}

/** The reset that a message names: "try again at Dec 1st, 2026 9:14 AM UTC", "resets in 3 days 4 hours"; ms since 1970. */
export function timeIn(message: string, now: number): number | undefined {
  const hint = /\b(?:again|resets?|until|available|back|renews?)\b(.{0,80})/is.exec(message)?.[1]
  const date = hint === undefined ? undefined : dateIn(hint)
  const wait = waitIn(message)
  return date ?? (wait === undefined ? undefined : now + wait)
}

const ISO = /\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?: ?(?:Z|UTC|GMT|[+-]\d{2}:?\d{2}))?/i
const UNIX = /\b\d{10}(?:\d{3})?\b/
const MONTH = String.raw`(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\.?`
const CLOCK = String.raw`(?:,? (?:at )?\d{1,2}:\d{2}(?::\d{2})?(?: ?[ap]\.?m\.?)?(?: ?\(?(?:UTC|GMT|Z)\)?)?)?`
const WORDS = new RegExp(
  String.raw`${MONTH} \d{1,2}(?:st|nd|rd|th)?,? \d{4}${CLOCK}|\d{1,2}(?:st|nd|rd|th)? ${MONTH},? \d{4}${CLOCK}`,
  'i',
)

/** The first date in a text that names its year. A time of the day alone may be of any time zone, so it tells nothing. */
function dateIn(given: string): number | undefined {
  const unix = UNIX.exec(given)?.[0]
  const found = ISO.exec(given)?.[0] ?? WORDS.exec(given)?.[0]
  if (found === undefined) return unix === undefined ? undefined : timeOf(Number(unix), 0)
  const plain = found
    .replace(/(\d)(?:st|nd|rd|th)\b/i, '$1')
    .replace(/ at /i, ' ')
    .replace(/([ap])\.?m\.?/i, '$1m')
    .replace(/(\d) ?([ap]m)/i, '$1 $2')
    .replace(/[()]/g, '')
  const zoned = /(?:Z|UTC|GMT|[+-]\d{2}:?\d{2})$/i.test(plain.trim())
    ? plain
    : `${plain}${/T\d/i.test(plain) ? 'Z' : ' UTC'}`
  const time = Date.parse(zoned)
  return Number.isNaN(time) ? undefined : time
}
