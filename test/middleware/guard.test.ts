import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile, stat } from 'node:fs/promises'
import http, { type IncomingMessage } from 'node:http'
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import express from 'express'
import { createGateway, type UserConfig } from '../../src/index.js'
import { codeOf, startPool } from '../kit/pool.js'

const one = [{ id: 'alice' }]
const laptop = 'key-of-the-laptop-0123456789'
const withKeys: UserConfig = { access: { keys: { laptop, desk: 'key-of-the-desk-0123456789' } } }
const places = ['/v1/models', '/healthz', '/metrics', '/admin/accounts']

const hosts: Record<string, 200 | 403> = {
  localhost: 200,
  'LocalHost:8989': 200,
  'localhost.': 200,
  '127.0.0.1:1': 200,
  '192.168.1.20:8989': 200,
  '[::1]:8989': 200,
  'pool.example': 200,
  'POOL.example:443': 200,
  'evil.example': 403,
  'localhost.evil.example': 403,
  '127.0.0.1.nip.example': 403,
  'not-pool.example': 403,
  'user@localhost': 403,
}
test('a Host that a page could have chosen comes in nowhere', async (t) => {
  const pool = await startPool(t, { codex: one, config: { access: { hosts: ['Pool.example'] } } })
  for (const [host, expected] of Object.entries(hosts))
    for (const place of places) {
      const { status, body } = await pool.request.get(place).set('host', host)
      assert.equal(status, expected, `${place} at ${host}`)
      if (status === 403) assert.equal(codeOf(body), 'host_not_allowed')
      if (status === 403) assert.match(body.error.message, /access\.hosts/)
    }
  assert.equal(pool.sim.requests.length, 8, 'what was turned away reached nobody')
})

test('a page of another origin comes in nowhere', async (t) => {
  const pool = await startPool(t, { codex: one, config: { access: { origins: ['https://ours.example'] } } })
  const origins: Record<string, 200 | 403> = {
    [pool.url]: 200,
    'https://ours.example': 200,
    'https://evil.example': 403,
    'https://ours.example.evil.example': 403,
    'http://127.0.0.1:1': 403,
    'http://localhost': 403,
    null: 403,
    'file://': 403,
  }
  for (const [origin, expected] of Object.entries(origins))
    for (const place of places) {
      const { status, body, headers } = await pool.request.get(place).set('origin', origin)
      assert.equal(status, expected, `${place} for ${origin}`)
      if (status === 403) assert.equal(codeOf(body), 'origin_not_allowed')
      const readable = origin === 'https://ours.example' ? origin : undefined
      assert.equal(headers['access-control-allow-origin'], readable, `${place} for ${origin}`)
    }
  for (const { headers } of pool.sim.requests) assert.equal(headers.origin, undefined)
})

