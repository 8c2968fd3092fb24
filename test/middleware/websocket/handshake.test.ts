import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import { test } from 'node:test'
import type { UserConfig } from '../../../src/index.js'
import { type Fault, faults } from '../../../src/simulator/index.js'
import { CLIENT, codeOf, inOrder, startPool, type TestPool } from '../../kit/pool.js'
import { create, dial, type DialOptions, prewarm, refusedBy, saidBy } from '../../kit/websocket.js'

const two = [
  { id: 'alice', plan: 'plus' },
  { id: 'bob', plan: 'pro' },
]
const NOW = Math.ceil(Date.now() / 1000) * 1000
const until = (seconds: number) => faults.usageLimit({ resetsAt: NOW + seconds * 1000, now: NOW })

async function refused(pool: TestPool, options?: DialOptions) {
  const { status, headers, body } = await refusedBy(pool, 's1', options)
  return { status, retryAfter: headers['retry-after'], body: body === '' ? undefined : JSON.parse(body) }
}

test('a WebSocket opens with an account of the pool, and nothing of the client goes out', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  const socket = await dial(pool, 's1')
  assert.equal(saidBy(await socket.ask(create())), 'Hello from the simulator.')
  const [handshake] = pool.sim.requests
  assert.equal(handshake?.account, 'alice')
  assert.equal(handshake.path, '/backend-api/codex/responses')
  assert.equal(handshake.headers['session-id'], 's1')
  assert.equal(handshake.headers['openai-beta'], 'responses_websockets=2026-02-06')
  assert.equal(
    handshake.headers['user-agent'],
    'codex_exec/0.169.0 (Debian 12.0.0; x86_64) xterm (codex_exec; 0.169.0)',
  )
  assert.equal(socket.headers['set-cookie'], undefined)
  assert.equal(socket.headers['x-models-etag'], undefined)
})

const passing: Record<string, Fault> = {
  'a usage limit': until(300),
  'a rate limit': faults.rateLimited(7),
  'a workspace that does not pay': faults.paymentRequired(),
  'a challenge page': faults.challenge(),
  '403 as JSON': { status: 403, body: { detail: 'Forbidden' } },
  '500': faults.serverError(),
  '502 as a page': faults.badGateway(),
  '503': faults.serverError(503),
  'a reset': 'reset',
  'no answer in time': 'hang',
}

for (const [name, fault] of Object.entries(passing))
  test(`a handshake that meets ${name} is made with the next account, unseen by the client`, async (t) => {
    const retry = { default: { headersTimeoutMs: 100 } }
    const pool = await startPool(t, { codex: two, config: { ...inOrder, retry } })
    pool.sim.fail({ account: 'alice', with: fault })
    pool.sim.reply(({ account }) => `I am ${account}.`)
    const socket = await dial(pool, 's1')
    assert.equal(saidBy(await socket.ask(create())), 'I am bob.')
    assert.deepEqual(pool.asked(), ['alice', 'bob'])
    assert.equal((await pool.account('alice')).inFlight, 0)
  })

test('a handshake whose token is refused is made again with a new one, on the same account', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  pool.sim.account('alice').expireAccessToken()
  const socket = await dial(pool, 's1')
  await socket.ask(create())
  assert.deepEqual(pool.asked(), ['alice', 'alice'])
  assert.equal(pool.sim.account('alice').refreshes, 1)
})

test('an account that has lost its login is passed over', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  pool.sim.account('alice').revoke()
  await dial(pool, 's1')
  assert.equal((await pool.account('alice')).state, 'needs-login')
  assert.deepEqual(pool.asked(), ['alice', 'bob'])
})

test('a pool that is exhausted refuses in the words that Codex understands, with the earliest reset', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  pool.sim.fail({ account: 'alice', with: until(400) })
  pool.sim.fail({ account: 'bob', with: until(300) })
  const { status, body, retryAfter } = await refused(pool)
  assert.equal(status, 429)
  assert.ok(Number(retryAfter) > 200, 'Codex reads it neither here nor over HTTP')
  assert.equal(body.error.type, 'usage_limit_reached')
  assert.equal(body.error.resets_at, NOW / 1000 + 300)
})

const finals: Record<string, { fault: Fault; answer: [number, string]; waits: boolean }> = {
  'all accounts cool down': { fault: faults.rateLimited(20), answer: [503, 'accounts_cooling'], waits: true },
  'the upstream is in trouble': {
    fault: faults.serverError(),
    answer: [502, 'upstream_unavailable'],
    waits: true,
  },
  'every connection is reset': { fault: 'reset', answer: [502, 'upstream_unavailable'], waits: true },
  'no account is let in any more': {
    fault: faults.unauthorized(),
    answer: [502, 'upstream_unavailable'],
    waits: true,
  },
  'every login is over': {
    fault: faults.paymentRequired(),
    answer: [400, 'login_required'],
    waits: false,
  },
}

