/** Shown in the place of a secret. */
export const hidden = '***'

// `access` itself as well: a key written one level too high is still a key.
const secretKeys = /^(access|access\.keys(\..*|\[.*)?|.*\.?(oauthC|c)lientSecret|GEMINI_OAUTH_CLIENT_SECRET)$/
const knownPrefix = /^(sk-|GOCSPX-|AIza|ya29\.|eyJ|gh[a-z]_|xox|Bearer )/
const longAndMixed = /^(?=.*\d)(?=.*[A-Za-z])[\w+=.~-]{20,}$/

/** Whether a word looks like a key or token, written in a place where it does not belong. */
export function looksSecret(word: string): boolean {
  return knownPrefix.test(word) || longAndMixed.test(word)
}

/** A value as an error may show it: short, and never a secret. */
export function showValue(key: string, value: unknown): string {
  if (typeof value === 'string') {
    return JSON.stringify(secretKeys.test(key) || looksSecret(value) ? hidden : shorten(hideInAddress(value)))
  }
  if (typeof value === 'function') return 'a function'
  if (Array.isArray(value)) return 'a list'
  return typeof value === 'object' && value !== null ? 'an object' : String(value)
}

/** An address without its user, password and query, and without what looks like a key in its path. */
export function hideInAddress(address: string): string {
  return address
    .replace(/^([a-z][\w+.-]*:\/\/)?.*@/i, `$1${hidden}@`)
    .replace(/\?.*$/, `?${hidden}`)
    .replace(/(?<=[^/:]\/+)[^/?]+/g, (segment) => (looksSecret(segment) ? hidden : segment))
}

/** A line of a config file for an error: everything as long as an access key is starred out. */
export function blankOut(line: string): string {
  const stars = (text: string): string => '*'.repeat(text.length)
  return line
    .replace(/(['"`])([^'"`]{16,})/g, (_, quote: string, text: string) => quote + stars(text))
    .replace(/[\w.~+/=-]{16,}(?![\w.~+/=-]*[:(])/g, stars)
}

/** The quoted words of a config file that look like keys: an error that it throws may hold one. */
export function secretsIn(text: string): { key: string }[] {
  const words = text.match(/(?<=['"`])[\w.~+/=-]{8,}(?=['"`])/g) ?? []
  const keys = words.filter(
    (word) => knownPrefix.test(word) || /^(?=.*\d)(?=.*[A-Za-z])[\w.~-]{16,}$/.test(word),
  )
  return keys.map((key) => ({ key }))
}

function shorten(text: string): string {
  return text.length > 60 ? `${text.slice(0, 57)}...` : text
}
