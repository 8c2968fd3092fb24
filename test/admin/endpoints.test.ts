import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile, rm, writeFile } from 'node:fs/promises'
import http, { type IncomingMessage } from 'node:http'
import net from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { faults } from '../../src/simulator/index.js'
import { codeOf, inOrder, startPool, type TestPool } from '../kit/pool.js'

const two = [{ id: 'alice' }, { id: 'bob' }]

test('/healthz says how the pool is', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  pool.sim.account('alice').exhaust()
  await pool.ask('s1').expect(200)
  const { body } = await pool.request.get('/healthz').expect(200)
  assert.equal(body.status, 'ok')
  assert.equal(typeof body.uptimeSeconds, 'number')
  assert.deepEqual(body.accounts, { total: 2, byProvider: { codex: { exhausted: 1, ready: 1 } } })
  assert.deepEqual(body.problems, [])
  assert.match(JSON.stringify(body.recentErrors), /codex\/alice: 429/)
})

const ill: Record<string, { problem: RegExp; happens: (pool: TestPool) => unknown }> = {
  'a login that is over': {
    problem: /alice.*login/,
    happens: (pool) => {
      pool.sim.account('alice').revoke()
      return pool.ask('s1')
    },
  },
  'a file that is no account': {
    problem: /bad\.json: is empty/,
    happens: async (pool) => {
      await writeFile(pool.file('bad'), '')
      await pool.gateway.reload()
    },
  },
  'a pool without accounts': {
    problem: /no account/,
    happens: async (pool) => {
      await Promise.all(two.map(({ id }) => rm(pool.file(id))))
      await pool.gateway.reload()
    },
  },
}
for (const [name, { problem, happens }] of Object.entries(ill))
  test(`/healthz answers 200 all the same, and names ${name}`, async (t) => {
    const pool = await startPool(t, { codex: two, config: inOrder })
    await happens(pool)
    const { body } = await pool.request.get('/healthz').expect(200)
    assert.equal(body.status, 'degraded')
    assert.match(body.problems.join('\n'), problem)
  })

test('/metrics counts requests and attempts under the names that dashboards know', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  pool.sim.account('alice').exhaust()
  pool.sim.fail({ account: 'bob', times: 1, with: faults.serverError() })
  await pool.ask('s1').expect(502)
  await pool.ask('s2').expect(200)
  await pool.ask('s3').expect(200)
  const { text, headers } = await pool.request.get('/metrics').expect(200)
  assert.match(headers['content-type'] ?? '', /^text\/plain/)
  const lines = text.split('\n')
  for (const line of [
    'codexpool_requests_total{status="200"} 2',
    'codexpool_requests_total{status="502"} 1',
    'codexpool_account_requests_total{account="alice",status="429"} 1',
    'codexpool_account_requests_total{account="bob",status="500"} 1',
    'codexpool_account_requests_total{account="bob",status="200"} 2',
    'codexpool_replays_after_sent_total 1',
    'codexpool_request_duration_seconds_count{route="/v1"} 3',
    'codexpool_first_byte_seconds_count{route="/v1"} 2',
    'codexpool_request_attempts_sum{route="/v1"} 4',
    'codexpool_accounts{provider="codex",state="exhausted"} 1',
    'codexpool_requests_in_flight{account="bob"} 0',
  ])
    assert.ok(lines.includes(line), `${line} is not in\n${text}`)
})

test('two gateways in one process count apart', async (t) => {
  const [first, second] = [await startPool(t, { codex: two }), await startPool(t, { codex: two })]
  await first.ask('s1').expect(200)
  assert.match((await first.request.get('/metrics')).text, /requests_total\{status="200"\} 1/)
  assert.doesNotMatch((await second.request.get('/metrics')).text, /requests_total\{status="200"\}/)
})

