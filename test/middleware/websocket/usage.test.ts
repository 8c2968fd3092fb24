import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { faults, field } from '../../../src/simulator/index.js'
import { EchoUpstream } from '../../kit/echo-upstream.js'
import { inOrder, startPool, type TestPool } from '../../kit/pool.js'
import { create, dial, isTurn, prewarm } from '../../kit/websocket.js'

const two = [{ id: 'alice' }, { id: 'bob' }]

const used = async (pool: TestPool, id: string) => (await pool.account(id)).usage?.last24h

test('a response counts once with the tokens that the upstream names, and a prewarm does not', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  const usage = { input: 100, cached: 40, output: 7, reasoning: 3 }
  pool.sim.reply(() => ({ items: [{ text: 'ok' }], usage }))
  const socket = await dial(pool, 's1')
  const [, , warm] = await socket.ask(prewarm())
  assert.ok(Number(field(warm, 'response', 'usage', 'input_tokens')) > 0)
  assert.equal((await used(pool, 'alice'))?.requests ?? 0, 0)
  for (let turn = 1; turn <= 3; turn++) {
    await socket.ask(create())
    const totals = await used(pool, 'alice')
    assert.deepEqual(
      [totals?.requests, totals?.failures, totals?.inputTokens, totals?.cachedTokens],
      [turn, 0, turn * 100, turn * 40],
    )
    assert.deepEqual([totals?.outputTokens, totals?.reasoningTokens], [turn * 7, turn * 3])
  }
  assert.equal(await used(pool, 'bob'), undefined)
})

test('each response has a record of its own, with its model and its conversation', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder, onDisk: true })
  const socket = await dial(pool, 's1')
  await socket.ask(prewarm())
  await socket.ask(create())
  await socket.ask(create('and now', { model: 'gpt-6.1-sol' }))
  await pool.stop()
  const folder = join(pool.dir, 'data', 'proxy.db.requests')
  const days = (await readdir(folder)).filter((name) => /^\d{4}-/.test(name))
  const files = await Promise.all(days.map((day) => readFile(join(folder, day), 'utf8')))
  const records = files
    .join('')
    .trim()
    .split('\n')
    .map((line): unknown => JSON.parse(line))
  assert.deepEqual(
    records.map((record) => [field(record, 'account'), field(record, 'model'), field(record, 'status')]),
    [
      ['alice', 'gpt-5.5', 200],
      ['alice', 'gpt-6.1-sol', 200],
    ],
  )
  assert.equal(new Set(records.map((record) => field(record, 'id'))).size, 2)
  assert.equal(new Set(records.map((record) => field(record, 'conversation'))).size, 1)
  assert.ok(!files.join('').includes('s1"'), 'a conversation is named by a hash only')
})

test('a response that breaks off is no success, and counts no tokens', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  pool.sim.fail({ frame: isTurn, with: faults.cut(7) })
  const socket = await dial(pool, 's1')
  socket.send(create())
  await socket.closed
  const totals = await used(pool, 'alice')
  assert.deepEqual([totals?.requests, totals?.failures, totals?.totalTokens], [1, 1, 0])
})

test('an account is busy while a response runs, and not while a WebSocket is merely open', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  const socket = await dial(pool, 's1')
  const busy = async () => (await pool.account('alice')).inFlight
  assert.equal(await busy(), 0)
  pool.sim.fail({ frame: true, with: faults.stall(7) })
  socket.send(create())
  await socket.next()
  assert.equal(await busy(), 1)
  socket.raw.terminate()
  await pool.sim.requests[0]?.closed
  assert.equal(await busy(), 0)
})

test('the windows that a WebSocket tells are the account’s, and the client is told those of the pool', async (t) => {
  const routes = [{ path: '/v1', provider: 'codex' as const, strategy: 'round-robin' as const }]
  const pool = await startPool(t, { codex: two, config: { routes } })
  pool.sim.account('alice').window('primary', { usedPercent: 59 })
  const sockets = [await dial(pool, 's1'), await dial(pool, 's2')]
  assert.deepEqual(pool.asked().sort(), ['alice', 'bob'])
  let told: unknown
  for (const socket of sockets)
    told = (await socket.ask(create())).find((frame) => field(frame, 'type') === 'codex.rate_limits')
  const { windows } = await pool.account('alice')
  assert.deepEqual(
    windows.map(({ name, usedPercent, lengthMinutes }) => [name, usedPercent, lengthMinutes]),
    [
      ['primary', 60, 300],
      ['secondary', 0, 10_080],
    ],
  )
  const { body } = await pool.request.get('/backend-api/wham/usage').expect(200)
  for (const name of ['primary', 'secondary']) {
    const { used_percent, reset_at } = body.rate_limit[`${name}_window`]
    assert.equal(field(told, 'rate_limits', name, 'used_percent'), used_percent, name)
    assert.equal(field(told, 'rate_limits', name, 'reset_at'), reset_at, name)
  }
  assert.equal(field(told, 'rate_limits', 'primary', 'used_percent'), 31, 'half of 60 and 1')
})

const raw: Record<string, string | Buffer> = {
  'a delta with blanks and escapes':
    '{ "type" : "response.output_text.delta", "delta":"\\u00e9" , "n": 1.0 }',
  'an event that nobody knows yet': '{"type":"codex.something.new","n":1e2}',
  'an event whose type stands last': '{"n":1.50,"type":"response.created"}',
  'what is no JSON': '{"type":"response.created"',
  bytes: Buffer.from('{"type":"error"}'),
}

for (const [name, message] of Object.entries(raw))
  test(`what need not be touched passes byte for byte, both ways: ${name}`, async (t) => {
    const echo = await EchoUpstream.start(t)
    const env = { UPSTREAM_RESPONSES_BASE: `${echo.url}/backend-api/codex` }
    const pool = await startPool(t, { codex: [{ id: 'alice' }], env })
    const { raw: socket } = await dial(pool, 's1')
    const came = once(socket, 'message')
    socket.send(message)
    const [data, binary] = (await came) as [Buffer, boolean]
    assert.equal(binary, typeof message !== 'string')
    assert.equal(String(data), String(message))
    assert.equal(String(echo.connections[0]?.received[0]?.data), String(message))
  })
