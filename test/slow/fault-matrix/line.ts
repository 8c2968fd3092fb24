import { constants } from 'node:crypto'
import dns, { type LookupAddress, type LookupOptions } from 'node:dns'
import { once } from 'node:events'
import http from 'node:http'
import https from 'node:https'
import net, { type AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'
import tls from 'node:tls'
import type { Simulator } from '../../../src/simulator/index.js'
import { selfSigned } from './certificate.js'

/** What can be wrong with the way to an upstream. */
export type Line = 'refused' | 'no such name' | 'bad certificate' | 'no handshake'

/** A way to the simulator on which connections fail. */
export interface BadLine {
  /** What the gateway takes for the upstream's address. */
  readonly url: string
  /** So many connections from now on fail. */
  fail(times: number): void
}

export function openLine(t: TestContext, line: Line, sim: Simulator): Promise<BadLine> {
  return line === 'refused' || line === 'no such name' ? badName(t, line, sim) : badTls(t, line, sim)
}

/** The simulator under a name that is not always found, or is found at an address where nobody listens. */
async function badName(t: TestContext, line: Line, sim: Simulator): Promise<BadLine> {
  let left = 0
  const lookup = dns.lookup as (name: string, ...rest: unknown[]) => void
  t.mock.method(dns, 'lookup', (name: string, ...rest: [LookupOptions, Found]) => {
    const [options, done] = rest
    if (name !== 'localhost') return lookup(name, ...rest)
    if (left-- <= 0) return done(null, ...found(options, '127.0.0.1', 4))
    if (line === 'refused') return done(null, ...found(options, '::1', 6))
    done(Object.assign(new Error(`getaddrinfo ENOTFOUND ${name}`), { code: 'ENOTFOUND' }))
  })
  return { url: `http://localhost:${new URL(sim.url).port}`, fail: (times) => void (left = times) }
}

type Found = (error: Error | null, address?: string | LookupAddress[], family?: number) => void

function found({ all }: LookupOptions, address: string, family: 4 | 6): [string | LookupAddress[], number] {
  return [all ? [{ address, family }] : address, family]
}

/** The simulator behind TLS, with a certificate that is trusted, or not, or with a server that never shakes hands. */
async function badTls(t: TestContext, line: Line, sim: Simulator): Promise<BadLine> {
  let left = 0
  const good = selfSigned()
  // A resumed session does not check the certificate again.
  const secureOptions = constants.SSL_OP_NO_TICKET
  const forged = tls.createSecureContext({ ...selfSigned(), secureOptions })
  const trusted = tls.createSecureContext({ ...good, secureOptions })
  const server = https.createServer(
    { ...good, secureOptions, SNICallback: (_name, use) => use(null, left-- > 0 ? forged : trusted) },
    relayTo(sim),
  )
  const door = net.createServer((socket) => {
    socket.on('error', () => {})
    if (line === 'no handshake' && left-- > 0) return void socket.resume()
    server.emit('connection', socket)
  })
  door.listen(0, '127.0.0.1')
  await once(door, 'listening')
  t.after(() => door.close())
  const connect = tls.connect as (options: tls.ConnectionOptions) => tls.TLSSocket
  t.mock.method(tls, 'connect', (options: tls.ConnectionOptions) => connect({ ...options, ca: good.cert }))
  const { port } = door.address() as AddressInfo
  return { url: `https://localhost:${port}`, fail: (times) => void (left = times) }
}

/** Passes requests on to the simulator, under its own name. */
function relayTo(sim: Simulator): http.RequestListener {
  const { host } = new URL(sim.url)
  return (request, response) => {
    const { method, headers } = request
    const path = new URL(request.url ?? '/', sim.url)
    const onward = http.request(path, { method, agent: false, headers: { ...headers, host } }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(response)
    })
    request.pipe(onward)
  }
}
