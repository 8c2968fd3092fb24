import type { IncomingHttpHeaders } from 'node:http'

/** Fields of JSON that somebody else wrote: each reader gives `undefined` for what is not of the kind asked for. */
export type Fields = Readonly<Record<string, unknown>>

export function fields(value: unknown): Fields | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : undefined
}

export function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

/** The objects in a list, with anything else in it left out. */
export function objects(value: unknown): Fields[] {
  return list(value).filter((item): item is Fields => fields(item) !== undefined)
}

/** A text that is not empty. */
export function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

/** A number, or a text that is one. `Number('')` would make 0 of an empty header. */
export function number(value: unknown): number | undefined {
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined
  return typeof value === 'string' && /^\s*-?\d+(\.\d+)?\s*$/.test(value) ? Number(value) : undefined
}

export function parseJson(value: unknown): unknown {
  if (typeof value !== 'string') return undefined
  try {
    return JSON.parse(value)
  } catch {
    return undefined
  }
}

/** A header's value; the first one if the header came more than once. */
export function header(headers: IncomingHttpHeaders, name: string): string | undefined {
  const value = headers[name]
  const first = Array.isArray(value) ? value[0] : value
  return first === undefined || first === '' ? undefined : first
}

/** Whether a value can stand in a header as it is. A token with a line break in it would throw at every request. */
export function fitsHeader(value: string): boolean {
  return /^[\x21-\x7e]+$/.test(value)
}

/** Joins a base address and a path that begins with `/`, or nothing. */
export function join(base: string, path: string): string {
  return base.replace(/\/+$/, '') + path
}

/** The query of a URL with its `?`, or nothing. */
export function queryOf(url: string): string {
  const at = url.indexOf('?')
  return at < 0 ? '' : url.slice(at)
}

/**
 * A path as the upstream will understand it: no doubled slashes, and no letter in disguise, since `/ps/%6dcp` is
 * `/ps/mcp` (RFC 3986 §6.2.2.2) and would slip past a rule about that path.
 */
export function normalPath(path: string): string {
  const plain = path.replace(/%([2-7][0-9a-f])/gi, (coded, hex: string) => {
    const character = String.fromCharCode(Number.parseInt(hex, 16))
    return /[\w.~-]/.test(character) ? character : coded
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

/** How long a message for people says to wait: "Please try again in 1.5s", "Resets in 9h22m20s." */
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
