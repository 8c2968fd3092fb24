import { parseJson } from './foreign.js'

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
    .replace(/(?=[^/?])(?<=[^/:]\/+)[^/?]+/g, (segment) => (looksSecret(segment) ? hidden : segment))
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

/** Shown where a secret stood in a text. */
const REDACTED = '[redacted]'

// Each alternative matches or fails within a few characters: texts of strangers are searched.
const LOOKS_SECRET =
  /\b(?:eyJ[\w-]+(?:\.[\w-]+)*|sk-[\w-]{8,}|rt[_.-][\w.-]{8,}|at-[\w-]{8,}|ya29\.[\w-]+|1\/\/[\w-]+|AIza[\w-]{10,})|(?<=\b(?:bearer|key=) ?)[\w.~+/-]{12,}|(?<=\bbasic )[\w+/]{16,}={0,2}/gi

/** Secrets as they are looked for, in lower case: a host name in an error is. */
interface Words {
  /** The beginnings of long ones. An error of `JSON.parse` quotes ten characters. */
  readonly heads: Set<string>
  /** Short ones. */
  readonly short: Set<string>
  /** Those that are so short that they are redacted only where they stand alone. */
  readonly tiny: Set<string>
  /** Those with a blank or a sign that tokens do not have. */
  readonly whole: Set<string>
}

const HEAD = 10
/** Shorter ones are words that stand in any sentence. */
const SHORTEST = 6
const RUN = /[\w.~+/=%-]{6,}/g
/** A word that stands alone, as short as a field must be to be no secret by its length alone. */
const ALONE = /(?<![\w.~+/=%-])[\w.~+/=%-]{3,5}(?![\w.~+/=%-])/g
const TINIEST = 3

interface Remembered {
  /** Secrets of the owner's credentials: of the newest one and of those before it. */
  held: { readonly source: unknown; readonly words: Words }[]
  /** What calls and hooks have given beside it, such as new tokens that no file has yet. */
  given: Words[]
}

/** By the account, configuration or gateway that the secrets belong to. */
const known = new Map<object, Remembered>()
let everyWord: Words | undefined

/** An error may come late, and quote the token before the one that is in use. */
const VERSIONS = 3
/** A provider that signs each request has a new secret for each. */
const MOST_GIVEN = 16

/** Texts in `secrets` are redacted from now on, everywhere, until `owner` is forgotten. */
export function remember(owner: object, secrets: unknown): void {
  const { held, given } = known.get(owner) ?? { held: [], given: [] }
  if (held.at(-1)?.source === secrets) return
  const newest = { source: secrets, words: wordsOf(secrets) }
  known.set(owner, { held: [...held, newest].slice(-VERSIONS), given })
  everyWord = undefined
}

/** As {@link remember}, for an owner that is known already. */
export function rememberNewer(owner: object, secrets: unknown): void {
  if (known.has(owner)) remember(owner, secrets)
}

/**
 * Redacts the secrets among the fields of what a call or a hook has given to an owner that is known: an answer of its
 * issuer, facts, headers. Errors may quote them before or without ever being in a credential.
 */
export function rememberGiven(owner: object, value: unknown): void {
  const remembered = known.get(owner)
  const fresh = remembered ? secretFieldsOf(value).filter(({ key }) => without(all(), key) === key) : []
  if (fresh.length === 0) return
  remembered!.given = [...remembered!.given, wordsOf(fresh)].slice(-MOST_GIVEN)
  everyWord = undefined
}

/** As {@link rememberGiven}, for the text of an answer. */
export function rememberAnswer(owner: object, text: string): void {
  rememberGiven(owner, parseJson(text) ?? Object.fromEntries(new URLSearchParams(text)))
}

export function forget(owner: object): void {
  if (known.delete(owner)) everyWord = undefined
}

function all(): Words {
  const owners = [...known.values()]
  return (everyWord ??= merged(
    owners.flatMap(({ held, given }) => [...held.map(({ words }) => words), ...given]),
  ))
}

/**
 * A text without anything that looks like a credential, and without the credentials and keys that are known: what
 * upstreams and a user's own code say may quote one. `beside`: secrets that no account has.
 */
export function redact(text: string, beside?: unknown): string {
  const clean = without(all(), text.replace(LOOKS_SECRET, REDACTED))
  return beside === undefined ? clean : without(wordsOf(beside), clean)
}

/** The texts under names of secrets: an answer holds words as well, such as the name of a plan. */
function secretFieldsOf(value: unknown, depth = 0): { readonly key: string }[] {
  if (typeof value !== 'object' || value === null || depth > DEEPEST) return []
  return Object.entries(value).flatMap(([name, field]) => {
    if (typeof field !== 'string') return secretFieldsOf(field, depth + 1)
    return NAMED_SECRET.test(name) && !NAMED_PUBLIC.test(name) && !isWord(field) ? [{ key: field }] : []
  })
}

/** A copy of a report with each of its texts redacted. */
export function redactAll<T>(report: T): T {
  return JSON.parse(JSON.stringify(report), (_name, value: unknown) =>
    typeof value === 'string' ? redact(value) : value,
  ) as T
}

