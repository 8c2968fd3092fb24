import assert from 'node:assert/strict'
import { test } from 'node:test'
import { faults } from '../../src/simulator/index.js'
import { startPool } from '../kit/pool.js'

const patient = { retry: { default: { waitForCooldownMs: 10_000 } } }

test('requests that wait for the same cooldown to end are all served, one after the other’s probe', async (t) => {
  const pool = await startPool(t, { codex: [{ id: 'alice' }], config: patient })
  pool.sim.fail({ times: 8, with: faults.rateLimited('0.2') })
  const answers = await Promise.all(Array.from({ length: 8 }, (_, index) => pool.ask(`s${index}`)))
  assert.deepEqual(
    answers.map(({ status }) => status),
    Array(8).fill(200),
  )
})

test('a request that waits takes whichever account is back first', async (t) => {
  const pool = await startPool(t, { codex: [{ id: 'alice' }, { id: 'bob' }], config: patient })
  pool.sim.fail({ account: 'alice', with: faults.rateLimited(9) })
  pool.sim.fail({ account: 'bob', with: faults.rateLimited('0.2') })
  assert.equal(await pool.servedBy('s1'), 'bob')
  assert.equal(pool.asked().length, 3)
})

test('a request does not wait for what no waiting ends', async (t) => {
  const pool = await startPool(t, { codex: [{ id: 'alice' }], config: patient })
  pool.sim.account('alice').revoke()
  await pool.ask('s1').expect(400)
})
