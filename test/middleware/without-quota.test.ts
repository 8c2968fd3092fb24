import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { UserConfig } from '../../src/index.js'
import { inOrder, startPool, type TestPool } from '../kit/pool.js'

const config: UserConfig = { ...inOrder }

/** A pool whose accounts have refused a generation because their quota is used up. */
async function exhausted(pool: TestPool, ...ids: string[]): Promise<void> {
  for (const id of ids) pool.sim.account(id).exhaust()
  await pool.ask('s1').expect(429)
}

const calls: Record<string, (pool: TestPool) => { expect(status: number): PromiseLike<unknown> }> = {
  'the settings of a user': (pool) => pool.request.get('/backend-api/wham/settings/user'),
  'the list of plugins': (pool) => pool.request.get('/backend-api/ps/plugins/installed?limit=200'),
  'the list of models': (pool) => pool.request.get('/v1/models'),
}
for (const [name, call] of Object.entries(calls))
  test(`${name} uses no quota: an exhausted account serves it, and stays exhausted`, async (t) => {
    const pool = await startPool(t, { codex: [{ id: 'alice' }], config })
    await exhausted(pool, 'alice')
    await call(pool).expect(200)
    const { state, inFlight } = await pool.account('alice')
    assert.deepEqual([state, inFlight], ['exhausted', 0])
    await pool.ask('s2').expect(429)
  })

test('a call that uses no quota goes to its owner’s account, although that one alone is exhausted', async (t) => {
  const pool = await startPool(t, { codex: [{ id: 'alice' }, { id: 'bob' }], config })
  pool.sim.account('alice').exhaust()
  await pool.servedBy('s1')
  await pool.request
    .get('/backend-api/wham/settings/user')
    .set('chatgpt-account-id', pool.sim.account('alice').accountId)
    .expect(200)
  assert.equal(pool.sim.requests.at(-1)?.account, 'alice')
})

test('an account that needs a login or is disabled serves no such call either', async (t) => {
  const pool = await startPool(t, { codex: [{ id: 'alice' }], config })
  pool.gateway.setDisabled('alice', true)
  await pool.request.get('/backend-api/wham/settings/user').expect(400)
})
