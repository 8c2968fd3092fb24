import { isRecord } from '../config/index.js'

/**
 * An object of JSON from outside: a credential file, a request, an upstream's answer. Each reader below gives
 * `undefined` for a value of another kind.
 */
export type Fields = Readonly<Record<string, unknown>>

export function fields(value: unknown): Fields | undefined {
  return isRecord(value) ? value : undefined
}

export function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

/** The objects in a list; other values in it are left out. */
export function objects(value: unknown): Fields[] {
  return list(value).filter((item): item is Fields => fields(item) !== undefined)
}

/** A string that is not empty. */
export function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

/** A number, or a string that is one. `Number('')` would make 0 of an empty header. */
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