function without({ heads, short, tiny, whole }: Words, text: string): string {
  let clean = text
  for (const secret of whole) clean = clean.replaceAll(secret, REDACTED)
  if (tiny.size > 0) clean = clean.replace(ALONE, (word) => (tiny.has(lower(word)) ? REDACTED : word))
  return heads.size + short.size === 0 ? clean : clean.replace(RUN, (run) => cleanRun(run, heads, short))
}

function cleanRun(run: string, heads: Set<string>, short: Set<string>): string {
  const text = lower(run)
  for (let at = 0; at + SHORTEST <= text.length; at++) {
    if (heads.has(text.slice(at, at + HEAD))) return run.slice(0, at) + REDACTED
    if (short.size > 0)
      for (let length = SHORTEST; length < HEAD; length++)
        if (short.has(text.slice(at, at + length)))
          return run.slice(0, at) + REDACTED + cleanRun(run.slice(at + length), heads, short)
  }
  return run
}

/** `toLowerCase` changes the length of some letters beyond ASCII. */
const lower = (text: string): string => text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase())

function wordsOf(secrets: unknown): Words {
  const words = noWords()
  for (const secret of textsIn(secrets).slice(0, 200)) {
    if (secret.length < SHORTEST) words.tiny.add(lower(secret))
    else for (const text of new Set(formsOf(secret))) addTo(words, text)
  }
  return words
}

function addTo(words: Words, text: string): void {
  const runs = text.match(RUN) ?? []
  for (const run of runs) {
    const known = lower(run)
    if (run.length >= HEAD) words.heads.add(known.slice(0, HEAD))
    else if (!isWord(run) || run === text) words.short.add(known)
  }
  if (runs[0] !== text && text.length <= 200) words.whole.add(text)
}

/** A secret as it is, in an address and in JSON, once or twice, and each of these as bytes in hexadecimal digits or base64. */
function formsOf(secret: string): string[] {
  const plain = [...new Set(writtenOnce(secret).flatMap(writtenOnce))]
  if (secret.length < HEAD) return plain
  return [...plain, ...plain.flatMap(inBytes), ...inBytes(Buffer.from(secret).toString('base64'))]
}

/** An error quotes an address that holds an address, or JSON that holds JSON. */
const writtenOnce = (text: string): string[] => [
  text,
  encodeURIComponent(text.replace(/\p{Cs}/gu, '')),
  JSON.stringify(text).slice(1, -1),
]

const inBytes = (text: string): string[] => [
  Buffer.from(text).toString('hex'),
  ...inBase64(text, 'base64'),
  ...inBase64(text, 'base64url'),
]

/** As a part of a longer text: three bytes make four characters, so it is written in one of three ways. */
function inBase64(secret: string, encoding: 'base64' | 'base64url'): string[] {
  return [0, 1, 2].map((before) => {
    const bytes = Buffer.concat([Buffer.alloc(before), Buffer.from(secret)])
    // The first and the last characters depend on what stands beside the secret.
    return bytes.toString(encoding).slice(Math.ceil((before * 4) / 3), Math.floor((bytes.length * 4) / 3))
  })
}

const noWords = (): Words => ({ heads: new Set(), short: new Set(), tiny: new Set(), whole: new Set() })

function merged(all: readonly Words[]): Words {
  const words = noWords()
  for (const one of all)
    for (const kind of ['heads', 'short', 'tiny', 'whole'] as const)
      for (const word of one[kind]) words[kind].add(word)
  return words
}

/** A credential nests its fields once or twice. */
const DEEPEST = 8

/** The texts that may be secrets: all but those that are seen to be none, since a provider of a user's own reads any field. */
function textsIn(value: unknown, name = '', depth = 0): string[] {
  if (typeof value === 'string') return isPublic(name, value) ? [] : secretsOf(value)
  if (typeof value !== 'object' || value === null || depth > DEEPEST) return []
  return Object.entries(value).flatMap(([field, inner]) =>
    textsIn(inner, Array.isArray(value) ? name : field, depth + 1),
  )
}

const NAMED_PUBLIC =
  /(?:^|[_-])(?:id|ids|type|mode|name|e?mail|label|plan|scopes?|project|region|location)$|(?:Id|ID|Type|Mode|Name|Email)$/i
const NAMED_SECRET = /key|token|secret|pass|cookie|session|auth|credential|bearer|^(?:access|refresh)$/i

function isPublic(name: string, text: string): boolean {
  if (text.length < TINIEST || NAMED_PUBLIC.test(name)) return true
  if (NAMED_SECRET.test(name)) return false
  if (text.length < SHORTEST) return true
  return isWord(text) || /^[\w.+-]+@[\w.-]+$/.test(text) || /^\d{4}-\d\d-\d\dT[\d:.Z+-]+$/.test(text)
}

const isWord = (text: string): boolean => text.length < 16 && /^[a-z_]+$/i.test(text)

/** In an address, only what follows the host or comes before it can be one. */
function secretsOf(text: string): string[] {
  if (!/^[a-z][\w+.-]*:\/\//i.test(text) || !URL.canParse(text)) return [text]
  const { username, password, pathname, searchParams } = new URL(text)
  const long = pathname.split('/').filter((part) => part.length >= 16)
  return [username, password, ...long, ...searchParams.values()].filter((part) => part.length >= SHORTEST)
}
