import type { IncomingMessage, ServerResponse } from 'node:http'
import { isIP } from 'node:net'
import type { ResolvedConfig } from '../config/config.js'
import { GatewayFailure } from './failure.js'

type Rules = Exclude<ResolvedConfig['access'], 'host-app'>

/**
 * Refuses requests of foreign web pages, by headers that a page cannot choose: Host, Origin and Sec-Fetch. A page in the
 * user's browser can reach loopback, and could spend the pool's quota.
 */
export function foreignPage(request: IncomingMessage, access: Rules): GatewayFailure | undefined {
  return foreignHost(request, access) ?? foreignOrigin(request, access)
}

/** A page can reach loopback under a name of its own (DNS rebinding); the browser then sends that name as Host. */
function foreignHost(request: IncomingMessage, access: Rules): GatewayFailure | undefined {
  toOriginForm(request)
  const { host } = request.headers
  // Only HTTP/1.0 may leave Host out, and no browser speaks HTTP/1.0.
  if (host === undefined) return undefined
  if (countOf(request, 'host') > 1)
    return new GatewayFailure(400, 'malformed_request', 'a request may have one Host header only')
  const name = hostName(host)
  if (name !== undefined && (name === 'localhost' || isIP(name) || access.hosts.includes(name)))
    return undefined
  const way = 'Use 127.0.0.1 or localhost, or add it to access.hosts'
  return new GatewayFailure(403, 'host_not_allowed', `the Host "${printable(host)}" is not allowed. ${way}`)
}

/**
 * Brings an absolute request target (`GET http://localhost/v1 …`) into the usual form. Its host replaces the Host header
 * (RFC 9112 §3.2.2): otherwise the rule about hosts would check the wrong one.
 */
export function toOriginForm(request: IncomingMessage): void {
  const target = /^https?:\/\/([^/?#]*)(.*)$/is.exec(request.url ?? '')
  if (!target) return
  const [, authority, rest = ''] = target
  request.headers.host = authority
  request.url = rest.startsWith('/') ? rest : `/${rest}`
}

function countOf({ rawHeaders }: IncomingMessage, name: string): number {
  return rawHeaders.filter((text, index) => index % 2 === 0 && text.toLowerCase() === name).length
}

/** The name or address in a Host header, lower case, without port and brackets; `undefined` if it is none. */
function hostName(host: string): string | undefined {
  const parts = /^(?:\[(?<v6>[\da-f:.]+)\]|(?<name>[^\s:@[\]/\\]+))(?::\d{0,5})?$/i.exec(host)?.groups
  return (parts?.['v6'] ?? parts?.['name'])?.toLowerCase().replace(/\.$/, '')
}

/** Refuses a page of another site, by its Origin, or by Sec-Fetch-Site where the browser sends no Origin. */
function foreignOrigin(request: IncomingMessage, access: Rules): GatewayFailure | undefined {
  if (originAllowed(request, access) || isSameOrigin(request)) return undefined
  const { origin } = request.headers
  // Images, scripts and frames send no Origin. The browser sets this header, and no page can change it.
  const site = request.headers['sec-fetch-site']
  if (origin === undefined && (site === undefined || site === 'same-origin' || site === 'none'))
    return undefined
  const page = origin === undefined ? 'a web page of another site' : `a web page of "${printable(origin)}"`
  const way = 'To allow it, add its origin to access.origins'
  return new GatewayFailure(403, 'origin_not_allowed', `${page} must not use the pool. ${way}`)
}

function originAllowed({ headers }: IncomingMessage, access: Rules): boolean {
  return headers.origin !== undefined && access.origins.includes(headers.origin)
}

function isSameOrigin({ headers: { origin, host }, socket }: IncomingMessage): boolean {
  const scheme = 'encrypted' in socket ? 'https' : 'http'
  return host !== undefined && origin?.toLowerCase() === `${scheme}://${host.toLowerCase()}`
}

/**
 * Lets an allowed page read the answer (Fetch standard §3.2), and answers its browser's preflight request.
 * @returns whether the request was a preflight, which is now answered
 */
export function admitPage(request: IncomingMessage, response: ServerResponse, access: Rules): boolean {
  const { origin } = request.headers
  if (origin === undefined || !originAllowed(request, access)) return false
  response.setHeader('access-control-allow-origin', origin)
  response.setHeader('access-control-expose-headers', '*')
  response.setHeader('vary', 'origin')
  if (request.method !== 'OPTIONS' || request.headers['access-control-request-method'] === undefined)
    return false
  const asked = request.headers['access-control-request-headers'] ?? ''
  response.setHeader('access-control-allow-methods', 'GET, HEAD, POST, PUT, PATCH, DELETE')
  if (/^[\w-]+(, ?[\w-]+)*$/.test(asked)) response.setHeader('access-control-allow-headers', asked)
  // The browser asks for this before a public page may reach loopback.
  if (request.headers['access-control-request-private-network'] === 'true')
    response.setHeader('access-control-allow-private-network', 'true')
  response.setHeader('access-control-max-age', '600')
  response.writeHead(204).end()
  return true
}

const printable = (text: string): string => text.slice(0, 100).replace(/[^\x21-\x7e]/g, '?')
