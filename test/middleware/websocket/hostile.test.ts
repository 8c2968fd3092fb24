import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import net from 'node:net'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { ReplayBudget } from '../../../middleware/body.js'
import type { UserConfig } from '../../../src/index.js'
import { EchoUpstream } from '../../kit/echo-upstream.js'
import { startPool, type TestPool, within } from '../../kit/pool.js'
import { connect, dial, refusal } from '../../kit/websocket.js'

const KB = 1024
const deep = (levels: number) => `${'['.repeat(levels)}${']'.repeat(levels)}`

/** Codex's protocol in front of an upstream that sends what the test says. */
async function codexPool(t: TestContext) {
  const echo = await EchoUpstream.start(t, { echo: false })
  const pool = await startPool(t, {
    codex: [{ id: 'alice' }],
    env: { UPSTREAM_RESPONSES_BASE: echo.url },
  })
  return { echo, pool }
}

/** A gateway in front of an upstream that it knows nothing about. */
async function echoPool(t: TestContext, more: UserConfig = {}, upstream?: string) {
  const echo = await EchoUpstream.start(t, { autoPong: false })
  const config: UserConfig = {
    providers: { echo: { type: 'custom', upstream: upstream ?? echo.url, authorize: () => ({}) } },
    routes: [{ path: '/echo', provider: 'echo' }],
    ...more,
  }
  const prepare = ({ poolDir }: { poolDir: string }) => writeFile(join(poolDir, 'echo_a.json'), '{}')
  return { echo, pool: await startPool(t, { config, prepare }) }
}

async function echoes(pool: TestPool): Promise<void> {
  const client = await connect(`${pool.url}/echo`)
  client.raw.send('hi')
  assert.equal(await within(client.next()), 'hi')
  client.raw.close()
}

test("a client's message that is nested too deeply ends its own connection, and no other", async (t) => {
  const { echo, pool } = await codexPool(t)
  const opened = echo.next()
  const other = await dial(pool, 's1')
  const { socket } = await opened
  const hostile = await dial(pool, 's2')
  const frame = `{"type":"response.create","model":"m","client_metadata":{"x-codex-turn-state":"unknown"},"input":${deep(5_500)}}`
  hostile.raw.send(frame)
  assert.deepEqual(await within(hostile.closed), {
    code: 1008,
    reason: 'the message is no JSON, or nested too deeply',
  })
  socket.send('{"type":"x"}')
  assert.deepEqual(await within(other.next()), { type: 'x' })
})

test("an upstream's message that is nested too deeply passes unread", async (t) => {
  const { echo, pool } = await codexPool(t)
  const opened = echo.next()
  const client = await dial(pool, 's1')
  const { socket } = await opened
  const frame = `{"type":"codex.rate_limits","rate_limits":${deep(5_500)}}`
  const got = once(client.raw, 'message')
  socket.send(frame)
  socket.send('{"type":"x"}')
  const [data] = (await within(got)) as [Buffer]
  assert.equal(String(data), frame)
  await client.next()
  assert.deepEqual(await within(client.next()), { type: 'x' })
})

test('an error thrown over one message ends this connection alone, and is logged', async (t) => {
  const { echo, pool } = await codexPool(t)
  t.mock.method(pool.gateway.log, 'error', () => {})
  const opened = echo.next()
  const client = await dial(pool, 's1')
  const { socket } = await opened
  // The first place that a message of the upstream passes beyond the provider.
  const parse = t.mock.method(JSON, 'stringify', () => {
    throw new RangeError('Maximum call stack size exceeded')
  })
  socket.send(
    '{"type":"codex.rate_limits","rate_limits":{"primary":{"used_percent":5,"window_minutes":300}}}',
  )
  const { code } = await within(client.closed)
  parse.mock.restore()
  assert.equal(code, 1011)
  await dial(pool, 's2')
})

test('where unfinished messages take up all memory, the largest ends with words, and others go on', async (t) => {
  const { pool, echo } = await echoPool(t, { maxReplayTotalBytes: 1000 * KB })
  const opened = echo.next()
  const [first, second] = [await connect(`${pool.url}/echo`), await connect(`${pool.url}/echo`)]
  await new Promise((resolve) => first.raw.send(Buffer.alloc(700 * KB, 'x'), { fin: false }, resolve))
  // The upstream has heard it: the gateway has read what came before.
  const heard = within(once((await opened).socket, 'ping'))
  first.raw.ping()
  await heard
  second.raw.send(Buffer.alloc(400 * KB, 'x'))
  assert.deepEqual(await within(first.closed), {
    code: 1013,
    reason: 'too many large messages at once; try again',
  })
  assert.equal(((await within(second.next())) as Buffer).length, 400 * KB)
  const third = await connect(`${pool.url}/echo`)
  third.raw.send(Buffer.alloc(700 * KB))
  assert.equal(((await within(third.next())) as Buffer).length, 700 * KB)
})

