import type { IncomingHttpHeaders, ServerResponse } from 'node:http'

/** Headers of one connection, which a proxy must not pass on (RFC 9110 §7.6.1). */
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

/** Headers that any API may need: about the content, the wanted answer and conditions, and a name for logs. */
const HARMLESS: readonly string[] = [
  'accept',
  'accept-charset',
  'accept-encoding',
  'accept-language',
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'content-md5',
  'content-range',
  'content-type',
  'digest',
  'idempotency-key',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'last-event-id',
  'pragma',
  'prefer',
  'priority',
  'range',
  'sec-websocket-protocol',
  'user-agent',
  'x-http-method-override',
  'x-request-id',
]

/** Names of headers that may hold a credential or tell where the client is. A pattern does not match them. */
const TELLTALE =
  /(^|-)(api-?key|key|auth|authorization|authenticated|assertion|attestation|cookies?2?|credentials?|jwt|password|secret|token|tokens|user-project|user-id|account-id|organization|project|forwarded|ip|from|via|origin|referer|host|country|residency|region)($|-)/

/** Parts of a subprotocol's name before a credential, or before the client's organization or project. */
const TELLTALE_PROTOCOL =
  /^(.*-)?(api-?key|key|auth|authorization|bearer|token|jwt|secret|password|organization|project)$/i

/**
 * The subprotocols that go upstream. A web page cannot set the headers of a WebSocket, so clients put a key there:
 * `x-api-key.KEY` in one name, or `token, KEY` in two.
 */
export function forwardableProtocols(offered: readonly string[]): string[] {
  const tells = (name = '') => name.split('.').some((part) => TELLTALE_PROTOCOL.test(part))
  return offered.filter((name, index) => {
    const before = offered[index - 1] ?? ''
    return !tells(name) && (before.includes('.') || !tells(before))
  })
}

/** Which of the client's headers go upstream, by lower-case name. */
export type HeaderFilter = (name: string) => boolean

/**
 * Decides by a list of allowed names. A list of forbidden names would be incomplete, and a credential under a name that
 * it lacks would reach the upstream.
 * @param passHeaders more names; one that ends in `*` allows all names with that beginning
 */
export function headerFilter(passHeaders: readonly string[] = []): HeaderFilter {
  const lower = passHeaders.map((name) => name.toLowerCase())
  const names = new Set([...HARMLESS, ...lower.filter((name) => !name.endsWith('*'))])
  const prefixes = lower.filter((name) => name.endsWith('*')).map((name) => name.slice(0, -1))
  return function passes(name) {
    if (HOP_BY_HOP.has(name) || name.startsWith('x-codex-pool-')) return false
    return names.has(name) || (prefixes.some((prefix) => name.startsWith(prefix)) && !TELLTALE.test(name))
  }
}

/** The client's headers that go upstream. */
export function forwardable(headers: IncomingHttpHeaders, passes: HeaderFilter): IncomingHttpHeaders {
  const named = new Set((headers.connection ?? '').split(',').map((name) => name.trim().toLowerCase()))
  const kept: IncomingHttpHeaders = {}
  for (const [name, value] of Object.entries(headers))
    if (passes(name) && !named.has(name)) kept[name] = value
  return kept
}

/**
 * The upstream's headers for the client, in their order and spelling (`rawHeaders` form). Cookies are taken out, since
 * they belong to the account, and so is `access-control-*`: the gateway decides which web pages may read an answer.
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
    if (/^set-cookie2?$/.test(name) || hidden.includes(name) || name.startsWith('access-control-')) continue
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

/**
 * Sets an upstream's headers (`rawHeaders` form) on the response, beside those that it has already: the gateway's, and the
 * host app's cookies and policies, which win. `content-type` is the upstream's, and `vary` names both. Several lines of one name are set as
 * a list: from lines given to `writeHead`, some versions of Node keep only the last.
 */
export function setHeaders(response: ServerResponse, upstreams: readonly string[]): void {
  const own = new Set(response.getHeaderNames().filter((name) => name !== 'content-type' && name !== 'vary'))
  const lines = new Map<string, { name: string; values: string[] }>()
  for (let i = 0; i < upstreams.length; i += 2) {
    const name = upstreams[i]!
    const key = name.toLowerCase()
    if (own.has(key)) continue
    const line = lines.get(key) ?? { name, values: key === 'vary' ? varyOf(response) : [] }
    line.values.push(upstreams[i + 1]!)
    lines.set(key, line)
  }
  for (const { name, values } of lines.values())
    response.setHeader(name, values.length === 1 ? values[0]! : values)
}

const varyOf = (response: ServerResponse): string[] => [response.getHeader('vary') ?? []].flat().map(String)