for (const [name, { fault, answer, waits }] of Object.entries(finals))
  test(`a handshake is refused with the truth when ${name}`, async (t) => {
    const pool = await startPool(t, { codex: two, config: inOrder })
    pool.sim.fail({ path: '/codex/responses', times: Infinity, with: fault })
    const { status, body, retryAfter } = await refused(pool)
    assert.deepEqual([status, codeOf(body)], answer)
    assert.equal(retryAfter !== undefined, waits)
  })

test('an upstream that is down is no limit', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  await pool.sim.down()
  const { status, body } = await refused(pool)
  assert.deepEqual([status, codeOf(body)], [502, 'upstream_unavailable'])
  await pool.sim.up()
  await dial(pool, 's1')
})

const untouched: Record<string, Fault> = {
  'a bad request': { status: 400, headers: { 'content-type': 'application/json' }, body: { detail: 'No.' } },
  'no WebSockets': { status: 426, headers: { 'content-type': 'application/json' }, body: { detail: 'No.' } },
}

for (const [name, fault] of Object.entries(untouched))
  test(`what the upstream says about the request itself reaches the client: ${name}`, async (t) => {
    const pool = await startPool(t, { codex: two, config: inOrder })
    pool.sim.fail({ path: '/codex/responses', with: fault })
    const { status, body } = await refused(pool)
    assert.equal(status, typeof fault === 'object' && fault.status)
    assert.deepEqual(body, { detail: 'No.' })
    assert.deepEqual(pool.asked(), ['alice'])
  })

test('a conversation keeps its account from WebSocket to WebSocket, and over HTTP as well', async (t) => {
  const pool = await startPool(t, { codex: [{ id: 'alice' }, { id: 'bob' }, { id: 'carol' }] })
  const accounts = new Map<string, Set<string | undefined>>()
  for (let round = 0; round < 2; round++)
    for (const session of ['s1', 's2', 's3']) {
      const served = accounts.get(session) ?? new Set()
      accounts.set(session, served)
      await dial(pool, session)
      served.add(pool.asked().at(-1))
      served.add(await pool.servedBy(session))
    }
  for (const [session, served] of accounts) assert.equal(served.size, 1, session)
  assert.equal(new Set([...accounts.values()].flatMap((served) => [...served])).size, 3, 'all are used')
})

test('with failover turned off, one account is asked', async (t) => {
  const pool = await startPool(t, { codex: two, config: { ...inOrder, retry: { default: { attempts: 1 } } } })
  pool.sim.fail({ account: 'alice', with: faults.serverError() })
  assert.equal((await refused(pool)).status, 502)
  assert.deepEqual(pool.asked(), ['alice'])
})

/** A client that writes what it likes. */
function wireTo(pool: TestPool): Socket {
  const { hostname, port } = new URL(pool.url)
  const lines = [
    'GET /v1/responses HTTP/1.1',
    `host: ${hostname}:${port}`,
    `authorization: Bearer ${CLIENT.token}`,
    'connection: Upgrade',
    'upgrade: websocket',
    'sec-websocket-version: 13',
    'sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==',
    'openai-beta: responses_websockets=2026-02-06',
  ]
  const wire = connectTcp(Number(port), hostname)
  wire.write(`${lines.join('\r\n')}\r\n\r\n`)
  return wire
}

test('a client that leaves while an account is searched leaves no handshake behind', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  pool.sim.fail({ account: 'alice', with: 'hang' })
  const arrived = pool.sim.next()
  const wire = wireTo(pool)
  const handshake = await arrived
  wire.end()
  await Promise.all([handshake.closed, once(wire, 'close')])
  assert.deepEqual(pool.asked(), ['alice'])
  assert.equal((await pool.account('alice')).state, 'ready')
  assert.equal((await pool.account('alice')).inFlight, 0)
})

test('what a client sends before it is let in is not lost', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  pool.sim.fail({ account: 'alice', with: faults.serverError() })
  const wire = wireTo(pool)
  const message = Buffer.from(JSON.stringify(create()))
  // A text frame with a 16-bit length, masked with zeros (RFC 6455 §5.2).
  const head = Buffer.from([0x81, 0xfe, message.length >> 8, message.length & 0xff, 0, 0, 0, 0])
  wire.write(Buffer.concat([head, message]))
  let came = ''
  for await (const chunk of wire) if ((came += String(chunk)).includes('"response.completed"')) break
  assert.match(came, /^HTTP\/1\.1 101 /)
  assert.deepEqual(pool.sim.requests.at(-1)?.frames, [create()])
})

