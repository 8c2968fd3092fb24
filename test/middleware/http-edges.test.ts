import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import net, { type AddressInfo, type Socket } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { test, type TestContext } from 'node:test'
import { startPool, type TestPool } from '../kit/pool.js'

/** An upstream that answers with exactly these bytes, and a pool with one account for it. */
async function answering(t: TestContext, answer: string): Promise<TestPool> {
  const sockets = new Set<Socket>()
  const upstream = net.createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {}).once('data', () => socket.end(Buffer.from(answer, 'latin1')))
  })
  await once(upstream.listen(0, '127.0.0.1'), 'listening')
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    upstream.close()
  })
  const address = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`
  return startPool(t, {
    config: {
      providers: { mine: { type: 'bearer', upstream: address } },
      routes: [{ path: '/mine', provider: 'mine' }],
    },
    prepare: ({ poolDir }) => writeFile(join(poolDir, 'mine_a.json'), JSON.stringify({ token: 'a-token' })),
  })
}

/** All that comes back for bytes on a connection. */
async function raw(pool: TestPool, request: string): Promise<string> {
  const { hostname, port } = new URL(pool.url)
  const socket = net.connect(Number(port), hostname).setEncoding('latin1')
  socket.write(request)
  return text(socket)
}

const head = (line: string, ...more: string[]): string =>
  [line, 'Host: localhost', ...more, 'Connection: close', '', ''].join('\r\n')

const withLength = 'HTTP/1.1 200 OK\r\nTrailer: x-end\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody'
const chunked =
  'HTTP/1.1 200 OK\r\nTrailer: x-end, set-cookie\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n' +
  '4\r\nbody\r\n0\r\nx-end: 1\r\nset-cookie: a=b\r\nset-cookie2: a=b\r\n\r\n'
const empty = 'HTTP/1.1 204 No Content\r\nTrailer: x-end\r\nConnection: close\r\n\r\n'
const unchanged = 'HTTP/1.1 304 Not Modified\r\nTrailer: x-end\r\nETag: "x"\r\nConnection: close\r\n\r\n'

const edges: Record<
  string,
  { answer: string; request: string; status: number; body?: RegExp; trailers?: boolean }
> = {
  'Trailer with a length': {
    answer: withLength,
    request: head('GET /mine/x HTTP/1.1'),
    status: 200,
    body: /\r\n\r\nbody$/,
  },
  'Trailer to HEAD': {
    answer: withLength,
    request: head('HEAD /mine/x HTTP/1.1'),
    status: 200,
    body: /\r\n\r\n$/,
  },
  'Trailer to HTTP/1.0': {
    answer: chunked,
    request: head('GET /mine/x HTTP/1.0'),
    status: 200,
    body: /\r\n\r\nbody$/,
  },
  'Trailer to HTTP/1.1': {
    answer: chunked,
    request: head('GET /mine/x HTTP/1.1'),
    status: 200,
    trailers: true,
  },
  'Trailer and 204': { answer: empty, request: head('GET /mine/x HTTP/1.1'), status: 204, body: /\r\n\r\n$/ },
  'Trailer and 304': {
    answer: unchanged,
    request: head('GET /mine/x HTTP/1.1'),
    status: 304,
    body: /\r\n\r\n$/,
  },
  'an absolute target': {
    answer: chunked,
    request: head('GET http://localhost/mine/x HTTP/1.1'),
    status: 200,
    trailers: true,
  },
  'an absolute target over HTTP/1.0': {
    answer: withLength,
    request: head('GET http://localhost/mine/x HTTP/1.0'),
    status: 200,
    body: /body$/,
  },
  'an upgrade that nobody asked for': {
    answer: 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n',
    request: head('GET /mine/x HTTP/1.1'),
    status: 502,
    body: /answered 101/,
  },
  'Expect: 100-continue': {
    answer: withLength,
    request: `${head('POST /mine/x HTTP/1.1', 'Expect: 100-continue', 'Content-Length: 2')}{}`,
    status: 100,
    body: /HTTP\/1\.1 200 OK[^]*body$/,
  },
}
for (const [name, { answer, request, status, body, trailers = false }] of Object.entries(edges))
  test(`the answer arrives: ${name}`, async (t) => {
    const seen = await raw(await answering(t, answer), request)
    assert.match(seen, new RegExp(`^HTTP/1\\.1 ${status} `), seen)
    if (body) assert.match(seen, body)
    assert.equal(/x-end/i.test(seen), trailers, 'trailers go out only where they can')
    assert.doesNotMatch(seen, /^set-cookie/im, 'no cookie, not in trailers either')
  })

test('requests in one packet are answered in their order', async (t) => {
  const pool = await answering(t, withLength)
  const first = 'GET /mine/1 HTTP/1.1\r\nHost: localhost\r\n\r\n'
  const seen = await raw(pool, first + first + head('HEAD /healthz HTTP/1.1'))
  assert.equal(seen.match(/HTTP\/1\.1 200 OK/g)?.length, 3, seen)
  assert.equal(seen.match(/body/g)?.length, 2)
})

test('several lines of one header, and bytes beyond ASCII, arrive as they came', async (t) => {
  const lines = 'Link: <a>\r\nLink: <b>\r\nX-Name: J\u00fcrgen \u00ff\r\nWarning: 1\r\nWarning: 2\r\n'
  const answer = `HTTP/1.1 200 OK\r\n${lines}Set-Cookie: a=b\r\nSet-Cookie2: c=d\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`
  const seen = await raw(await answering(t, answer), head('GET /mine/x HTTP/1.1'))
  assert.ok(
    seen.includes('Link: <a>\r\nLink: <b>\r\nX-Name: J\u00fcrgen \u00ff\r\nWarning: 1\r\nWarning: 2\r\n'),
    seen,
  )
  assert.doesNotMatch(seen, /set-cookie/i)
})
