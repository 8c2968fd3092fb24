import { isRecord, parseJson, timeFrom } from '../config/index.js'

export { parseJson } from '../config/index.js'

/**
 * A JSON object from outside: a credential file, a request, an upstream's answer. The readers below return `undefined`
 * for a value of another type; `list` and `objects` return an empty list.
 */
export type Fields = Readonly<Record<string, unknown>>

export function fields(value: unknown): Fields | undefined {
  return isRecord(value) ? value : undefined
}

/** Characters of a sentence in front of JSON, as in "the upstream says: {…}". */
const LONGEST_LEAD = 100

/** The JSON in a text, alone or at its end behind a few words. In a text that quotes JSON, a quote stands before it. */
export function jsonIn(value: unknown): unknown {
  const given = text(value)
  const start = given?.search(/[{[]/) ?? -1
  if (given === undefined || start < 0 || start > LONGEST_LEAD) return undefined
  return /["'`]/.test(given.slice(0, start)) ? undefined : parseJson(given.slice(start).trim())
}

export function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

/** The objects in a list; other values in it are left out. */
export function objects(value: unknown): Fields[] {
  return list(value).filter((item): item is Fields => fields(item) !== undefined)
}

/** Whether a field says anything. */
export const isSet = (value: unknown): boolean => value !== undefined && value !== null && value !== ''

/** A string that is not empty. */
export function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

/** A number, or a string that is one. `Number('')` would make 0 of an empty header. */
export function number(value: unknown): number | undefined {
  if (typeof value === 'string' && !(value.length <= 40 && /^\s*-?\d+(\.\d+)?\s*$/.test(value)))
    return undefined
  if (typeof value !== 'string' && typeof value !== 'number') return undefined
  const found = Number(value)
  return Number.isFinite(found) ? found : undefined
}

/** Larger than any real count. Sums of larger numbers lose digits, and metrics refuse infinity. */
const MOST = 1e12

/** A count, such as of tokens: a whole number from 0 up. */
export function count(value: unknown): number | undefined {
  const found = number(value)
  return found !== undefined && found >= 0 && found <= MOST ? Math.round(found) : undefined
}

/** A time in ms since 1970, from a number of ms or a date in words; `undefined` if no clock can show it. */
export function time(value: unknown): number | undefined {
  return timeFrom(number(value) ?? (typeof value === 'string' ? dateOf(value) : undefined))
}

function dateOf(value: string): number | undefined {
  const at = value.length <= 64 ? Date.parse(value) : Number.NaN
  return Number.isNaN(at) ? undefined : at
}
