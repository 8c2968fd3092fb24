import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { RequestHandler } from 'express'
import type { ResolvedConfig } from '../config/config.js'
import { isLoopback } from '../config/index.js'
import { GatewayFailure } from './failure.js'
import { admitPage, foreignPage } from './web-pages.js'

type Access = ResolvedConfig['access']
type Rules = Exclude<Access, 'host-app'>

/** The client of a request that has passed the guard. */
export interface Admitted {
  /** Hash of the access key, or `local`. */
  readonly client: string
  /** Name of the access key. */
  readonly keyName: string | undefined
  /** The access key as the beginning of a path, for an address that the client is given; empty if its path has it already. */
  readonly keyPath: string
}

/** The clients send about 20. */
const MOST_HEADERS = 200

const tooManyHeaders = new GatewayFailure(
  431,
  'too_many_headers',
  `a request may have at most ${MOST_HEADERS} headers`,
)

const clients = new WeakMap<object, Admitted>()

/** The client of a request. */
export function admitted(request: object): Admitted {
  return clients.get(request) ?? { client: 'local', keyName: undefined, keyPath: '' }
}

/** Refuses requests that `access` does not allow, before anything of the request is read. */
export function guard(access: () => Access): RequestHandler {
  return function guard(request, response, next) {
    disarm(response)
    const rules = access()
    const failure = foreign(request, rules)
    if (!failure && rules !== 'host-app' && admitPage(request, response, rules)) return
    const refused = failure ?? (rules === 'host-app' ? undefined : missingKey(request, rules))
    // A connection that is kept open takes up room which the clients with a key may need.
    if (refused) response.setHeader('connection', 'close')
    next(refused)
  }
}

/** Keeps an upstream's page from running as one: it would have the rights of the gateway's own origin. */
function disarm(response: ServerResponse): void {
  response.setHeader('x-content-type-options', 'nosniff')
  if (!response.hasHeader('content-security-policy'))
    response.setHeader('content-security-policy', "sandbox; default-src 'none'")
}

/** Checks a WebSocket handshake in the same way, and takes the access key out of it. Returns the refusal, if any. */
export function refusal(request: IncomingMessage, access: Access): GatewayFailure | undefined {
  return foreign(request, access) ?? (access === 'host-app' ? undefined : missingKey(request, access))
}

/** Refusals that no access key can lift. */
export function foreign(request: IncomingMessage, access: Access): GatewayFailure | undefined {
  if (request.rawHeaders.length > MOST_HEADERS * 2) return tooManyHeaders
  return access === 'host-app' ? undefined : foreignPage(request, access)
}

function missingKey(request: IncomingMessage, access: Rules): GatewayFailure | undefined {
  const taken = takeKey(request, access.keys || {})
  if (access.keys === false) return undefined
  if (access.keys === undefined) {
    if (isLocal(request, access.proxies)) return undefined
    return new GatewayFailure(
      403,
      'key_required',
      'beyond this machine, or through a proxy, an access key is needed: set access.keys',
    )
  }
  if (!taken) {
    const how = 'put it in the path, /k/KEY/…, in the header x-codex-pool-key, or give it as the API key'
    return new GatewayFailure(403, 'key_required', `a valid access key is needed: ${how}`)
  }
  const { name, key, place } = taken
  const client = hash(key).toString('base64url').slice(0, 12)
  clients.set(request, { client, keyName: name, keyPath: place === 'path' ? '' : `/k/${key}` })
  return undefined
}

/** Connections through a Unix socket that only the user of this process can open. */
export const ofOwnUser = new WeakSet<object>()

/**
 * Whether a request comes from this machine. A reverse proxy here passes on requests from anywhere: the address that it
 * names counts if `access.proxies` lists it, and a request through any other proxy is not from here.
 */
export function isLocal({ socket, headers }: IncomingMessage, proxies: readonly string[]): boolean {
  const passedOn = headers['x-forwarded-for']
  const isPassedOn = (passedOn ?? headers.forwarded ?? headers.via) !== undefined
  if (!isPassedOn) return isLoopback(socket.remoteAddress) || ofOwnUser.has(socket)
  if (passedOn === undefined || headers.forwarded !== undefined) return false
  const isProxy = (address: string) => proxies.includes(address.replace(/^::ffff:/, ''))
  // The last address comes from the nearest proxy; what stands before one that is no proxy, a client may have made up.
  const hops = [...String(passedOn).split(','), socket.remoteAddress ?? ''].map((hop) => hop.trim())
  if (!isProxy(hops.at(-1)!)) return false
  return isLoopback(hops.findLast((hop) => !isProxy(hop)) ?? hops[0])
}

