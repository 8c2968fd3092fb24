import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import net, { type AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { test, type TestContext } from 'node:test'
import { WebSocketServer } from 'ws'
import { clientHeaders, startPool, turn, until } from '../../kit/pool.js'
import { connect } from '../../kit/websocket.js'

const h2c =
  'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n'

/** Sends requests on one connection, the last of which ends it; all that comes back. */
async function raw(url: string, ...requests: string[]): Promise<string> {
  const { hostname, port } = new URL(url)
  const socket = net.connect(Number(port), hostname)
  await once(socket, 'connect')
  for (const request of requests) socket.write(request)
  return text(socket)
}

const statuses = (answer: string): string[] =>
  [...answer.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => status!)

const last = 'Host: localhost\r\nConnection: close\r\n\r\n'

for (const path of ['/healthz', '/metrics', '/admin/accounts', '/v1/models', '/nowhere'])
  test(`an offer of HTTP/2 is ignored: ${path} is answered as without it`, async (t) => {
    const pool = await startPool(t, { codex: [{ id: 'alice' }] })
    const { status } = await pool.request.get(path)
    const answer = await raw(
      pool.url,
      `GET ${path} HTTP/1.1\r\nHost: localhost\r\n${h2c}\r\n`,
      `GET ${path} HTTP/1.1\r\n${last}`,
    )
    assert.deepEqual(statuses(answer), [String(status), String(status)], 'and the connection goes on')
  })

test('a generation with an offer of HTTP/2 reaches the upstream with its body, and without the offer', async (t) => {
  const pool = await startPool(t, { codex: [{ id: 'alice' }] })
  const body = JSON.stringify(turn({ prompt: 'from Java' }))
  const headers = Object.entries(clientHeaders()).map(([name, value]) => `${name}: ${value}\r\n`)
  const head = `POST /v1/responses HTTP/1.1\r\nHost: localhost\r\n${h2c}${headers.join('')}Content-Type: application/json\r\n`
  const answer = await raw(
    pool.url,
    `${head}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    `HEAD /healthz HTTP/1.1\r\n${last}`,
  )
  assert.deepEqual(statuses(answer), ['200', '200'])
  assert.match(answer, /Hello from the simulator/)
  const [asked] = pool.sim.requests
  assert.deepEqual([asked?.headers.upgrade, asked?.headers['http2-settings']], [undefined, undefined])
})

for (const [method, version] of [
  ['GET', '1.0'],
  ['HEAD', '1.1'],
  ['OPTIONS', '1.1'],
])
  test(`an offer of a WebSocket by ${method} over HTTP/${version} is ignored: it cannot be one`, async (t) => {
    const pool = await startPool(t, { codex: [{ id: 'alice' }] })
    for (const path of ['/healthz', '/v1/models', '/v1/responses']) {
      const plain = await raw(pool.url, `${method} ${path} HTTP/${version}\r\n${last}`)
      const offer = `${method} ${path} HTTP/${version}\r\nUpgrade: websocket\r\nHost: localhost\r\n`
      const answer = await raw(pool.url, `${offer}Connection: upgrade, close\r\n\r\n`)
      assert.deepEqual(statuses(answer), statuses(plain), path)
    }
  })

test('an offer of HTTP/2 gets past no rule', async (t) => {
  const pool = await startPool(t, { codex: [{ id: 'alice' }] })
  for (const head of [
    'GET /v1/models HTTP/1.1\r\nHost: evil.example',
    'GET http://evil.example/v1/models HTTP/1.1\r\nHost: localhost',
  ])
    assert.deepEqual(statuses(await raw(pool.url, `${head}\r\n${h2c}\r\n`)), ['403'])
  assert.equal(pool.sim.requests.length, 0)
})

/** An app around a gateway, with or without WebSockets of its own. */
async function app(t: TestContext, { sockets }: { sockets: boolean }) {
  const pool = await startPool(t, { codex: [{ id: 'alice' }] })
  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    response.end(`the app's ${request.url}`)
  })
  server.on('upgrade', pool.gateway.upgrade)
  const own = new WebSocketServer({ noServer: true })
  if (sockets)
    server.on('upgrade', (request, socket, head) => {
      if (request.url === '/chat') own.handleUpgrade(request, socket, head, (ws) => ws.send('hello'))
    })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.after(() => {
    for (const client of own.clients) client.terminate()
    server.closeAllConnections()
    server.close()
  })
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

for (const sockets of [false, true])
  test(`embedded, the host's own paths take an offer of HTTP/2, ${sockets ? 'with' : 'without'} WebSockets of its own`, async (t) => {
    const { url } = await app(t, { sockets })
    const answer = await raw(
      url,
      `GET /hello HTTP/1.1\r\nHost: localhost\r\n${h2c}\r\n`,
      `GET /again HTTP/1.1\r\n${last}`,
    )
    assert.match(answer, /the app's \/hello[^]*the app's \/again/)
  })

test('embedded, the WebSockets of the host go on', async (t) => {
  const { url } = await app(t, { sockets: true })
  const socket = await connect(`${url}/chat`)
  assert.equal(await socket.next(), 'hello')
})

test('embedded, a client that resets an upgrade that is not ours ends nothing', async (t) => {
  const { url, server } = await app(t, { sockets: true })
  const { hostname, port } = new URL(url)
  const upgrade =
    'GET /elsewhere HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'
  const socket = net.connect(Number(port), hostname)
  const [taken] = await Promise.all([
    once(server, 'upgrade'),
    once(socket, 'connect').then(() => socket.write(upgrade)),
  ])
  socket.resetAndDestroy()
  await until(() => (taken[1] as net.Socket).destroyed)
  assert.match(await raw(url, `GET /after HTTP/1.1\r\n${last}`), /the app's \/after/)
})