test('/admin/accounts shows every account, and no secret', async (t) => {
  const pool = await startPool(t, { codex: two, codexApiKeys: [{ id: 'key' }] })
  await pool.ask('s1').expect(200)
  const { body, text } = await pool.request.get('/admin/accounts').expect(200)
  assert.deepEqual(body.skipped, [])
  assert.deepEqual(
    body.accounts.map(({ id, type, kind, label, plan, state }: never) => [
      id,
      type,
      kind,
      label,
      plan,
      state,
    ]),
    [
      ['alice', 'codex', 'chatgpt', 'alice@example.com', 'plus', 'ready'],
      ['bob', 'codex', 'chatgpt', 'bob@example.com', 'plus', 'ready'],
      ['key', 'codex', 'api-key', 'API key', null, 'ready'].map((value) => value ?? undefined),
    ],
  )
  const [alice, bob] = body.accounts
  assert.equal(alice.usedPercent, 1)
  assert.deepEqual(
    alice.windows.map(({ name, lengthMinutes }: never) => [name, lengthMinutes]),
    [
      ['primary', 300],
      ['secondary', 10_080],
    ],
  )
  assert.deepEqual([bob.usedPercent, bob.windows], [null, []], 'unknown is never 0')
  assert.ok(Date.parse(alice.tokenExpiresAt) > Date.now())
  const { accounts, apiKeys } = pool.sim.codex
  const secrets = [
    ...accounts.flatMap((it) =>
      Object.values(it.authJson().tokens).filter((token) => token !== it.accountId),
    ),
    ...apiKeys.map(({ key }) => key),
  ]
  for (const secret of secrets) assert.ok(!text.includes(secret))
})

test('/admin/reload takes up a new file, and lets a removed one go', async (t) => {
  const pool = await startPool(t, { codex: two })
  const carol = pool.sim.addCodex({ id: 'carol' })
  await writeFile(pool.file('carol'), JSON.stringify(carol.authJson()), { mode: 0o600 })
  await rm(pool.file('alice'))
  const { body } = await pool.request.post('/admin/reload').expect(200)
  assert.deepEqual(body, { poolDir: pool.gateway.config.poolDir, accounts: 2, skipped: [] })
  for (let i = 0; i < 2; i++) await pool.ask(`s${i}`).expect(200)
  assert.deepEqual(pool.asked().sort(), ['bob', 'carol'])
})

test('a request that runs on a removed account ends in peace', async (t) => {
  const pool = await startPool(t, { codex: [{ id: 'alice' }] })
  pool.sim.fail({ with: faults.slow(20) })
  const arrived = pool.sim.next()
  const answer = pool.ask('s1').then((response) => response)
  await arrived
  await rm(pool.file('alice'))
  await pool.request.post('/admin/reload').expect(200)
  assert.match((await answer).text, /response\.completed/)
  await pool.ask('s1').expect(400)
})

test('/admin/reload takes up a changed configuration, and keeps the running one if the new one is bad', async (t) => {
  const pool = await startPool(t, { codex: two, asFile: true })
  const file = join(pool.dir, 'codex-pool.config.json')
  const before = JSON.parse(await readFile(file, 'utf8'))
  assert.equal(codeOf((await pool.request.post('/things/responses')).body), 'no_route')

  const routes = [{ path: '/things', provider: 'codex' }]
  await writeFile(file, JSON.stringify({ ...before, routes }))
  await pool.request.post('/admin/reload').expect(200)
  assert.notEqual(codeOf((await pool.ask('s1', { path: '/things/responses' })).body), 'no_route')

  for (const bad of [
    '{ "listen": ',
    JSON.stringify({ ...before, routes: [{ path: '/x', provider: 'codez' }] }),
  ]) {
    await writeFile(file, bad)
    const { status, body } = await pool.request.post('/admin/reload')
    assert.equal(status, 400)
    assert.match(body.configProblem, /codex-pool\.config\.json/)
    assert.equal(body.accounts, 2)
    assert.notEqual(codeOf((await pool.ask('s1', { path: '/things/responses' })).body), 'no_route')
    const health = await pool.request.get('/healthz').expect(200)
    assert.match(health.body.problems.join(), /was not reloaded/)
  }

  await writeFile(file, JSON.stringify(before))
  await pool.request.post('/admin/reload').expect(200)
  assert.equal((await pool.request.get('/healthz')).body.status, 'ok')
  assert.equal(codeOf((await pool.request.post('/things/responses')).body), 'no_route')
})

