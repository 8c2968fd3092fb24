import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { UserConfig } from '../../src/index.js'
import { faults, geminiFaults } from '../../src/simulator/index.js'
import { inOrder, startPool, stopClock, type TestPool } from '../kit/pool.js'

const SECOND = 1_000
const two = [{ id: 'alice' }, { id: 'bob' }]

const cooldownsOf = async (pool: TestPool, id: string) =>
  (await pool.account(id)).cooldowns.map(({ kind, model, reason }) => ({ kind, model, reason }))

test('an account that alone is in trouble cools down for a moment, then longer, until it has answered', async (t) => {
  const clock = stopClock(t)
  const pool = await startPool(t, { codex: two, config: inOrder })
  const cooldownOf = async () => Date.parse((await pool.account('alice')).availableAt ?? '') - clock.now
  const lengths: number[] = []
  for (const session of ['s1', 's2', 's3']) {
    pool.sim.fail({ account: 'alice', with: faults.serverError() })
    assert.equal(await pool.servedBy(session), 'bob')
    lengths.push((await cooldownOf()) / SECOND)
    clock.advance(await cooldownOf())
  }
  assert.deepEqual(lengths, [1, 2, 4])
  assert.equal(await pool.servedBy('s4'), 'alice')
  pool.sim.fail({ account: 'alice', with: faults.serverError() })
  await pool.ask('s5').expect(200)
  assert.equal(await cooldownOf(), SECOND, 'its answer has made good for all before')
})

test('trouble that every account meets is the upstream’s: no account cools down', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  pool.sim.fail({ times: 6, with: faults.serverError(503) })
  for (const session of ['s1', 's2', 's3']) await pool.ask(session).expect(503)
  for (const { id } of two) assert.deepEqual(await cooldownsOf(pool, id), [])
  await pool.ask('s4').expect(200)
})

test('connections that break cost no account a cooldown, even if another account’s hold', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  pool.sim.fail({ account: 'alice', times: 5, with: 'reset' })
  for (let i = 0; i < 5; i++) assert.equal(await pool.servedBy(`s${i}`), 'bob')
  assert.equal(await pool.servedBy('s6'), 'alice')
})

test('twenty refusals that come together cool an account down no longer than one', async (t) => {
  const clock = stopClock(t)
  const pool = await startPool(t, { codex: two, config: inOrder })
  pool.sim.fail({ account: 'alice', times: 20, with: faults.rateLimited() })
  await Promise.all(Array.from({ length: 20 }, (_, index) => pool.ask(`s${index}`).expect(200)))
  const { availableAt } = await pool.account('alice')
  assert.equal(Date.parse(availableAt ?? '') - clock.now, SECOND)
})

test('the limit of one Codex model outlasts answers to others', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  const limit = faults.usageLimit()
  const headers = { ...limit.headers, 'x-codex-active-limit': 'codex_spark' }
  pool.sim.fail({ account: 'alice', with: { ...limit, headers } })
  assert.equal(await pool.servedBy('s1', { model: 'spark' }), 'bob')
  assert.equal(await pool.servedBy('s2', { model: 'gpt-5.5' }), 'alice')
  assert.equal(await pool.servedBy('s3', { model: 'spark' }), 'bob')
  assert.deepEqual(pool.asked(), ['alice', 'bob', 'alice', 'bob'])
})

const geminiInOrder: UserConfig = {
  strategies: { 'in-order': (accounts) => accounts[0] },
  routes: [{ path: '/v1internal:', provider: 'gemini', strategy: { sticky: 'in-order' } }],
}

/** Asks a Gemini model in a session of its own; says who answered. */
async function geminiServedBy(pool: TestPool, model: string, session: string): Promise<string | undefined> {
  const contents = [{ role: 'user', parts: [{ text: 'hi' }] }]
  await pool.request
    .post('/v1internal:streamGenerateContent?alt=sse')
    .send({ model, project: 'codex-pool', request: { contents, session_id: session } })
    .expect(200)
  return pool.sim.requests.filter(({ path }) => path.endsWith(':streamGenerateContent')).at(-1)?.account
}

const limits = {
  'for a moment': geminiFaults.rateLimited(30),
  'for the day': geminiFaults.quotaExhausted({ model: 'gemini-2.5-pro' }),
}
for (const [name, limit] of Object.entries(limits))
  test(`a Gemini account that is limited for one model ${name} serves the others`, async (t) => {
    const pool = await startPool(t, { gemini: [{ id: 'g1' }, { id: 'g2' }], config: geminiInOrder })
    pool.sim.fail({ account: 'g1', path: ':streamGenerateContent', with: limit })
    assert.equal(await geminiServedBy(pool, 'gemini-2.5-pro', 's1'), 'g2')
    assert.equal(await geminiServedBy(pool, 'gemini-2.5-flash', 's2'), 'g1')
    assert.equal(await geminiServedBy(pool, 'gemini-2.5-pro', 's3'), 'g2')
    const [cooldown] = (await pool.account('gemini_g1')).cooldowns
    assert.equal(cooldown?.model, 'gemini-2.5-pro')
    assert.equal((await pool.account('gemini_g1')).state, 'ready')
  })
