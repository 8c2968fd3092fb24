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

/** An address without its user, password and query: keys travel in them. */
export function hideInAddress(address: string): string {
  return address.replace(/^([a-z][\w+.-]*:\/\/)?.*@/i, `$1${hidden}@`).replace(/\?.*$/, `?${hidden}`)
}

/** A line of a config file for an error: everything as long as an access key is starred out. */
export function blankOut(line: string): string {
  const stars = (text: string): string => '*'.repeat(text.length)
  return line
    .replace(/(['"`])([^'"`]{16,})/g, (_, quote: string, text: string) => quote + stars(text))
    .replace(/[\w.~+/=-]{16,}(?![\w.~+/=-]*[:(])/g, stars)
}

function shorten(text: string): string {
  return text.length > 60 ? `${text.slice(0, 57)}...` : text
}

// An upstream's error may quote a credential: no text leaves the process with one in it.
const SECRETS =
  /\b(eyJ[\w-]+(?:\.[\w-]+)*|sk-[\w-]{8,}|rt[_.-][\w.-]{8,}|at-[\w-]{8,}|ya29\.[\w-]+|1\/\/[\w-]+|AIza[\w-]{10,})|(?<=\b(?:bearer|key=) ?)[\w.~+/-]{12,}/gi

/** A text with everything that looks like a credential replaced. */
export function redact(text: string): string {
  return text.replace(SECRETS, '[redacted]')
}

/** A text without any value of a credential: an error thrown by a user's own provider may quote one. */
export function withoutValuesOf(credential: unknown, text: string): string {
  const values = textsIn(credential).filter((value) => value.length >= 6)
  return values
    .sort((a, b) => b.length - a.length)
    .reduce((clean, value) => clean.replaceAll(value, '[redacted]'), text)
}

function textsIn(value: unknown): string[] {
  if (typeof value === 'string') return [value]
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(textsIn) : []
}
