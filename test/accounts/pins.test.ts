import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { UserConfig } from '../../src/index.js'
import { startPool, stopClock } from '../kit/pool.js'

const MINUTE = 60_000
const three = [{ id: 'alice' }, { id: 'bob' }, { id: 'carol' }]
/** A conversation that is placed anew goes to another account than before. */
const inTurn: UserConfig = {
  routes: [{ path: '/v1', provider: 'codex', strategy: { sticky: 'round-robin' } }],
}

test('a conversation stays on its account after a restart', async (t) => {
  const pool = await startPool(t, { codex: three, config: inTurn, onDisk: true })
  for (const session of ['s1', 's2', 's3', 's4', 's5']) await pool.ask(session).expect(200)
  const before = pool.asked()
  await pool.restart()
  for (const session of ['s5', 's4', 's3', 's2', 's1']) await pool.ask(session).expect(200)
  assert.deepEqual(pool.asked().slice(5), before.reverse())
})

test('a conversation that has been silent for too long is placed anew', async (t) => {
  const clock = stopClock(t)
  const pool = await startPool(t, { codex: three, config: { ...inTurn, pins: { idleMs: 10 * MINUTE } } })
  assert.equal(await pool.servedBy('s1'), 'alice')
  for (let i = 0; i < 3; i++) {
    clock.advance(6 * MINUTE)
    assert.equal(await pool.servedBy('s1'), 'alice', 'each turn starts the silence anew')
  }
  clock.advance(11 * MINUTE)
  assert.equal(await pool.servedBy('s1'), 'bob')
})

test('silence goes on while the gateway is down', async (t) => {
  const clock = stopClock(t)
  const config = { ...inTurn, pins: { idleMs: 10 * MINUTE } }
  const pool = await startPool(t, { codex: three, config, onDisk: true })
  assert.equal(await pool.servedBy('s1'), 'alice')
  clock.advance(6 * MINUTE)
  assert.equal(await pool.servedBy('s2'), 'bob')
  await pool.restart(() => clock.advance(6 * MINUTE))
  assert.equal(await pool.servedBy('s3'), 'alice', 'a fresh round begins')
  assert.equal(await pool.servedBy('s2'), 'bob')
  assert.equal(await pool.servedBy('s1'), 'bob', 'forgotten, and placed anew')
})

test('the conversation that has been silent for longest is forgotten first', async (t) => {
  const pool = await startPool(t, { codex: three, config: { ...inTurn, pins: { max: 2 } } })
  for (const session of ['s1', 's2']) await pool.ask(session).expect(200)
  assert.equal(await pool.servedBy('s1'), 'alice')
  assert.equal(await pool.servedBy('s3'), 'carol')
  assert.equal(await pool.servedBy('s1'), 'alice')
  assert.equal(await pool.servedBy('s2'), 'alice', 'forgotten, and placed anew')
})

test('a busy conversation does not push the others out', async (t) => {
  const pool = await startPool(t, { codex: three, config: { ...inTurn, pins: { max: 4 } } })
  assert.equal(await pool.servedBy('quiet'), 'alice')
  for (let turn = 0; turn < 10; turn++) assert.equal(await pool.servedBy('busy'), 'bob')
  assert.equal(await pool.servedBy('quiet'), 'alice')
})
