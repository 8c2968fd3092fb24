import { HOP_BY_HOP } from './request-headers.js'

/**
 * An upstream's headers as the client gets them, in their order and spelling (`rawHeaders` form). Cookies belong to the
 * account, not to the client.
 */
export function deliverable(
  raw: readonly string[],
  hidden: readonly string[] = [],
  /** Other values, by lower-case name; `undefined` takes a header out. */
  replaced: Readonly<Record<string, string | undefined>> = {},
): string[] {
  const kept: string[] = []
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i]!.toLowerCase()
    if (name === 'set-cookie' || hidden.includes(name)) continue
    // `Trailer` stays: it announces what we pass on behind the body.
    if (HOP_BY_HOP.has(name) && name !== 'trailer') continue
    const value = Object.hasOwn(replaced, name) ? replaced[name] : raw[i + 1]!
    if (value !== undefined) kept.push(raw[i]!, value)
  }
  for (const [name, value] of Object.entries(replaced))
    if (value !== undefined && !has(raw, name)) kept.push(name, value)
  return kept
}

const has = (raw: readonly string[], wanted: string): boolean =>
  raw.some((name, index) => index % 2 === 0 && name.toLowerCase() === wanted)
