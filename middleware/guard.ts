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
  return clients.get(request) ?? { client: 'local', keyName: undefined }
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
  const presented = takeKey(request)
  if (access.keys === false) return undefined
  if (access.keys === undefined) {
    if (isLocal(request, access.proxies)) return undefined
    return new GatewayFailure(
      403,
      'key_required',
      'beyond this machine, or through a proxy, an access key is needed: set access.keys',
    )
  }
  const entry = Object.entries(access.keys).find(
    ([, key]) => presented !== undefined && sameSecret(key, presented),
  )
  if (!entry) {
    const how = 'put it in the path, /k/KEY/…, or in the header x-codex-pool-key'
    return new GatewayFailure(403, 'key_required', `a valid access key is needed: ${how}`)
  }
  clients.set(request, { client: hash(entry[1]).toString('base64url').slice(0, 12), keyName: entry[0] })
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

export function holdsKey({ headers }: IncomingMessage, keys: Readonly<Record<string, string>>): boolean {
  const presented = headers['x-codex-pool-key']
  return typeof presented === 'string' && Object.values(keys).some((key) => sameSecret(key, presented))
}

/** Removes the access key from the request, so that it reaches no upstream. */
function takeKey(request: IncomingMessage): string | undefined {
  const header = request.headers['x-codex-pool-key']
  delete request.headers['x-codex-pool-key']
  const inPath = /^\/+k\/([^/?]+)(?=[/?]|$)/.exec(request.url ?? '')
  if (!inPath) return typeof header === 'string' ? header : undefined
  const rest = request.url!.slice(inPath[0].length)
  request.url = rest.startsWith('/') ? rest : `/${rest}`
  return decoded(inPath[1]!)
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
