import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { ClientRequest } from '../config/provider.js'
import type { Account } from '../src/accounts/account.js'
import { Pins } from '../src/accounts/pins.js'
import { type Exchange, type Home, matchRoute, withoutKey } from './exchange.js'
import { GatewayFailure } from './failure.js'
import { admitted } from './guard.js'

/** The resources that a request names, each with the key of its pin. May read the body. */
export function resourcesOf(
  exchange: Exchange,
  request: ClientRequest = exchange,
): ReadonlyMap<string, string> {
  const names = exchange.provider.resources?.(request) ?? []
  return new Map(names.map((name) => [name, keyOf(exchange, name)]))
}

const keyOf = ({ route }: Exchange, name: string): string => Pins.key('resource', route.providerName, name)

/**
 * The account that has the resources of a request; `undefined` if none is known, or if it is no longer in the pool.
 * @throws GatewayFailure if two accounts have one each
 */
export function homeOfResources(
  exchange: Exchange,
  all: readonly Account[],
  resources: Pins,
): Home | undefined {
  let home: Home | undefined
  for (const [resource, key] of exchange.resources) {
    const known = resources.get(key)
    const account = known === undefined ? undefined : all.find((one) => one.key === known)
    if (!account || account === home?.account) continue
    if (home) throw apart(home.resource, resource)
    home = { account, resource }
  }
  return home
}

function apart(one: string, other: string): GatewayFailure {
  const way = 'Make one of them again in a request that names the other, or send them in two requests'
  const message = `"${one}" and "${other}" belong to two accounts of the pool, and no account can use both. ${way}`
  return new GatewayFailure(400, 'resources_apart', message)
}

/** The refusal of a request for a resource whose account the pool has, and does not use for such a request. */
export function heldBackHome({ account, resource }: Home): GatewayFailure {
  const way = 'see providers.NAME.apiKeys, or make the resource again'
  const message = `"${resource}" belongs to the account ${account.id}, which is not used for this request: ${way}`
  return new GatewayFailure(400, 'resource_held_back', message)
}

/** Remembers that an account has the resources of a request that it served. */
export function rememberServed(exchange: Exchange, account: Account, resources: Pins): void {
  for (const key of exchange.resources.values()) resources.set(key, account.key)
}

/** Remembers that an account has the resources that its answer, or a part of it, names. */
export function rememberMade(
  exchange: Exchange,
  account: Account,
  names: readonly string[],
  resources: Pins,
): void {
  for (const name of names) resources.set(keyOf(exchange, name), account.key)
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