const KEY = 'a-key-of-sixteen-letters'
const keyed: UserConfig = { ...inOrder, access: { keys: { laptop: KEY } } }

const guests: Record<string, { options: DialOptions; config?: UserConfig; answer: [number, string] }> = {
  'a foreign Host': {
    options: { headers: { host: 'evil.example:8989' } },
    answer: [403, 'host_not_allowed'],
  },
  'a foreign page': { options: { origin: 'https://evil.example' }, answer: [403, 'origin_not_allowed'] },
  'no access key': { options: {}, config: keyed, answer: [403, 'key_required'] },
  'a wrong access key': {
    options: { path: '/k/not-the-key-of-anybody/v1/responses' },
    config: keyed,
    answer: [403, 'key_required'],
  },
  'a path that no route covers': { options: { path: '/elsewhere' }, answer: [404, 'no_route'] },
  'a path without WebSockets': {
    options: { path: '/backend-api/wham/usage' },
    answer: [426, 'upgrade_not_served'],
  },
}

for (const [name, { options, config = inOrder, answer }] of Object.entries(guests))
  test(`a WebSocket is not opened to ${name}, and no upstream is asked`, async (t) => {
    const pool = await startPool(t, { codex: two, config })
    const { status, body } = await refused(pool, options)
    assert.deepEqual([status, codeOf(body)], answer)
    assert.deepEqual(pool.sim.requests, [])
  })

test('an access key lets a WebSocket in, and goes no further', async (t) => {
  const pool = await startPool(t, { codex: two, config: keyed })
  pool.sim.forbid(KEY)
  await dial(pool, 's1', { path: `/k/${KEY}/v1/responses` })
  await dial(pool, 's1', { headers: { 'x-codex-pool-key': KEY } })
  assert.deepEqual(pool.asked(), ['alice', 'alice'])
})

test('a route without WebSockets answers 426 at once, and serves HTTP', async (t) => {
  const routes = [{ path: '/v1', provider: 'codex' as const, websocket: false }]
  const pool = await startPool(t, { codex: two, config: { routes } })
  const { status, body } = await refused(pool)
  assert.deepEqual([status, codeOf(body)], [426, 'upgrade_not_served'])
  assert.deepEqual(pool.sim.requests, [])
  await pool.servedBy('s1')
})

const malformed: Record<string, string> = {
  'an upgrade to something else': 'upgrade: h2c',
  'a handshake without a key': 'upgrade: websocket\r\nsec-websocket-version: 13',
  'a handshake of another version':
    'upgrade: websocket\r\nsec-websocket-version: 7\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==',
}

for (const [name, lines] of Object.entries(malformed))
  test(`${name} is answered 426, and no upstream is asked`, async (t) => {
    const pool = await startPool(t, { codex: two, config: inOrder })
    const { hostname, port } = new URL(pool.url)
    const wire = connectTcp(Number(port), hostname)
    wire.end(`GET /v1/responses HTTP/1.1\r\nhost: ${hostname}\r\nconnection: Upgrade\r\n${lines}\r\n\r\n`)
    const chunks: Buffer[] = []
    for await (const chunk of wire) chunks.push(chunk as Buffer)
    assert.match(Buffer.concat(chunks).toString(), /^HTTP\/1\.1 426 /)
    assert.deepEqual(pool.sim.requests, [])
  })

test('the prewarm of a conversation and its turns run on one connection', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  const socket = await dial(pool, 's1')
  await socket.ask(prewarm())
  await socket.ask(create())
  assert.equal(pool.sim.requests.length, 1)
  assert.equal(pool.sim.requests[0]?.frames.length, 2)
})

test('an error that nobody expected in a handshake is told to the log and to /healthz, like one of a request', async (t) => {
  const fails = () => {
    throw new Error('a bug of this provider')
  }
  const pool = await startPool(t, {
    codex: two,
    config: {
      providers: {
        own: { type: 'custom', upstream: 'http://127.0.0.1:9', authorize: () => ({}), conversation: fails },
      },
      routes: [{ path: '/own', provider: 'own' }],
    },
  })
  const handshake = await refused(pool, { path: '/own/responses' })
  assert.deepEqual([handshake.status, codeOf(handshake.body)], [500, 'internal_error'])
  await pool.request.post('/own/responses').send({}).expect(500)
  const { body } = await pool.request.get('/healthz')
  const told = body.recentErrors.map(({ message }: { message: string }) => message)
  assert.deepEqual(told, ['a bug of this provider', 'a bug of this provider'])
})