test('many that hold a part of a message each leave room for those that send little', async (t) => {
  const { pool, echo } = await echoPool(t, { maxReplayTotalBytes: 1000 * KB })
  const many = []
  for (let at = 0; at < 49; at++) {
    const opened = echo.next()
    const client = await connect(`${pool.url}/echo`)
    client.raw.send(Buffer.alloc(20 * KB), { fin: false })
    client.raw.ping()
    await within(once((await opened).socket, 'ping'))
    many.push(client)
  }
  for (let turn = 0; turn < 5; turn++) await echoes(pool)
  const large = await connect(`${pool.url}/echo`)
  large.raw.send(Buffer.alloc(300 * KB))
  assert.equal((await within(large.closed)).code, 1013)
  assert.ok(many.filter(({ raw }) => raw.readyState === raw.OPEN).length > 40)
})

test('one that holds a part of a message and says nothing more gives way to any other', () => {
  const budget = new ReplayBudget(() => 100)
  const cut: string[] = []
  const add = (name: string, held: number, ago: number) => {
    assert.equal(budget.take(held, 0), true)
    const holder = {
      held,
      grownAt: performance.now() - ago,
      cutOff() {
        cut.push(name)
        budget.holders.delete(holder)
        budget.give(held)
      },
    }
    budget.holders.add(holder)
  }
  add('idle', 20, 20_000)
  add('larger', 60, 0)
  add('silent, with nothing to give', 0, 60_000)
  assert.equal(budget.take(30, 0), true)
  assert.deepEqual(cut, ['idle'])
  assert.equal(budget.take(40, 0), true)
  assert.deepEqual(cut, ['idle', 'larger'])
  assert.equal(budget.take(40, 0), false)
})

test('one message that is larger than all memory for them ends its own connection with words', async (t) => {
  const { pool } = await echoPool(t, { maxReplayTotalBytes: 1000 * KB })
  const client = await connect(`${pool.url}/echo`)
  client.raw.send(Buffer.alloc(3000 * KB))
  assert.equal((await within(client.closed)).code, 1013)
  await echoes(pool)
})

test('pings to an upstream that does not read are dropped, not kept', async (t) => {
  const { echo, pool } = await echoPool(t)
  const opened = echo.next()
  const client = await connect(`${pool.url}/echo`)
  const { socket } = await opened
  socket.pause()
  let heard = 0
  socket.on('ping', () => heard++)
  const SENT = 200_000
  const data = Buffer.alloc(125)
  for (let at = 1; at < SENT; at++) client.raw.ping(data)
  await within(new Promise((resolve) => client.raw.ping(data, undefined, resolve)))
  client.raw.send('after')
  socket.resume()
  assert.equal(await within(client.next()), 'after')
  assert.ok(heard < SENT / 2, `${heard} of ${SENT} pings were kept`)
})

test('a client that sends much before its handshake is answered is cut off', async (t) => {
  const silent = net.createServer((socket) => socket.on('error', () => {}).resume())
  await once(silent.listen(0, '127.0.0.1'), 'listening')
  t.after(() => silent.close())
  const { port: upstream } = silent.address() as net.AddressInfo
  const { pool } = await echoPool(t, {}, `http://127.0.0.1:${upstream}`)
  const { hostname, port } = new URL(pool.url)
  const socket = net.connect(Number(port), hostname)
  socket.on('error', () => {})
  const head = ['GET /echo HTTP/1.1', 'host: localhost', 'connection: upgrade', 'upgrade: websocket']
  const key = ['sec-websocket-version: 13', 'sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==', '', '']
  socket.write([...head, ...key].join('\r\n'))
  socket.write(Buffer.alloc(1000 * KB))
  await within(new Promise((resolve) => socket.once('close', resolve)))
})

for (const offered of ['a,,b', 'a, a', 'a b', `a${' '.repeat(30_000)}b`])
  test(`subprotocols that are malformed are refused: ${offered.slice(0, 5)}`, async (t) => {
    const { pool } = await echoPool(t)
    const refused = await refusal(`${pool.url}/echo`, { headers: { 'sec-websocket-protocol': offered } })
    assert.equal(refused.status, 400)
    assert.match(refused.body, /bad_handshake/)
    await echoes(pool)
  })