/** Whether a request carries one of these keys. */
export function holdsKey(request: IncomingMessage, keys: Readonly<Record<string, string>>): boolean {
  return placesOf(request).some(({ key }) => nameOf(key, keys) !== undefined)
}

/** A place of a request that may hold an access key. */
interface Place {
  /** `own`: a place of the gateway's. `client`: the place of the client's key for an upstream; many tools have no other. */
  readonly place: 'path' | 'own' | 'client'
  readonly key: string
  readonly remove: () => void
}

/** Removes the access key from the request, so that it reaches no upstream, no provider and no log. */
function takeKey(
  request: IncomingMessage,
  keys: Readonly<Record<string, string>>,
): { readonly name: string; readonly key: string; readonly place: Place['place'] } | undefined {
  const found = placesOf(request).flatMap(({ place, key, remove }) => {
    const name = nameOf(key, keys)
    // In the client's own places, any other key is its own: it tells a provider who the caller is.
    if (name !== undefined || place !== 'client') remove()
    return name === undefined ? [] : [{ name, key, place }]
  })
  return found[0]
}

function nameOf(presented: string, keys: Readonly<Record<string, string>>): string | undefined {
  const hashed = hash(presented)
  return Object.keys(keys).find((name) => timingSafeEqual(hash(keys[name]!), hashed))
}

function placesOf(request: IncomingMessage): Place[] {
  return [...inPath(request), ...inHeaders(request), ...inQuery(request), ...inSubprotocols(request)]
}

function inPath(request: IncomingMessage): Place[] {
  const found = /^\/+k\/([^/?]+)(?=[/?]|$)/.exec(request.url ?? '')
  if (!found) return []
  const remove = () => {
    const rest = request.url!.slice(found[0].length)
    request.url = rest.startsWith('/') ? rest : `/${rest}`
  }
  return [{ place: 'path', key: decoded(found[1]!), remove }]
}

/** `api-key`, `x-api-key` and the like: the names under which clients send an upstream's key. */
const KEY_HEADER = /(^|-)api-?key$/

function inHeaders({ headers }: IncomingMessage): Place[] {
  const own = headers['x-codex-pool-key']
  const places = Object.keys(headers).filter((name) => name === 'authorization' || KEY_HEADER.test(name))
  const found: Place[] = places.slice(0, MOST_KEYS).map((name) => ({
    place: 'client',
    key: String(headers[name]).replace(/^bearer +/i, ''),
    remove: () => void delete headers[name],
  }))
  if (typeof own !== 'string') return found
  return [{ place: 'own', key: own, remove: () => void delete headers['x-codex-pool-key'] }, ...found]
}

/** More keys than any request has; each costs a hash. */
const MOST_KEYS = 4

/** Google's clients may write `?key=`. */
function inQuery(request: IncomingMessage): Place[] {
  const [, query = ''] = request.url?.split(/\?(.*)/s) ?? []
  const parts = query.split('&', 1_000).filter((part) => part.startsWith('key='))
  return parts.slice(0, MOST_KEYS).map((part) => ({
    place: 'client',
    key: decoded(part.slice(4)),
    remove: () => {
      const [path, rest = ''] = request.url!.split(/\?(.*)/s)
      const kept = rest.split('&').filter((one) => one !== part)
      request.url = kept.length > 0 ? `${path}?${kept.join('&')}` : path
    },
  }))
}

/** A web page cannot set the headers of a WebSocket: its client names a subprotocol after the key. */
const KEY_PROTOCOL = /^(?:[^.]*-)?api-?key\.(.+)$/

function inSubprotocols({ headers }: IncomingMessage): Place[] {
  const names = (headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim())
  const keys = names.flatMap((name) => KEY_PROTOCOL.exec(name)?.[1] ?? [])
  // A subprotocol that holds any credential is taken out later, with the others of its kind.
  return keys.slice(0, MOST_KEYS).map((key) => ({ place: 'client', key, remove: () => {} }))
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch {
    return segment
  }
}

const hash = (text: string): Buffer => createHash('sha256').update(text).digest()

export function sameSecret(a: string, b: string): boolean {
  return timingSafeEqual(hash(a), hash(b))
}
