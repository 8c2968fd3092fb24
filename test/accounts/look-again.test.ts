import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { faults } from '../../src/simulator/index.js'
import { barePool } from '../kit/bare-pool.js'
import { inOrder, startPool, stopClock, type TestPool } from '../kit/pool.js'

const DAY = 86_400_000
const two = [{ id: 'alice' }, { id: 'bob' }]

const wrongStates = {
  exhausted: faults.usageLimit({ resetsAt: Date.now() + 3 * DAY }),
  cooling: faults.rateLimited(600),
  'needs-login': faults.paymentRequired(),
}
const looks: Record<string, (pool: TestPool) => unknown> = {
  'a restart': (pool) => pool.restart(),
  'a reload': (pool) => pool.gateway.reload(),
  'a retry': (pool) => pool.gateway.retry('alice'),
  'a retry of all': (pool) => pool.gateway.retry(),
}
for (const [state, fault] of Object.entries(wrongStates))
  for (const [name, look] of Object.entries(looks))
    test(`${name} lets an account that was wrongly ${state} be asked at once`, async (t) => {
      stopClock(t)
      const pool = await startPool(t, { codex: [two[0]!], config: inOrder, onDisk: true })
      pool.sim.fail({ with: fault })
      await pool.ask('s1')
      assert.equal((await pool.account('alice')).state, state)
      await look(pool)
      assert.equal(await pool.servedBy('s2'), 'alice')
      assert.equal((await pool.account('alice')).state, 'ready')
    })

test('after a restart an exhausted account is asked only if no other can serve, and by one request at a time', async (t) => {
  const clock = stopClock(t)
  const pool = await startPool(t, { codex: two, config: inOrder, onDisk: true })
  pool.sim.account('alice').exhaust({ resetsAt: clock.now + 3 * DAY })
  assert.equal(await pool.servedBy('s1'), 'bob')
  await pool.restart()
  assert.equal(await pool.servedBy('s2'), 'bob')
  pool.sim.account('bob').exhaust({ resetsAt: clock.now + 3 * DAY })
  for (let i = 0; i < 3; i++) await pool.ask('s3').expect(429)
  assert.equal(
    pool.asked().filter((id) => id === 'alice').length,
    2,
    'once before, and once since the restart',
  )
})

test('a retry shows the account in its new state, and knows accounts by id', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  pool.sim.fail({ account: 'alice', with: faults.paymentRequired() })
  await pool.ask('s1').expect(200)
  assert.deepEqual(
    pool.gateway.retry('alice').map(({ id, state }) => [id, state]),
    [['alice', 'ready']],
  )
  assert.deepEqual(pool.gateway.retry('nobody'), [])
  pool.gateway.setDisabled('alice', true)
  assert.equal(pool.gateway.retry('alice')[0]!.state, 'disabled')
})

test('a retry does not wait for the pause after a refresh that failed', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  pool.sim.account('alice').expireAccessToken()
  pool.sim.fail({ path: '/oauth/token', with: faults.serverError() })
  const failed = once(pool.gateway.events, 'refresh')
  assert.equal(await pool.servedBy('s1'), 'bob')
  await failed
  pool.gateway.retry('alice')
  assert.equal(await pool.servedBy('s2'), 'alice')
})

test('redeeming a reset credit empties the windows, and ends the exhaustion', async (t) => {
  const resets = [{ id: 'r1', expiresAt: Date.now() + DAY }]
  let left = resets
  const { pool, account, clock } = await barePool(t, ['alice'], {
    redeem: async () => {
      if (left.length === 0) throw new Error('no reset credit is left')
      left = []
      return { windows: [{ name: 'primary', usedPercent: 0 }], resets: [] }
    },
  })
  const alice = account('alice')
  alice.observe({ windows: [{ name: 'primary', usedPercent: 100 }], resets }, 'poll', clock.now)
  await pool.applyVerdict(alice, { kind: 'exhausted', reason: 'limit' }, alice.credential)
  assert.deepEqual(alice.windows.quota(clock.now).resets, resets)
  await pool.redeem(alice)
  assert.deepEqual(
    [alice.state(clock.now), alice.windows.usedPercent(clock.now), alice.windows.resets],
    ['ready', 0, []],
  )
  await assert.rejects(pool.redeem(alice), /no reset credit is left/)
})

test('an account whose provider has no reset credits says so', async (t) => {
  const { pool, account } = await barePool(t, ['alice'])
  await assert.rejects(pool.redeem(account('alice')), /accounts of it have no reset credits/)
})
