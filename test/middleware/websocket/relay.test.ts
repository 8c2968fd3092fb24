import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import type { UserConfig } from '../../../src/index.js'
import { type EchoConnection, type EchoOptions, EchoUpstream } from '../../kit/echo-upstream.js'
import { startPool, type TestPool } from '../../kit/pool.js'
import { connect, type ConnectOptions, refusal, type TestSocket } from '../../kit/websocket.js'

/** A gateway in front of an upstream that it knows nothing about. */
async function echoPool(t: TestContext, options: EchoOptions = {}, more: UserConfig = {}) {
  const upstream = await EchoUpstream.start(t, options)
  const config: UserConfig = {
    providers: {
      echo: {
        type: 'custom',
        upstream: upstream.url,
        authorize: ({ credential }) => ({ 'x-echo-key': credential.key }),
        passHeaders: ['x-mine'],
      },
    },
    strategies: { 'in-order': (accounts) => accounts[0] },
    routes: [{ path: '/echo', provider: 'echo', strategy: 'in-order' }],
    ...more,
  }
  const prepare = ({ poolDir }: { poolDir: string }) =>
    Promise.all(
      ['a', 'b'].map((key) => writeFile(join(poolDir, `echo_${key}.json`), JSON.stringify({ key }))),
    )
  return { upstream, pool: await startPool(t, { config, prepare }) }
}

interface Pair {
  client: TestSocket
  upstream: EchoConnection
}

/** Both ends of one WebSocket through the gateway. */
async function openPair(
  pool: TestPool,
  echo: EchoUpstream,
  { path = '/echo/chat?x=1', ...options }: ConnectOptions & { path?: string } = {},
): Promise<Pair> {
  const opened = echo.next()
  const client = await connect(pool.url + path, options)
  return { client, upstream: await opened }
}

test('an upstream of your own gets WebSockets with the account, the path and the subprotocol', async (t) => {
  const { pool, upstream } = await echoPool(t, {
    protocol: (offered) => (offered.has('two') ? 'two' : false),
  })
  const options = {
    protocols: ['one', 'two'],
    headers: { 'x-mine': 'kept', cookie: 'a=b', authorization: 'Bearer mine' },
  }
  const opened = upstream.next()
  const client = await connect(`${pool.url}/echo/chat?x=1`, options)
  const { request } = await opened
  assert.equal(request.url, '/chat?x=1')
  assert.equal(request.headers['x-echo-key'], 'a')
  assert.equal(request.headers['x-mine'], 'kept')
  assert.equal(request.headers.host, new URL(upstream.url).host)
  assert.deepEqual([request.headers.cookie, request.headers.authorization], [undefined, undefined])
  assert.equal(client.raw.protocol, 'two')
  assert.equal(client.headers['x-echo'], 'yes')
  assert.equal(client.headers['set-cookie'], undefined)
})

const KEY = 'openai-insecure-api-key.key-of-the-client'
const offers: Record<string, { protocols: string[]; upstream?: string; told: string }> = {
  'beside others': {
    protocols: [
      'realtime',
      KEY,
      'openai-organization.mine',
      'openai-project.mine',
      'openai-beta.realtime-v1',
    ],
    upstream: 'realtime,openai-beta.realtime-v1',
    told: 'realtime',
  },
  alone: { protocols: [KEY], told: KEY },
  'as the name after "token"': { protocols: ['token', 'key-of-the-client'], told: 'token' },
  'as the name after "Bearer", beside another': {
    protocols: ['Bearer', 'key-of-the-client', 'chat'],
    upstream: 'chat',
    told: 'chat',
  },
}
for (const [name, { protocols, upstream: expected, told }] of Object.entries(offers))
  test(`a client's key in a subprotocol ${name} does not go upstream, and the client connects`, async (t) => {
    const { pool, upstream } = await echoPool(t)
    pool.sim.forbid('key-of-the-client')
    const opened = upstream.next()
    const client = await connect(`${pool.url}/echo/chat`, { protocols })
    const { request } = await opened
    assert.equal(request.headers['sec-websocket-protocol']?.replaceAll(' ', ''), expected)
    assert.equal(client.raw.protocol, told)
    client.raw.send('hi')
    assert.equal(await client.next(), 'hi')
  })

