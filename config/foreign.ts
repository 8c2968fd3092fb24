import type { Credits, Quota, QuotaWindow } from './account.js'

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
 * A time from outside (a credential file, a JWT, a header, a saved state) in ms since 1970; `undefined` unless it is a
 * number from 0 to the year 2100. Every such number must be read with this: `new Date(t).toISOString()` throws beyond the
 * year 275,760, and a `setTimeout` for a far time fires at once. Seconds are multiplied by 1000 first.
 */
export function timeFrom(value: unknown): number | undefined {
  return typeof value === 'number' && value >= 0 && value <= LATEST ? value : undefined
}

/** A number from outside, moved to the nearer bound; `undefined` if it is no finite number. */
export function numberFrom(value: unknown, least: number, most: number): number | undefined {
  return Number.isFinite(value) ? Math.min(most, Math.max(least, value as number)) : undefined
}

/** Levels of nesting. Requests and answers have about 10, and the schema of a tool perhaps 50. */
export const DEEPEST = 200
/** Values and names of fields in one text. `JSON.parse` reads so many in 50 ms at worst; a long conversation has 40,000. */
export const MOST_VALUES = 100_000
/** Characters of one text. `JSON.parse` reads so many in 50 ms; an answer with a picture has some millions. */
const LONGEST = 8 * 1024 * 1024
const [QUOTE, BACKSLASH, COMMA, COLON] = [0x22, 0x5c, 0x2c, 0x3a]

/**
 * JSON from outside: a body, a frame, an answer, a file. `undefined` for a text that is no JSON, is nested too deeply or is
 * too large. `JSON.parse` takes any depth, but `JSON.stringify` and every function that walks through the value overflows
 * the stack. While it reads a large text, no other request is served.
 */
export function parseJson(text: unknown): unknown {
  if (typeof text !== 'string' || excessOf(text) !== undefined) return undefined
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Why {@link parseJson} does not read a text, whether it is JSON or not. */
export function excessOf(text: string): 'depth' | 'size' | undefined {
  if (text.length > LONGEST) return 'size'
  let depth = 0
  let values = 0
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code === QUOTE) at = endOfString(text, at)
    else if (code === COMMA || code === COLON) values++
    // `[` and `{`, `]` and `}`
    else if (code === 0x5b || code === 0x7b) {
      values++
      if (++depth > DEEPEST) return 'depth'
    } else if (code === 0x5d || code === 0x7d) depth--
  }
  return values > MOST_VALUES ? 'size' : undefined
}

function endOfString(text: string, from: number): number {
  for (let at = from + 1; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code === QUOTE) return at
    if (code === BACKSLASH) at++
  }
  return text.length
}

/**
 * A stranger's text as it may be kept in memory: its beginning, as a copy. A plain `slice` would keep the whole text
 * that it is a part of, such as an address of 60 KB for a path of 20 characters.
 */
export function kept(text: string, most: number): string {
  return Buffer.from(text.slice(0, most)).toString()
}

/** A quota from outside: without windows that have no name, and with every number and time in bounds. */
export function quotaFrom(value: unknown): Quota | undefined {
  if (!isRecord(value)) return undefined
  const windows = Array.isArray(value.windows)
    ? value.windows.flatMap((window) => windowFrom(window) ?? [])
    : []
  const resets = Array.isArray(value.resets)
    ? value.resets.flatMap((reset) =>
        isRecord(reset) && typeof reset.id === 'string'
          ? { id: reset.id, expiresAt: timeFrom(reset.expiresAt) }
          : [],
      )
    : undefined
  return {
    windows,
    ...(typeof value.plan === 'string' && { plan: value.plan }),
    ...(isRecord(value.credits) && { credits: creditsFrom(value.credits) }),
    ...(resets && { resets }),
  }
}

function creditsFrom({ hasCredits, unlimited, balance, use }: Record<string, unknown>): Credits {
  return {
    hasCredits: hasCredits === true,
    unlimited: unlimited === true,
    ...(typeof balance === 'string' && { balance }),
    ...((use === 'never' || use === 'last' || use === 'freely') && { use }),
  }
}

const YEAR_MINUTES = 366 * 24 * 60

function windowFrom(value: unknown): QuotaWindow | undefined {
  if (!isRecord(value) || typeof value.name !== 'string') return undefined
  const { usedPercent, lengthMinutes, resetsAt, ...names } = value
  return {
    ...(names as { name: string; model?: string }),
    usedPercent: numberFrom(usedPercent, 0, 100),
    lengthMinutes: numberFrom(lengthMinutes, 0, YEAR_MINUTES),
    resetsAt: timeFrom(resetsAt),
  }
}

/** The message of a thrown value, which in JavaScript need not be an `Error`. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** An error of the network, as Node and undici make them. */
type NetworkError = NodeJS.ErrnoException & {
  /** The peer that was tried: an address of the host, or of a proxy. */
  readonly address?: string
  readonly port?: number
  readonly errors?: readonly NetworkError[]
}

/**
 * Why no connection or no answer came, with code, host and port: `ECONNREFUSED api.example:443 (192.0.2.1:443)`, or
 * `CERT_HAS_EXPIRED api.example:443: certificate has expired`. `fetch` itself says "fetch failed"; the reason stands in
 * its `cause`, or in one of several errors if a host has several addresses.
 */
export function reasonOf(error: unknown, { hostname, port, protocol }: URL): string {
  const { code, message, address, port: peerPort } = causeOf(error as NetworkError)
  const host = `${hostname}:${port || (/^(http|ws):$/.test(protocol) ? 80 : 443)}`
  const peer = address === undefined ? '' : `${address.includes(':') ? `[${address}]` : address}:${peerPort}`
  const place = peer === '' || peer === host ? host : `${host} (${peer})`
  if (code === undefined) return `${message} at ${place}`
  // Only these messages say more than their code: what is wrong with the certificate, or with the proxy.
  const more = /CERT|TLS|SSL|^UNABLE_TO_|^ERR_PROXY/.test(code) ? `: ${message}` : ''
  return `${code} ${place}${more}`
}

/** The error at the bottom of the causes of an error. */
export function causeOf(error: NetworkError): NetworkError {
  const inner = error.errors?.[0] ?? error.cause
  return inner instanceof Error ? causeOf(inner) : error
}
