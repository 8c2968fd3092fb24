import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import type { UserConfig } from '../../src/index.js'
import { codeOf, startPool, type TestPool } from '../kit/pool.js'

const one = [{ id: 'alice' }]
const places = ['/v1/models', '/healthz', '/metrics', '/admin/accounts']
const key = 'key-of-the-laptop-0123456789'

/** The answer to bytes on a connection, with its status. */
async function raw(pool: TestPool, request: string): Promise<{ status: number; text: string }> {
  const { hostname, port } = new URL(pool.url)
  const socket = net.connect(Number(port), hostname)
  await once(socket, 'connect')
  socket.write(request)
  const answer = await text(socket)
  return { status: Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1]), text: answer }
}

const heads: Record<string, { head: string; status: number }> = {
  'a Host that only begins like an address': {
    head: 'GET PATH HTTP/1.1\r\nhost: [::1]evil.com',
    status: 403,
  },
  'a Host with half a bracket': { head: 'GET PATH HTTP/1.1\r\nhost: [::1', status: 403 },
  'a Host with a user in it': { head: 'GET PATH HTTP/1.1\r\nhost: evil.com@localhost', status: 403 },
  'a Host with a path in it': { head: 'GET PATH HTTP/1.1\r\nhost: localhost/x', status: 403 },
  'two Hosts': { head: 'GET PATH HTTP/1.1\r\nhost: localhost\r\nhost: evil.com', status: 400 },
  'two Hosts, the bad one first': {
    head: 'GET PATH HTTP/1.1\r\nhost: evil.com\r\nhost: localhost',
    status: 400,
  },
  'an empty Host': { head: 'GET PATH HTTP/1.1\r\nhost:', status: 403 },
  'an absolute target of another host': {
    head: 'GET http://evil.com PATH HTTP/1.1\r\nhost: localhost',
    status: 403,
  },
  'an absolute target without a host': { head: 'GET http:// PATH HTTP/1.1\r\nhost: localhost', status: 403 },
  'an absolute target of this host': {
    head: 'GET http://localhost:1 PATH HTTP/1.1\r\nhost: evil.com',
    status: 200,
  },
  'HTTP/1.0 without a Host': { head: 'GET PATH HTTP/1.0', status: 200 },
}
for (const [name, { head, status }] of Object.entries(heads))
  test(`${name} is answered ${status}, on every path`, async (t) => {
    const pool = await startPool(t, { codex: one })
    for (const place of places) {
      const line = head.replace(/ ?PATH/, (found) =>
        found === ' PATH' && head.includes('http:') ? place : ` ${place}`,
      )
      const answer = await raw(pool, `${line}\r\nconnection: close\r\n\r\n`)
      assert.equal(answer.status, status, `${place}: ${answer.text}`)
    }
  })

const sites: Record<string, { headers: Record<string, string>; status: 200 | 403 }> = {
  'an image of another site': {
    headers: { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' },
    status: 403,
  },
  'a frame of another site': {
    headers: { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' },
    status: 403,
  },
  'a page on another port': {
    headers: { 'sec-fetch-site': 'same-site', 'sec-fetch-mode': 'no-cors' },
    status: 403,
  },
  'a script of another site': {
    headers: { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' },
    status: 403,
  },
  'an address typed by a person': {
    headers: { 'sec-fetch-site': 'none', 'sec-fetch-mode': 'navigate' },
    status: 200,
  },
  'a page of the gateway itself': { headers: { 'sec-fetch-site': 'same-origin' }, status: 200 },
  'a program that is no browser': { headers: { 'sec-fetch-mode': 'cors' }, status: 200 },
  'an allowed page': {
    headers: { 'sec-fetch-site': 'cross-site', origin: 'https://ours.example' },
    status: 200,
  },
}
for (const [name, { headers, status }] of Object.entries(sites))
  test(`${name} is answered ${status}, whatever it asks for`, async (t) => {
    const pool = await startPool(t, { codex: one, config: { access: { origins: ['https://ours.example'] } } })
    for (const place of places) {
      const answer = await pool.request.get(place).set(headers)
      assert.equal(answer.status, status, place)
      if (status === 403) assert.equal(codeOf(answer.body), 'origin_not_allowed')
    }
    if (status === 403) assert.equal(pool.sim.requests.length, 0, 'nothing reached an upstream')
  })

const ours: UserConfig = {
  access: { origins: ['https://ours.example', 'app://obsidian.md'], keys: { laptop: key } },
}

for (const origin of ['https://ours.example', 'app://obsidian.md'])
  test(`a page of ${origin} reads what it may ask for, errors included`, async (t) => {
    const pool = await startPool(t, { codex: one, config: ours })
    const answers = [
      await pool.ask('s1', { path: `/k/${key}/v1/responses`, headers: { origin } }).expect(200),
      await pool.ask('s1', { headers: { origin } }).expect(403),
      await pool.request.get('/nowhere').set({ origin, 'x-codex-pool-key': key }).expect(404),
      await pool.request.get('/healthz').set({ origin }).expect(200),
      await pool.request.get('/admin/accounts').set({ origin }).expect(403),
    ]
    for (const { headers } of answers) {
      assert.equal(headers['access-control-allow-origin'], origin)
      assert.match(headers.vary ?? '', /origin/i)
    }
  })

test('the browser of an allowed page is told beforehand what the page may send', async (t) => {
  const pool = await startPool(t, { codex: one, config: ours })
  const asks = {
    origin: 'https://ours.example',
    'access-control-request-method': 'POST',
    'access-control-request-headers': 'content-type, x-codex-pool-key',
    'access-control-request-private-network': 'true',
  }
  for (const place of ['/v1/responses', ...places]) {
    const { status, headers } = await pool.request.options(place).set(asks)
    assert.equal(status, 204, place)
    assert.match(headers['access-control-allow-methods'] ?? '', /POST/)
    assert.equal(headers['access-control-allow-headers'], 'content-type, x-codex-pool-key')
    assert.equal(headers['access-control-allow-private-network'], 'true')
  }
  assert.equal(pool.sim.requests.length, 0)
  await pool.request
    .options('/v1/responses')
    .set({ ...asks, origin: 'https://evil.example' })
    .expect(403)
})

test('what an upstream serves is no page of the gateway, and says to no other page that it may be read', async (t) => {
  const pool = await startPool(t, { codex: one })
  pool.sim.fail({
    path: '/codex/responses',
    with: {
      status: 400,
      headers: { 'content-type': 'text/html', 'access-control-allow-origin': '*' },
      body: '<script>alert(1)</script>',
    },
  })
  const { headers } = await pool.ask('s1').expect(400)
  assert.equal(headers['x-content-type-options'], 'nosniff')
  assert.match(headers['content-security-policy'] ?? '', /sandbox/)
  assert.equal(headers['access-control-allow-origin'], undefined)
})
