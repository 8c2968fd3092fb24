import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { faults } from '../../src/simulator/index.js'
import { inOrder, startPool, turn, type TestPool } from '../kit/pool.js'
import { drain, open } from '../kit/stream.js'

const one = [{ id: 'alice' }]
const claimed = { input: 1000, cached: 400, output: 70, reasoning: 30 }

function claim(pool: TestPool): void {
  pool.sim.reply(() => ({ items: [{ text: 'Hello.' }], usage: claimed }))
}

async function totals(pool: TestPool, id = 'alice') {
  return (await pool.account(id)).usage?.last24h
}

const once = {
  inputTokens: 1000,
  cachedTokens: 400,
  outputTokens: 70,
  reasoningTokens: 30,
  totalTokens: 1070,
}

test('tokens are counted as the end of a stream tells them', async (t) => {
  const pool = await startPool(t, { codex: one })
  claim(pool)
  await pool.ask('s1').expect(200)
  assert.deepEqual(await totals(pool), { requests: 1, failures: 0, ...once })
  const { text } = await pool.request.get('/metrics')
  for (const [kind, tokens] of Object.entries({ input: 1000, cached: 400, output: 70 }))
    assert.ok(text.includes(`codexpool_tokens_total{account="alice",kind="${kind}"} ${tokens}`), text)
})

test('a count below zero is none', async (t) => {
  const pool = await startPool(t, { codex: one })
  pool.sim.reply(() => ({ items: [{ text: 'Hello.' }], usage: { ...claimed, input: -1 } }))
  await pool.ask('s1').expect(200)
  assert.equal((await totals(pool))?.inputTokens, 0)
  await pool.request.get('/healthz').expect(200)
})

test('tokens are counted as a plain JSON answer tells them', async (t) => {
  const pool = await startPool(t, { codexApiKeys: [{ id: 'key' }] })
  claim(pool)
  const { body } = await pool.ask('s1', { body: { stream: false } }).expect(200)
  assert.equal(body.usage.total_tokens, 1070)
  assert.deepEqual(await totals(pool, 'key'), { requests: 1, failures: 0, ...once })
})

test('tokens are counted in an answer that is compressed', async (t) => {
  const pool = await startPool(t, { codex: one })
  claim(pool)
  pool.sim.fail({ with: faults.gzip() })
  await drain(await open(pool))
  assert.deepEqual(await totals(pool), { requests: 1, failures: 0, ...once })
})

test('a text that talks of tokens is not taken for the count', async (t) => {
  const pool = await startPool(t, { codex: one })
  const text = 'data: {"usage":{"total_tokens":9}}\n\n"total_tokens":9'
  pool.sim.reply(() => ({ items: [{ text }], usage: claimed }))
  await pool.ask('s1').expect(200)
  assert.equal((await totals(pool))?.totalTokens, 1070)
})

test('an answer that tells of no tokens counts none; a failure counts as one', async (t) => {
  const pool = await startPool(t, { codex: one })
  pool.sim.fail({ with: faults.end(6) })
  await pool.ask('s1').expect(200)
  pool.sim.fail({ with: { status: 400, body: {} } })
  await pool.ask('s1').expect(400)
  const { requests, failures, totalTokens } = (await totals(pool)) ?? {}
  assert.deepEqual([requests, failures, totalTokens], [2, 1, 0])
})

test('a request counts for the account that served it, once, whoever was asked before', async (t) => {
  const pool = await startPool(t, { codex: [...one, { id: 'bob' }], config: inOrder })
  claim(pool)
  pool.sim.account('alice').exhaust()
  await pool.ask('s1').expect(200)
  assert.equal((await totals(pool))?.requests ?? 0, 0)
  assert.deepEqual(await totals(pool, 'bob'), { requests: 1, failures: 0, ...once })
})

test('what was used is known after a restart, and each request is on record', async (t) => {
  const pool = await startPool(t, { codex: one, onDisk: true })
  claim(pool)
  await pool.ask('s1').expect(200)
  await pool.ask('s2', { model: 'gpt-6' }).expect(200)
  const before = (await pool.account('alice')).usage
  await pool.restart()
  assert.deepEqual((await pool.account('alice')).usage, before)
  assert.equal(before?.last24h.totalTokens, 2140)

  const folder = join(pool.dir, 'data', 'proxy.db.requests')
  const [file] = (await readdir(folder)).filter((name) => name.endsWith('.db'))
  assert.match(file ?? '', /^\d{4}-\d\d-\d\d\.db$/)
  const lines = (await readFile(join(folder, file ?? ''), 'utf8')).trim().split('\n')
  const records = lines.map((line) => JSON.parse(line)).filter(({ account }) => account === 'alice')
  assert.deepEqual(
    records.map(({ model, status, attempts, route }) => [model, status, attempts, route]),
    [
      ['gpt-5.5', 200, 1, '/v1'],
      ['gpt-6', 200, 1, '/v1'],
    ],
  )
  assert.deepEqual(records[0].usage, once)
})

test("what the gateway answers itself is nobody's use", async (t) => {
  const pool = await startPool(t, { codex: one })
  await pool.request.get('/backend-api/wham/accounts/check').expect(200)
  assert.equal((await totals(pool))?.requests ?? 0, 0)
})

test('a body that is read for its model is sent on unread', async (t) => {
  const pool = await startPool(t, { codex: one })
  const body = JSON.stringify(turn(), null, 4)
  await drain(await open(pool, { body }))
  assert.equal(String(pool.sim.requests[0]?.raw), body)
})
