import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inOrder, startPool, type TestPool } from '../kit/pool.js'

const two = [{ id: 'alice' }, { id: 'bob' }]

/** A turn's first request; returns the state that its account issued. */
async function begin(pool: TestPool, session: string): Promise<string> {
  const { headers } = await pool.ask(session).expect(200)
  const state = headers['x-codex-turn-state']
  assert.equal(typeof state, 'string')
  return state ?? assert.fail()
}

const echo = (state: string) => ({ headers: { 'x-codex-turn-state': state } })
const echoed = (pool: TestPool) => pool.sim.requests.at(-1)?.headers['x-codex-turn-state']

test('an account gets its own turn state back', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  const state = await begin(pool, 's1')
  assert.equal(await pool.servedBy('s1', echo(state)), 'alice')
  assert.equal(echoed(pool), state)
})

test('a turn that moves to another account goes there without its state', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  const state = await begin(pool, 's1')
  pool.sim.account('alice').exhaust()
  assert.equal(await pool.servedBy('s1', echo(state)), 'bob')
  assert.equal(echoed(pool), undefined)
  assert.equal(await pool.servedBy('s1', echo(state)), 'bob')
  assert.equal(echoed(pool), undefined, 'nor later in the turn')
})

test('a turn state that no account issued goes nowhere', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  assert.equal(await pool.servedBy('s1', echo('ts-of-nobody')), 'alice')
  assert.equal(echoed(pool), undefined)
})

test('the state of a refused attempt is never handed out', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  pool.sim.fail({
    account: 'alice',
    with: {
      headers: { 'x-codex-turn-state': 'ts-refused' },
      events: () => [{ type: 'error', error: { code: 'usage_limit_reached' } }],
    },
  })
  assert.notEqual(await begin(pool, 's1'), 'ts-refused')
  assert.deepEqual(pool.asked(), ['alice', 'bob'])
})

test('a turn goes on with its state after a restart', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder, onDisk: true })
  const state = await begin(pool, 's1')
  await pool.restart()
  assert.equal(await pool.servedBy('s1', echo(state)), 'alice')
  assert.equal(echoed(pool), state)
})
