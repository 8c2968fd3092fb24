import { isDeepStrictEqual } from 'node:util'

/** Where a setting stands: `['model_providers', 'codex-pool']`. */
export type Path = readonly string[]

export interface Setting {
  readonly path: Path
  /** `undefined`: it shall not be set. */
  readonly value: unknown
}

export const under = (path: Path, parent: Path): boolean => parent.every((key, i) => path[i] === key)

export function at(values: unknown, path: Path): unknown {
  return path.reduce<unknown>((value, key) => (isRecord(value) ? value[key] : undefined), values)
}

export const holds = (values: unknown, { path, value }: Setting): boolean =>
  isDeepStrictEqual(at(values, path), value)

/** Whether two files say the same about everything but these. */
export const sameBeside = (a: unknown, b: unknown, paths: readonly Path[]): boolean =>
  isDeepStrictEqual(without(a, paths), without(b, paths))

function without(values: unknown, paths: readonly Path[]): unknown {
  return paths.reduce(leaveOut, values)
}

/** A table that is empty without it goes as well: it may have come into being with it. */
function leaveOut(values: unknown, [key, ...rest]: Path): unknown {
  if (!isRecord(values) || key === undefined || !(key in values)) return values
  const { [key]: value, ...others } = values
  if (rest.length === 0) return others
  const left = leaveOut(value, rest)
  return isRecord(left) && Object.keys(left).length === 0 ? others : { ...others, [key]: left }
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date)
