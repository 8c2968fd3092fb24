import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import type { RequestHandler } from 'express'
import type { ResolvedConfig } from '../config/config.js'
import { isLoopback } from '../config/index.js'
import { GatewayFailure } from './failure.js'

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
  return function guard(request, _response, next) {
    const failure = refusal(request, access())
    if (failure) next(failure)
    else next()
  }
}

/** Checks a request and takes the access key out of it. Returns why it is refused. */
export function refusal(request: IncomingMessage, access: Access): GatewayFailure | undefined {
  if (request.rawHeaders.length > MOST_HEADERS * 2) return tooManyHeaders
  if (access === 'host-app') return undefined
  return foreignHost(request, access) ?? foreignOrigin(request, access) ?? missingKey(request, access)
}

/** A page in the user's browser can reach loopback under a name of its own (DNS rebinding), but cannot choose the Host. */
export function foreignHost(request: IncomingMessage, access: Rules): GatewayFailure | undefined {
  const host = hostName(request.headers.host)
  if (host === undefined || host === 'localhost' || isIP(host) || access.hosts.includes(host))
    return undefined
  return new GatewayFailure(
    403,
    'host_not_allowed',
    `the Host "${printable(host)}" is not allowed. Use 127.0.0.1 or localhost, or add it to access.hosts`,
  )
}

/** Without port and brackets; lower case. An absent Host is HTTP/1.0 and no browser. */
function hostName(host: string | undefined): string | undefined {
  if (host === undefined || host === '') return undefined
  const name = host.startsWith('[') ? host.slice(1, host.indexOf(']')) : host.replace(/:\d*$/, '')
  return name.toLowerCase().replace(/\.$/, '')
}

export function foreignOrigin(request: IncomingMessage, access: Rules): GatewayFailure | undefined {
  const { origin, host } = request.headers
  if (origin === undefined || access.origins.includes(origin)) return undefined
  const scheme = 'encrypted' in request.socket ? 'https' : 'http'
  if (host !== undefined && origin.toLowerCase() === `${scheme}://${host.toLowerCase()}`) return undefined
  return new GatewayFailure(
    403,
    'origin_not_allowed',
    `a web page of "${printable(origin)}" must not use the pool. To allow it, add it to access.origins`,
  )
}

function missingKey(request: IncomingMessage, access: Rules): GatewayFailure | undefined {
  const presented = takeKey(request)
  if (access.keys === false) return undefined
  if (access.keys === undefined) {
    if (isLoopback(request.socket.remoteAddress)) return undefined
    return new GatewayFailure(
      403,
      'key_required',
      'beyond this machine an access key is needed: set access.keys',
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

const printable = (text: string): string => text.replace(/[^\x21-\x7e]/g, '?').slice(0, 100)
