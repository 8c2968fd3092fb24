import { once } from 'node:events'
import http from 'node:http'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import type { TestContext } from 'node:test'

export interface TestProxy {
  /** `host:port` of the proxy. */
  readonly address: string
  /** Where it was asked to connect to, in order: `host:port`, and whether the host was a name. */
  readonly asked: { readonly host: string; readonly port: number; readonly named: boolean }[]
}

/** A SOCKS 5 proxy (RFC 1928) without authentication, which connects every name to 127.0.0.1. */
export async function startSocksProxy(t: TestContext, { refuses = false } = {}): Promise<TestProxy> {
  const asked: TestProxy['asked'] = []
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => {
      socket.write(Buffer.from([5, 0]))
      socket.once('data', (request) => {
        const named = request[3] === 3
        const length = named ? request[4]! : 4
        const from = named ? 5 : 4
        const bytes = request.subarray(from, from + length)
        const host = named ? bytes.toString() : [...bytes].join('.')
        const port = request.readUInt16BE(from + length)
        asked.push({ host, port, named })
        const status = refuses ? 2 : 0
        socket.write(Buffer.from([5, status, 0, 1, 0, 0, 0, 0, 0, 0]))
        if (!refuses) join(socket, port)
      })
    })
  })
  return { address: await listening(t, server), asked }
}

/** A proxy that opens tunnels (CONNECT), or refuses them with 403. Whatever else it is sent counts as asked, too. */
export async function startTunnelProxy(t: TestContext, { refuses = false } = {}): Promise<TestProxy> {
  const asked: TestProxy['asked'] = []
  const server = http.createServer((request, response) => {
    asked.push({ host: request.url ?? '', port: 0, named: true })
    response.writeHead(502).end()
  })
  server.on('connect', (request, socket: Socket) => {
    const { hostname, port } = new URL(`http://${request.url}`)
    asked.push({ host: hostname, port: Number(port) || 80, named: true })
    socket.on('error', () => {})
    if (refuses) return socket.end('HTTP/1.1 403 Forbidden\r\n\r\n')
    socket.write('HTTP/1.1 200 OK\r\n\r\n')
    join(socket, Number(port) || 80)
    return
  })
  return { address: await listening(t, server), asked }
}

function join(socket: Socket, port: number): void {
  const upstream = connect(port, '127.0.0.1')
  upstream.on('error', () => socket.destroy())
  socket.on('close', () => upstream.destroy())
  socket.pipe(upstream).pipe(socket)
}

async function listening(t: TestContext, server: Server): Promise<string> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => sockets.add(socket))
  t.after(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** Sets variables of this process until the test ends. Once in a test: the hooks of two would restore in the wrong order. */
export function withEnvironment(t: TestContext, variables: Record<string, string | undefined>): void {
  const before = Object.keys(variables).map((name) => [name, process.env[name]] as const)
  const set = (name: string, value: string | undefined) => {
    if (value === undefined) delete process.env[name]
    else process.env[name] = value
  }
  for (const [name, value] of Object.entries(variables)) set(name, value)
  t.after(() => {
    for (const [name, value] of before) set(name, value)
  })
}