const wrong = [
  ['post', '/healthz', 'GET'],
  ['delete', '/metrics', 'GET'],
  ['post', '/admin/accounts', 'GET'],
  ['get', '/admin/reload', 'POST'],
] as const
for (const [method, path, allow] of wrong)
  test(`${method} ${path} is answered 405, and names the method`, async (t) => {
    const pool = await startPool(t, { codex: two })
    const { status, body, headers } = await pool.request[method](path)
    assert.deepEqual([status, codeOf(body), headers.allow], [405, 'wrong_method', allow])
  })

for (const path of [
  '/',
  '/nothing',
  '/v2/responses',
  '/v1betas',
  '/admin',
  '/admin/secrets',
  '/healthz/x',
  '/k/key',
])
  test(`${path} is answered 404 in JSON`, async (t) => {
    const pool = await startPool(t, { codex: two })
    const { status, body } = await pool.request.get(path)
    assert.deepEqual([status, codeOf(body)], [404, 'no_route'])
    if (!path.startsWith('/admin')) assert.match(body.error.message, /\/v1internal:, .*\/v1, .*\/backend-api/)
    assert.deepEqual(pool.sim.requests, [])
  })

for (const path of [
  '/v1/../oauth/token',
  '/v1/%2e%2e/wham/usage',
  '/v1/x/..',
  '/backend-api/codex/..%2f..%2fsecret',
  '/v1/.%2E/x',
])
  test(`a path that climbs out is refused: ${path}`, async (t) => {
    const pool = await startPool(t, { codex: two })
    const [answer] = (await once(http.get({ ...addressOf(pool), path }), 'response')) as [IncomingMessage]
    answer.resume()
    assert.ok([400, 404].includes(answer.statusCode ?? 0), String(answer.statusCode))
    assert.deepEqual(pool.sim.requests, [])
  })

function addressOf(pool: TestPool) {
  const { hostname, port } = new URL(pool.url)
  return { hostname, port: Number(port) }
}

/** Sends bytes as they are; gives all that comes back. */
async function raw(pool: TestPool, text: string): Promise<string> {
  const { hostname, port } = addressOf(pool)
  const socket = net.connect(port, hostname)
  socket.write(text)
  let answer = ''
  for await (const chunk of socket) answer += String(chunk)
  return answer
}

const upgrade = (path: string, host: string) =>
  `GET ${path} HTTP/1.1\r\nhost: ${host}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n` +
  'sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'

const upgrades: Record<string, [text: string, status: number]> = {
  'where no WebSocket is served': [upgrade('/v1/models', '127.0.0.1'), 426],
  'to Code Assist': [upgrade('/v1internal:streamGenerateContent', '127.0.0.1'), 426],
  'to the Gemini API': [upgrade('/v1beta/models', '127.0.0.1'), 426],
  'of a foreign page': [upgrade('/v1/responses', 'evil.example'), 403],
}
for (const [name, [text, status]] of Object.entries(upgrades))
  test(`an upgrade ${name} is answered ${status}, and closed`, async (t) => {
    const pool = await startPool(t, { codex: two })
    const answer = await raw(pool, text)
    assert.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `))
    assert.match(answer, /connection: close/i)
    assert.ok(codeOf(JSON.parse(answer.split('\r\n\r\n')[1] ?? '')) !== undefined)
    assert.deepEqual(pool.sim.requests, [])
  })

test('GET /v1/responses, as a WebSocket begins that lost its upgrade on the way, is answered 426', async (t) => {
  const pool = await startPool(t, { codex: two })
  for (const path of ['/v1/responses', '/responses', '/backend-api/codex/responses'])
    await pool.request.get(path).expect(426)
  await pool.request.head('/v1/responses').expect(405)
  assert.deepEqual(pool.sim.requests, [])
})

test('what is no HTTP is told so', async (t) => {
  const pool = await startPool(t, { codex: two })
  assert.match(await raw(pool, 'HELLO\r\n\r\n'), /^HTTP\/1\.1 400 [\s\S]*malformed_request/)
  const long = `GET / HTTP/1.1\r\nhost: localhost\r\nx: ${'x'.repeat(70_000)}\r\n\r\n`
  assert.match(await raw(pool, long), /^HTTP\/1\.1 431 [\s\S]*headers_too_large/)
})
