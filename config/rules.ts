import { BlockList, isIP } from 'node:net'
import type { ValueProblem } from './problems.js'

/** Tells the problem of one value. It never quotes the value: the caller knows whether it may be shown. */
export type Rule = (value: unknown) => ValueProblem | undefined

/** Checks of single values, by the name under which the schema asks for them. */
export const rules = {
  text: expects('text that is not empty', (value) => typeof value === 'string' && value.trim() !== ''),
  textOrFalse: expects('a path, or false', (value) =>
    typeof value === 'string' ? value !== '' : value === false,
  ),
  callable: expects('a function', (value) => typeof value === 'function'),
  listen: text(
    'bad_listen',
    'must be host:port, such as 127.0.0.1:8989 or [::1]:8989; port 0 to 65535; or a Unix socket, unix:/path',
    (value) => Boolean(parseListen(value)),
  ),
  upstream: checkText(checkUpstream),
  proxy: checkText(checkProxy),
  routePath: checkText(checkRoutePath),
  host: text('bad_host', 'must be a host name alone: no scheme, port or path', (value) =>
    /^[\w.-]+$/.test(value),
  ),
  address: text('bad_host', 'must be an IP address: no name, scheme or port', (value) => isIP(value) !== 0),
  origin: text(
    'bad_origin',
    'must be an origin: https://example.com or app://name, without a path',
    isOrigin,
  ),
  filePattern: text('bad_pattern', 'must be a pattern for file names: no folder', (value) =>
    /^[^/\\]+$/.test(value),
  ),
  accessKey: checkText(checkAccessKey),
} satisfies Record<string, Rule>

export type RuleName = keyof typeof rules

function expects(what: string, holds: (value: unknown) => boolean): Rule {
  return (value) => (holds(value) ? undefined : { code: 'wrong_type', message: `must be ${what}` })
}

function checkText(check: (value: string) => ValueProblem | undefined): Rule {
  return (value) =>
    typeof value === 'string' ? check(value) : { code: 'wrong_type', message: 'must be text' }
}

function text(code: ValueProblem['code'], message: string, holds: (value: string) => boolean): Rule {
  return checkText((value) => (holds(value) ? undefined : { code, message }))
}

function checkRoutePath(path: string): ValueProblem | undefined {
  if (!path.startsWith('/')) return { code: 'bad_path', message: 'must start with /' }
  // Other routers take a `*` as a wildcard. Here it would match a literal `*` only, so the route would never match.
  if (/[*?#\s\\]/.test(path)) {
    return { code: 'bad_path', message: 'must be a plain prefix: no *, ?, #, \\ or space' }
  }
  const own = reservedPath(path)
  return own
    ? { code: 'reserved_path', message: `lies under ${own}, which the gateway answers itself` }
    : undefined
}

/** `app://…`, `vscode-webview://…` and their like have no `origin` for URL, and are sent as they stand here. */
function isOrigin(value: string): boolean {
  if (!URL.canParse(value)) return false
  return /^https?:/i.test(value)
    ? new URL(value).origin === value
    : /^[a-z][a-z\d+.-]*:\/\/[\w.:-]+$/.test(value)
}

/** Long enough not to be guessed through the port; without `/`, which would end the key in `/k/KEY/…`. */
function checkAccessKey(key: string): ValueProblem | undefined {
  const howTo = '`openssl rand -hex 24` makes one'
  if (key.length < 16) return { code: 'bad_key', message: `is too short: at least 16 characters; ${howTo}` }
  if (/^[A-Za-z0-9._~-]+$/.test(key)) return undefined
  return {
    code: 'bad_key',
    message: `may hold letters, digits and - . _ ~ only, since it travels in a path; ${howTo}`,
  }
}

/** Credentials are sent to it, so the connection must be encrypted or stay on this machine. */
function checkUpstream(address: string): ValueProblem | undefined {
  const url = parse(address)
  if (!url) return { code: 'bad_address', message: 'must be an address that starts with https://' }
  if (url.username || url.password) {
    return {
      code: 'credentials_in_address',
      message: 'must hold no user or password: credentials belong in the pool directory',
    }
  }
  if (url.search || url.hash) return { code: 'bad_address', message: 'must end before any ? or #' }
  if (url.protocol === 'https:' || isLoopback(url.hostname)) return undefined
  return {
    code: 'insecure_upstream',
    message:
      'must be https, or http to this machine (localhost, 127.0.0.1, [::1]): credentials are sent there',
  }
}

/** May be plain http and hold a user and password: the connection through it is encrypted end to end. */
function checkProxy(address: string): ValueProblem | undefined {
  const url = URL.canParse(address) ? new URL(address) : undefined
  if (url?.hostname && /^(https?|socks5h?):$/.test(url.protocol)) return undefined
  const message =
    'must be the address of a proxy, such as http://proxy.example:3128 or socks5h://127.0.0.1:1080 (http, https, ' +
    'socks5, or socks5h, which has the proxy look host names up)'
  return { code: 'bad_address', message }
}

function parse(address: string): URL | undefined {
  if (!URL.canParse(address)) return undefined
  const url = new URL(address)
  return url.protocol === 'http:' || url.protocol === 'https:' ? url : undefined
}

export interface ListenAddress {
  /** Without brackets. */
  readonly host: string
  readonly port: number
  /** Path of a Unix socket, in place of host and port. */
  readonly socket?: string
}

/** Reads `host:port` (IPv6 as `[::1]:8989`), `unix:PATH` or a path that ends in `.sock`; `undefined` if it is none of them. */
export function parseListen(text: string): ListenAddress | undefined {
  const socket = /^unix:(?<path>.+)$|^(?<bare>.*\/[^/]+\.sock)$/.exec(text)?.groups
  if (socket) return { host: 'localhost', port: 0, socket: socket['path'] ?? socket['bare']! }
  const match = /^(?:\[(?<v6>[^\]]+)\]|(?<host>[\w.-]+)):(?<port>\d{1,5})$/.exec(text)
  if (!match?.groups) return undefined
  const { v6, host = '', port } = match.groups
  if (v6 !== undefined && isIP(v6) !== 6) return undefined
  return Number(port) <= 65_535 ? { host: v6 ?? host, port: Number(port) } : undefined
}

