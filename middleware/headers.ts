import type { IncomingHttpHeaders } from 'node:http'

/** They belong to one connection (RFC 9110 §7.6.1). */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'expect',
])

/** They say who the client is or where it runs, to an upstream that sees another account. Providers name more. */
const IDENTITY: ReadonlySet<string> = new Set([
  'authorization',
  'proxy-authorization',
  'cookie',
  'api-key',
  'x-api-key',
  'forwarded',
  'via',
  'x-real-ip',
  'origin',
  'referer',
])

const PRIVATE_PREFIX = /^(x-forwarded-|x-codex-pool-|sec-fetch-)/

/** The client's headers that an upstream may see. `identity`: those of them that say who the client is. */
export function forwardable(
  headers: IncomingHttpHeaders,
  identity: ReadonlySet<string>,
): IncomingHttpHeaders {
  const named = headers.connection?.toLowerCase().split(/\s*,\s*/) ?? []
  const kept: IncomingHttpHeaders = {}
  for (const [name, value] of Object.entries(headers)) {
    if (HOP_BY_HOP.has(name) || named.includes(name) || PRIVATE_PREFIX.test(name)) continue
    if (IDENTITY.has(name) || identity.has(name)) continue
    // Set anew for each attempt.
    if (name === 'host' || name === 'content-length') continue
    kept[name] = value
  }
  return kept
}

/**
 * An upstream's headers as the client gets them, in their order and spelling (`rawHeaders` form). Cookies belong to the
 * account, not to the client; which web pages may read an answer, the gateway says.
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
    if (name === 'set-cookie' || hidden.includes(name) || name.startsWith('access-control-')) continue
    // `Trailer` stays: it announces the trailers that are passed on after the body.
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