const shown: Record<string, { path?: string; headers?: Record<string, string>; status: number }> = {
  'no key': { status: 403 },
  'a wrong key in the path': { path: '/k/wrong', status: 403 },
  'a wrong key in the header': { headers: { 'x-codex-pool-key': 'wrong' }, status: 403 },
  'the beginning of a key': { headers: { 'x-codex-pool-key': laptop.slice(0, -1) }, status: 403 },
  'a key as a bearer': { headers: { authorization: `Bearer ${laptop}` }, status: 200 },
  'a key as a bearer in small letters': { headers: { authorization: `bearer  ${laptop}` }, status: 200 },
  'a key as basic authorization': { headers: { authorization: `Basic ${laptop}` }, status: 403 },
  'a key as x-api-key': { headers: { 'x-api-key': laptop }, status: 200 },
  'a key as api-key': { headers: { 'api-key': laptop }, status: 200 },
  'a key as x-goog-api-key': { headers: { 'x-goog-api-key': laptop }, status: 200 },
  'a key in the query': { path: `?key=${laptop}`, status: 200 },
  'an encoded key among others in the query': {
    path: `?a=1&key=mine&key=${laptop.replace('k', '%6b')}&b=2`,
    status: 200,
  },
  'a key under another name in the query': { path: `?token=${laptop}`, status: 403 },
  'a wrong key as a bearer beside a good one': {
    headers: { authorization: 'Bearer mine', 'x-codex-pool-key': laptop },
    status: 200,
  },
  'a wrong key everywhere': {
    path: '?key=wrong',
    headers: { authorization: 'Bearer wrong', 'x-api-key': 'wrong', 'x-goog-api-key': 'wrong' },
    status: 403,
  },
  'a key in the path': { path: `/k/${laptop}`, status: 200 },
  'an encoded key in the path': { path: `/k/${laptop.replace('k', '%6b')}`, status: 200 },
  'a key in the header': { headers: { 'x-codex-pool-key': laptop }, status: 200 },
}
for (const [name, { path = '', headers = {}, status }] of Object.entries(shown))
  test(`with access keys, ${name} is answered ${status}; the key itself goes no further`, async (t) => {
    const pool = await startPool(t, { codex: one, config: withKeys })
    pool.sim.forbid(laptop)
    const url = path.startsWith('?') ? `/v1/responses${path}` : `${path}/v1/responses`
    const answer = await pool.ask('s1', { path: url, headers })
    assert.equal(answer.status, status)
    if (status === 403) assert.equal(codeOf(answer.body), 'key_required')
    assert.deepEqual(pool.asked(), status === 200 ? ['alice'] : [])
  })

test('a key given as the API key reaches neither a provider nor middleware; the client’s own key does', async (t) => {
  const seen: unknown[] = []
  const config: UserConfig = {
    ...withKeys,
    use: [
      ({ url, headers }, _response, next) => {
        seen.push([url, headers.authorization, headers['x-goog-api-key'], headers['x-codex-pool-key']])
        next()
      },
    ],
  }
  const pool = await startPool(t, { codex: one, config })
  await pool.ask('s1', {
    path: `/v1/responses?x=1&key=${laptop}`,
    headers: { authorization: `Bearer ${laptop}`, 'x-goog-api-key': 'mine' },
  })
  await pool.ask('s1', { headers: { authorization: 'Bearer mine', 'x-codex-pool-key': laptop } })
  assert.deepEqual(seen, [
    ['/v1/responses?x=1', undefined, 'mine', undefined],
    ['/v1/responses', 'Bearer mine', undefined, undefined],
  ])
})

test('two people with one address and a key each are told apart, wherever the key stands', async (t) => {
  const clients: unknown[] = []
  const pool = await startPool(t, {
    codex: one,
    config: {
      ...withKeys,
      providers: {
        codex: { type: 'codex' },
        own: {
          type: 'custom',
          upstream: 'http://127.0.0.1:9',
          credentials: 'none_*.json',
          authorize: () => ({}),
          answer: ({ client }) => (clients.push(client), { status: 200, body: {} }),
        },
      },
      routes: [{ path: '/own', provider: 'own' }],
    },
  })
  const desk = 'key-of-the-desk-0123456789'
  await pool.request.get('/own').set('authorization', `Bearer ${laptop}`).expect(200)
  await pool.request.get('/own').set('authorization', `Bearer ${desk}`).expect(200)
  await pool.request.get(`/k/${laptop}/own`).expect(200)
  assert.equal(clients[0], clients[2])
  assert.notEqual(clients[0], clients[1])
})

test('without access keys a key in the address is taken out all the same', async (t) => {
  const pool = await startPool(t, { codex: one })
  pool.sim.forbid(laptop)
  await pool.ask('s1', { path: `/k/${laptop}/v1/responses` }).expect(200)
})

