/** Reads `value[path[0]][path[1]]…`; `undefined` where a step is missing or is not an object. */
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

/** Makes a JWT in form only: clients read the claims, and the simulator never checks the signature. */
export function jwt(claims: object): string {
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  return `${encode({ alg: 'RS256', typ: 'JWT' })}.${encode(claims)}.${Buffer.from('simulated').toString('base64url')}`
}