/** The address at which a program on this machine reaches a listener: `0.0.0.0` and `::` cannot be called. */
export function localAddress({ host, port, socket }: ListenAddress): string {
  if (socket !== undefined) return 'http://localhost'
  const name = { '0.0.0.0': '127.0.0.1', '::': '[::1]' }[host] ?? (host.includes(':') ? `[${host}]` : host)
  return `http://${name}:${port}`
}

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

/**
 * Whether a host name or the address of a socket is this machine: `localhost`, 127.0.0.0/8, `::1` (brackets allowed), and
 * `::ffff:127.0.0.1`, which a socket that listens on `::` reports.
 */
export function isLoopback(host: string | undefined): boolean {
  const bare = host?.replace(/^\[(.*)\]$/, '$1').toLowerCase() ?? ''
  const version = isIP(bare)
  return version === 0 ? bare === 'localhost' : loopback.check(bare, version === 4 ? 'ipv4' : 'ipv6')
}

/**
 * Whether a route's prefix matches a path; or, between two prefixes, whether the first leaves nothing to the second.
 * A prefix ends at a segment border: without that, `/v1` would swallow `/v1beta`. One that ends in `:`, `/` or `.` is plain.
 */
export function covers(prefix: string, path: string): boolean {
  return /[:/.]$/.test(prefix) ? path.startsWith(prefix) : path === prefix || path.startsWith(`${prefix}/`)
}

const ownPaths = ['/healthz', '/metrics', '/admin', '/k']

/** The gateway's own path that would hide a route's path; `undefined` if none does. */
function reservedPath(path: string): string | undefined {
  return ownPaths.find((own) => covers(own, path))
}

/** The part of JSON Schema that is used here, and `rule`: a check of ours by its name in `rules.ts`. */
export interface Schema {
  readonly [keyword: string]: unknown
}

export const rule = (name: RuleName): Schema => ({ rule: name })
export const callable = rule('callable')
export const boolean = { type: 'boolean' }
export const oneOf = (...values: string[]): Schema => ({ enum: values })
export const integer = (minimum: number, maximum: number = Number.MAX_SAFE_INTEGER): Schema => ({
  type: 'integer',
  minimum,
  maximum,
})
// setTimeout runs at once when it is given more than this.
export const ms = (minimum = 0): Schema => integer(minimum, 2_147_483_647)
export const list = (items: Schema): Schema => ({ type: 'array', items })
export const named = (values: Schema): Schema => ({ type: 'object', additionalProperties: values })

/** Every field of `T` has to be here: one that is forgotten would be refused as unknown. */
export function object<T>(properties: Record<keyof T, Schema>, required: (keyof T)[] = []): Schema {
  return { type: 'object', properties, required, additionalProperties: false }
}

/** Accepts `value`, or a value that fits `schema`; errors name the two as `says`. */
export function valueOr(value: unknown, schema: Schema, says: string): Schema {
  return { if: { const: value }, else: { ...schema, says } }
}
