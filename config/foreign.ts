/** An object with fields, not a list and not `null`. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The object under a key; an empty one for any other value. For reading a configuration that may be wrong. */
export function recordAt(value: unknown, key: string): Record<string, unknown> {
  const found = isRecord(value) ? value[key] : undefined
  return isRecord(found) ? found : {}
}

/** Without the fields that are `undefined`: spread over defaults they would wipe them out. */
export function defined<T extends object>(fields: T | undefined): Partial<T> {
  const entries = Object.entries(fields ?? {}).filter(([, value]) => value !== undefined)
  return Object.fromEntries(entries) as Partial<T>
}

/** The year 2100. No token, reset or cooldown ends later: a greater number is in another unit, or an attack. */
const LATEST = Date.UTC(2100, 0)

/**
 * A time that somebody else wrote (a credential file, a JWT, a header, a saved state) in ms since 1970; `undefined` if
 * it is not a number from 0 to the year 2100. To be called wherever such a number is read: `new Date(t).toISOString()`
 * throws beyond the year 275,760, and a `setTimeout` for a far time fires at once. Seconds are multiplied by 1000 first.
 */
export function timeFrom(value: unknown): number | undefined {
  return typeof value === 'number' && value >= 0 && value <= LATEST ? value : undefined
}

/** The message of whatever was thrown: JavaScript may throw any value. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