test('a client key opens neither /admin nor /metrics; the admin token does', async (t) => {
  const pool = await startPool(t, { codex: one, config: withKeys, onDisk: true })
  const tokenFile = join(pool.dir, 'data', 'admin-token')
  const token = (await readFile(tokenFile, 'utf8')).trim()
  assert.equal((await stat(tokenFile)).mode & 0o777, 0o600)
  for (const place of ['/admin/accounts', '/metrics']) {
    for (const headers of [
      {},
      { 'x-codex-pool-key': laptop },
      { authorization: `Bearer ${laptop}` },
      { authorization: 'Bearer' },
    ]) {
      const { status, body } = await pool.request.get(place).set(headers)
      assert.deepEqual([status, codeOf(body)], [403, 'admin_token_required'])
    }
    assert.equal((await pool.request.get(`/k/${laptop}${place}`)).status, 404)
    await pool.request.get(place).set('authorization', `Bearer ${token}`).expect(200)
  }
  await pool.request.post('/admin/reload').set('x-codex-pool-key', laptop).expect(403)
  await pool.request.post('/admin/reload').set('authorization', `Bearer ${token}`).expect(200)
  await pool.request.get('/healthz').expect(200)
})

test('the admin token stays the same over a restart', async (t) => {
  const pool = await startPool(t, { codex: one, config: withKeys, onDisk: true })
  const token = (await readFile(join(pool.dir, 'data', 'admin-token'), 'utf8')).trim()
  await pool.restart()
  await pool.request.get('/admin/accounts').set('authorization', `Bearer ${token}`).expect(200)
})

test('what changes an account needs the admin token even on this machine', async (t) => {
  const pool = await startPool(t, { codex: one, onDisk: true })
  await pool.request.post('/admin/accounts/alice/disable').expect(403)
  assert.equal((await pool.account('alice')).state, 'ready')
  const token = (await readFile(join(pool.dir, 'data', 'admin-token'), 'utf8')).trim()
  await pool.request.post('/admin/accounts/alice/disable').set('authorization', `Bearer ${token}`).expect(200)
  assert.equal((await pool.account('alice')).state, 'disabled')
})

const listening: Record<string, { config: UserConfig; refused: boolean }> = {
  'no word about keys': { config: {}, refused: true },
  keys: { config: withKeys, refused: false },
  'keys: false': { config: { access: { keys: false } }, refused: false },
}
for (const [name, { config, refused }] of Object.entries(listening))
  for (const address of ['0.0.0.0:0', '[::]:0', '192.168.1.20:0'])
    test(`listening on ${address} with ${name} is ${refused ? 'refused' : 'allowed'}`, async () => {
      const opened = createGateway(
        {
          listen: address,
          poolDir: 'nowhere',
          database: false,
          watch: false,
          log: { level: 'silent' },
          ...config,
        },
        { env: {} },
      )
      if (refused) await assert.rejects(opened, { name: 'ConfigError', message: /access\.keys/ })
      else await (await opened).close()
    })

/** An address of this machine that is not loopback. */
const outside = Object.values(networkInterfaces())
  .flatMap((addresses) => addresses ?? [])
  .find(({ internal, family }) => !internal && family === 'IPv4')?.address

for (const access of [undefined, { keys: false }, 'host-app'] as const)
  test(
    `embedded, a peer beyond loopback with access ${JSON.stringify(access)}`,
    { skip: !outside && 'this machine has no other address' },
    async (t) => {
      const pool = await startPool(t, { codex: one, ...(access ? { config: { access } } : {}) })
      const server = express().use('/ai', pool.gateway.admin, pool.gateway.middleware).listen(0)
      t.after(() => server.close())
      await once(server, 'listening')
      const { port } = server.address() as { port: number }
      const get = async (path: string) => {
        const [answer] = (await once(http.get(`http://${outside}:${port}/ai${path}`), 'response')) as [
          IncomingMessage,
        ]
        answer.resume()
        return answer.statusCode
      }
      const open = access !== undefined
      assert.equal(await get('/v1/models'), open ? 200 : 403)
      assert.equal(
        await get('/admin/accounts'),
        access === 'host-app' ? 200 : 403,
        'a network is no administrator',
      )
      assert.equal(await get('/healthz'), 200)
    },
  )

test('where the host app decides, Host and Origin are its own affair', async (t) => {
  const pool = await startPool(t, { codex: one, config: { access: 'host-app' } })
  const headers = { host: 'app.example', origin: 'https://app.example' }
  for (const place of places) await pool.request.get(place).set(headers).expect(200)
})
