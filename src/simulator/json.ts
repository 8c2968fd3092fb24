/** Reads `value[path[0]][path[1]]…`; `undefined` where something on the way is missing or no object. */
export function field(value: unknown, ...path: (string | number)[]): unknown {
  let current = value
  for (const key of path) {
    if (typeof current !== 'object' || current === null) return undefined
    current = Reflect.get(current, key)
  }
  return current
}

/** Like {@link field}, for a string. */
export function text(value: unknown, ...path: (string | number)[]): string | undefined {
  const found = field(value, ...path)
  return typeof found === 'string' ? found : undefined
}

/** Like {@link field}, for a list; empty where there is none. */
export function list(value: unknown, ...path: (string | number)[]): unknown[] {
  const found = field(value, ...path)
  return Array.isArray(found) ? found : []
}

/** The object or list that a text holds; `undefined` if it holds none. */
export function parse(source: string): unknown {
  if (!/^[{[]/.test(source)) return undefined
  try {
    return JSON.parse(source)
  } catch {
    return undefined
  }
}
