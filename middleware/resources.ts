import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { Account } from '../src/accounts/account.js'
import { Pins } from '../src/accounts/pins.js'
import { type Exchange, matchRoute, withoutKey } from './exchange.js'
import { admitted } from './guard.js'

/** The keys of the pins that tell which account has these resources. */
function keysOf({ route }: Exchange, names: readonly string[]): string[] {
  return names.map((name) => Pins.key('resource', route.providerName, name))
}

/** Keys of the resources that a request names. May read the body. */
export function resourceKeys(exchange: Exchange): string[] {
  return keysOf(exchange, exchange.provider.resources?.(exchange) ?? [])
}

/** The accounts of `fitting` that have the request's resources; all of them if none is known to have them. */
export function holders(exchange: Exchange, fitting: Account[], issued: Pins): Account[] {
  const known = new Set(exchange.resourceKeys.map((key) => issued.get(key)))
  const holding = fitting.filter(({ key }) => known.has(key))
  return holding.length > 0 ? holding : fitting
}

/** Remembers that an account has the resources of a request that it served. */
export function rememberServed(exchange: Exchange, account: Account, issued: Pins): void {
  for (const key of exchange.resourceKeys) issued.set(key, account.key)
}

/** Remembers that an account has the resources that its answer names. */
export function rememberMade(
  exchange: Exchange,
  account: Account,
  answer: { readonly payload?: unknown; readonly headers: IncomingHttpHeaders },
  issued: Pins,
): void {
  const names = exchange.provider.resourcesMade?.(answer.payload, answer.headers) ?? []
  for (const key of keysOf(exchange, names)) issued.set(key, account.key)
}

/** Response headers with an address for the client's next request, rewritten to the gateway's address. */
export function ownAddresses(
  exchange: Exchange,
  request: IncomingMessage,
  headers: IncomingHttpHeaders,
): Record<string, string> {
  const own: Record<string, string> = {}
  for (const name of exchange.provider.addressHeaders ?? []) {
    const value = headers[name]
    const path = typeof value === 'string' ? pathHere(exchange, value) : undefined
    if (path !== undefined) own[name] = baseOf(exchange, request) + path
  }
  return own
}

/**
 * Path and query of an address of the provider's, if requests for it come back to this provider. An account's key in the
 * query stays here: on the way back the account's own is added.
 */
function pathHere(exchange: Exchange, address: string): string | undefined {
  const { provider, snapshot, route, method, headers } = exchange
  const upstream = new URL(provider.upstream)
  if (!URL.canParse(address)) return undefined
  const { origin, host, pathname, search } = new URL(address)
  if (origin !== upstream.origin && !provider.hosts?.includes(host)) return undefined
  const base = upstream.pathname.replace(/\/$/, '')
  const path = pathname.startsWith(`${base}/`) ? pathname.slice(base.length) : pathname
  const back = matchRoute(snapshot.routes, { method, headers, path })
  return back?.providerName === route.providerName ? withoutKey(path + search) : undefined
}

/** The gateway's address as this client uses it: with the mount path and the access key, which not every upload repeats. */
function baseOf(exchange: Exchange, request: IncomingMessage & { originalUrl?: string }): string {
  const { host = 'localhost' } = request.headers
  const encrypted = 'encrypted' in request.socket || request.headers['x-forwarded-proto'] === 'https'
  const [written = ''] = (request.originalUrl ?? request.url ?? '').split('?', 1)
  const prefix = written.endsWith(exchange.path) ? written.slice(0, -exchange.path.length) : ''
  return `${encrypted ? 'https' : 'http'}://${host}${prefix}${admitted(request).keyPath}`
}