const accessKey = 'key-of-the-laptop-0123456789'
const letIn: Record<string, { path?: string; headers?: Record<string, string>; protocols?: string[] }> = {
  'a bearer': { headers: { authorization: `Bearer ${accessKey}` } },
  'x-api-key': { headers: { 'x-api-key': accessKey } },
  'x-goog-api-key': { headers: { 'x-goog-api-key': accessKey } },
  '?key=': { path: `?key=${accessKey}` },
  'a subprotocol': { protocols: ['realtime', `openai-insecure-api-key.${accessKey}`] },
}
for (const [name, { path = '', ...options }] of Object.entries(letIn))
  test(`over WebSocket an access key given as the client's API key lets it in: ${name}`, async (t) => {
    const { pool, upstream } = await echoPool(t, {}, { access: { keys: { laptop: accessKey } } })
    const opened = upstream.next()
    const client = await connect(`${pool.url}/echo/chat${path}`, options)
    const { request } = await opened
    assert.doesNotMatch(JSON.stringify([request.url, request.rawHeaders]), new RegExp(accessKey))
    assert.equal(client.raw.protocol, options.protocols ? 'realtime' : '')
    const refused = await refusal(`${pool.url}/echo/chat`, {
      protocols: ['realtime', 'openai-insecure-api-key.no'],
    })
    assert.equal(refused.status, 403)
  })

for (const status of [401, 403, 429, 500, 503])
  test(`an upstream of your own that refuses one account with ${status} is asked with the next`, async (t) => {
    const { pool, upstream } = await echoPool(t, {
      refuse: ({ headers }) => (headers['x-echo-key'] === 'a' ? status : undefined),
    })
    const { client, upstream: connection } = await openPair(pool, upstream)
    assert.equal(connection.request.headers['x-echo-key'], 'b')
    client.raw.send('hi')
    assert.equal(await client.next(), 'hi')
  })

test('an upstream of your own without WebSockets says so itself', async (t) => {
  const { pool } = await echoPool(t, { refuse: () => 404 })
  const { status, body } = await refusal(`${pool.url}/echo`)
  assert.deepEqual([status, body], [404, 'no'])
})

const big = randomBytes(10_000_000)

const messages: Record<string, { parts: readonly (string | Buffer)[]; ping?: boolean }> = {
  'a text': { parts: ['hello'] },
  'a text beyond ASCII': { parts: ['żółw 🐢 ünï'] },
  'an empty text': { parts: [''] },
  bytes: { parts: [Buffer.from([0, 255, 128, 10])] },
  'no bytes': { parts: [Buffer.alloc(0)] },
  'what looks like Codex': { parts: ['{"type":"codex.rate_limits","rate_limits":{}}'] },
  'a text of 10 MB': { parts: [big.toString('base64').slice(0, 10_000_000)] },
  '10 MB of bytes': { parts: [big] },
  'a text in fragments': { parts: ['one ', 'tw', '', 'o', ' three'] },
  'bytes in fragments': { parts: [big.subarray(0, 70_000), big.subarray(70_000, 70_001)] },
  'a text in fragments with a ping in the middle': { parts: ['one ', 'two'], ping: true },
}

for (const [name, { parts, ping = false }] of Object.entries(messages))
  test(`${name} passes both ways unchanged`, async (t) => {
    const { pool, upstream } = await echoPool(t)
    const { client, upstream: connection } = await openPair(pool, upstream)
    const whole = Buffer.concat(parts.map((part) => Buffer.from(part)))
    const binary = typeof parts[0] !== 'string'
    const pinged = ping ? once(connection.socket, 'ping') : undefined
    const came = once(client.raw, 'message')
    for (const [index, part] of parts.entries()) {
      if (ping && index === 1) client.raw.ping('in the middle')
      client.raw.send(part, { binary, fin: index === parts.length - 1 })
    }
    const [data, isBinary] = (await came) as [Buffer, boolean]
    assert.equal(isBinary, binary)
    assert.ok(data.equals(whole))
    assert.equal(connection.received[0]?.binary, binary)
    assert.ok(connection.received[0]?.data.equals(whole))
    if (pinged) assert.equal(String((await pinged)[0]), 'in the middle')
  })

test('messages stay in order, and pings and pongs between them', async (t) => {
  const { pool, upstream } = await echoPool(t, { echo: false })
  const { client, upstream: connection } = await openPair(pool, upstream)
  const seen: string[] = []
  connection.socket.on('message', (data: Buffer) => seen.push(String(data)))
  connection.socket.on('ping', (data: Buffer) => seen.push(`ping ${String(data)}`))
  connection.socket.on('pong', (data: Buffer) => seen.push(`pong ${String(data)}`))
  const sent: string[] = []
  for (let n = 0; n < 50; n++) {
    client.raw.send(`${n}`)
    client.raw.ping(`${n}`)
    client.raw.pong(`${n}`)
    sent.push(`${n}`, `ping ${n}`, `pong ${n}`)
  }
  client.raw.close()
  await connection.closed
  assert.deepEqual(seen, sent)
})

test('a ping is answered by the other end, and nobody else', async (t) => {
  const { pool, upstream } = await echoPool(t)
  const { client, upstream: connection } = await openPair(pool, upstream, { autoPong: false })
  const pongs: string[] = []
  connection.socket.on('pong', (data: Buffer) => pongs.push(String(data)))
  const pinged = once(client.raw, 'ping')
  connection.socket.ping('are you there?')
  assert.equal(String((await pinged)[0]), 'are you there?')
  // What is sent behind it has come round, and still no pong is there.
  client.raw.send('behind')
  await client.next()
  assert.deepEqual(pongs, [])
  const answered = once(connection.socket, 'pong')
  client.raw.pong('yes')
  assert.equal(String((await answered)[0]), 'yes')

  const back = once(client.raw, 'pong')
  client.raw.ping('and you?')
  assert.equal(String((await back)[0]), 'and you?')
})

const closes: Record<string, [code: number | undefined, reason?: string]> = {
  'without a code': [undefined],
  normally: [1000, 'done'],
  'going away': [1001],
  'unsupported data': [1003, 'no'],
  'a policy': [1008, 'policy'],
  'too big': [1009, 'big'],
  'an error': [1011, 'x'.repeat(123)],
  'a restart': [1012, 'restart'],
  'trying later': [1013],
  'a code of a library': [3000, 'mine'],
  'a code of an application': [4999, 'żółw'],
}

for (const [name, [code, reason = '']] of Object.entries(closes))
  test(`a close passes both ways with its code and reason: ${name}`, async (t) => {
    const { pool, upstream } = await echoPool(t)
    const expected = { code: code ?? 1005, reason }
    const one = await openPair(pool, upstream)
    one.client.raw.close(code, reason)
    assert.deepEqual(await one.upstream.closed, expected)
    assert.deepEqual(await one.client.closed, expected)
    const other = await openPair(pool, upstream)
    other.upstream.socket.close(code, reason)
    assert.deepEqual(await other.client.closed, expected)
    assert.deepEqual(await other.upstream.closed, expected)
  })

test('an upstream that greets and leaves at once is heard', async (t) => {
  const { pool, upstream } = await echoPool(t, {
    onOpen: (socket) => {
      socket.send('hello')
      socket.close(4001, 'bye')
    },
  })
  const { client } = await openPair(pool, upstream)
  assert.equal(await client.next(), 'hello')
  assert.deepEqual(await client.closed, { code: 4001, reason: 'bye' })
})

test('an upstream that opens and breaks at once ends the client', async (t) => {
  const { pool, upstream } = await echoPool(t, { onOpen: (socket) => socket.terminate() })
  const { client } = await openPair(pool, upstream)
  assert.equal((await client.closed).code, 1006)
})

test('an end without a close passes both ways', async (t) => {
  const { pool, upstream } = await echoPool(t)
  const one = await openPair(pool, upstream)
  one.client.raw.terminate()
  assert.equal((await one.upstream.closed).code, 1006)
  const other = await openPair(pool, upstream)
  other.upstream.socket.terminate()
  assert.equal((await other.client.closed).code, 1006)
})

const tooBig: UserConfig = { maxBodyBytes: 1_000_000, maxReplayBytes: 1_000_000 }

test('a message beyond maxBodyBytes ends the WebSocket with 1009, from either side', async (t) => {
  const { pool, upstream } = await echoPool(t, { echo: false }, tooBig)
  const one = await openPair(pool, upstream)
  one.client.raw.send(big.subarray(0, 1_000_001))
  assert.equal((await one.client.closed).code, 1009)
  await one.upstream.closed
  const other = await openPair(pool, upstream)
  other.upstream.socket.send(big.subarray(0, 1_000_001))
  assert.equal((await other.upstream.closed).code, 1009)
  await other.client.closed
  assert.deepEqual([one.upstream.received, other.upstream.received], [[], []])
})

test('a message of just maxBodyBytes passes', async (t) => {
  const { pool, upstream } = await echoPool(t, {}, tooBig)
  const { client } = await openPair(pool, upstream)
  client.raw.send(big.subarray(0, 1_000_000))
  assert.equal(((await client.next()) as Buffer).length, 1_000_000)
})

test('compression is no matter: each side may or may not have it', async (t) => {
  const { pool, upstream } = await echoPool(t, { deflate: true })
  const { client } = await openPair(pool, upstream, { perMessageDeflate: true })
  client.raw.send('x'.repeat(100_000))
  assert.equal(String(await client.next()).length, 100_000)
})

test('bytes that are no WebSocket end it on both sides, and nothing else', async (t) => {
  const { pool, upstream } = await echoPool(t)
  const { client, upstream: connection } = await openPair(pool, upstream)
  // A frame of a kind that does not exist, unmasked.
  const wire = Reflect.get(client.raw, '_socket') as { write(bytes: Buffer): void }
  wire.write(Buffer.from([0x8f, 0x00]))
  assert.equal((await client.closed).code, 1002)
  await connection.closed
  const { client: next } = await openPair(pool, upstream)
  next.raw.send('still here')
  assert.equal(await next.next(), 'still here')
})
