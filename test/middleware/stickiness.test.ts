import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Candidate, Strategy, StrategyContext, UserConfig } from '../../src/index.js'
import { faults } from '../../src/simulator/index.js'
import { codeOf, inOrder, startPool, stopClock, type AskOptions } from '../kit/pool.js'

const three = [{ id: 'alice' }, { id: 'bob' }, { id: 'carol' }]

function placedBy(
  strategy: string | { sticky: string },
  strategies: Record<string, Strategy> = {},
): UserConfig {
  return { strategies, routes: [{ path: '/v1', provider: 'codex', strategy }] }
}

test('new conversations spread over the accounts', async (t) => {
  const pool = await startPool(t, { codex: three })
  for (let i = 0; i < 6; i++) await pool.ask(`session-${i}`).expect(200)
  assert.deepEqual(pool.asked().sort(), ['alice', 'alice', 'bob', 'bob', 'carol', 'carol'])
})

const namings: Record<string, (session: string) => AskOptions> = {
  'the session-id header': (session) => ({ headers: { 'session-id': session } }),
  'x-codex-turn-metadata': (session) => ({
    headers: { 'x-codex-turn-metadata': JSON.stringify({ session_id: session, request_kind: 'turn' }) },
  }),
  'prompt_cache_key in the body': (session) => ({ body: { prompt_cache_key: session } }),
}
for (const [naming, options] of Object.entries(namings))
  test(`a conversation stays on its account, told by ${naming}`, async (t) => {
    const pool = await startPool(t, { codex: three, config: placedBy({ sticky: 'round-robin' }) })
    for (let turn = 0; turn < 3; turn++)
      for (const session of ['s1', 's2', 's3']) await pool.ask(undefined, options(session)).expect(200)
    assert.deepEqual(
      pool.asked(),
      [...Array(3)].flatMap(() => ['alice', 'bob', 'carol']),
    )
  })

test('a conversation stays on its account, however each of its requests names it', async (t) => {
  const pool = await startPool(t, { codex: three, config: placedBy({ sticky: 'round-robin' }) })
  await pool.ask('other').expect(200)
  for (const options of Object.values(namings)) await pool.ask(undefined, options('s1')).expect(200)
  const search = { id: 's1', model: 'gpt-5.5', input: [], commands: {} }
  await pool.request.post('/v1/alpha/search').send(search).expect(200)
  assert.deepEqual(pool.asked(), ['alice', 'bob', 'bob', 'bob', 'bob'])
})

test('requests that name no conversation are placed one by one', async (t) => {
  const pool = await startPool(t, { codex: three, config: placedBy({ sticky: 'round-robin' }) })
  for (let i = 0; i < 4; i++) await pool.ask(undefined).expect(200)
  assert.deepEqual(pool.asked(), ['alice', 'bob', 'carol', 'alice'])
})

test('two people do not share a conversation, even under one name', async (t) => {
  const keys = { ann: 'key-of-ann-0123456789', ben: 'key-of-ben-0123456789' }
  const config = { ...placedBy({ sticky: 'round-robin' }), access: { keys } }
  const pool = await startPool(t, { codex: three, config })
  for (const key of [keys.ann, keys.ben, keys.ann, keys.ben])
    await pool.ask('same', { headers: { 'x-codex-pool-key': key } }).expect(200)
  assert.deepEqual(pool.asked(), ['alice', 'bob', 'alice', 'bob'])
})

test('round-robin asks one after the other, whatever the conversation', async (t) => {
  const pool = await startPool(t, { codex: three, config: placedBy('round-robin') })
  for (let i = 0; i < 5; i++) await pool.ask('same').expect(200)
  assert.deepEqual(pool.asked(), ['alice', 'bob', 'carol', 'alice', 'bob'])
})

test('least-used prefers an account with nothing in flight', async (t) => {
  const pool = await startPool(t, { codex: three.slice(0, 2), config: placedBy('least-used') })
  const held = pool.sim.next()
  pool.sim.fail({ account: 'alice', with: faults.stall(5) })
  const first = pool.ask('s1').catch(() => {})
  void first
  await held
  for (let i = 0; i < 3; i++) assert.equal(await pool.servedBy(`next-${i}`), 'bob')
})

test('least-used prefers the account with most of its quota left', async (t) => {
  const used = { alice: 80, bob: 10, carol: 50 }
  const codex = Object.entries(used).map(([id, usedPercent]) => ({ id, primary: { usedPercent } }))
  const pool = await startPool(t, { codex, config: placedBy('least-used') })
  for (let i = 0; i < 3; i++) await pool.ask(undefined).expect(200)
  assert.deepEqual(pool.asked().sort(), ['alice', 'bob', 'carol'], 'an unknown quota says nothing')
  for (let i = 0; i < 3; i++) assert.equal(await pool.servedBy(undefined), 'bob')
})

test("a user's own function sees the accounts that can serve, and decides", async (t) => {
  const seen: { ids: string[]; first: Candidate | undefined; context: StrategyContext }[] = []
  const last: Strategy = (accounts, context) => {
    seen.push({ ids: accounts.map(({ id }) => id), first: accounts[0], context })
    return accounts.at(-1)
  }
  const pool = await startPool(t, { codex: three, config: placedBy({ sticky: 'last' }, { last }) })
  pool.sim.account('carol').exhaust()
  assert.equal(await pool.servedBy('s1'), 'bob')
  assert.deepEqual(
    seen.map(({ ids, context }) => [ids, context.attempt, context.model, context.route]),
    [
      [['alice', 'bob', 'carol'], 1, 'gpt-5.5', '/v1'],
      [['alice', 'bob'], 2, 'gpt-5.5', '/v1'],
    ],
  )
  assert.equal(seen[0]?.first?.usedPercent, undefined, 'unknown is never 0')
  assert.notEqual(seen[0]?.context.conversation, 's1', 'a strategy gets a hash')
})

test('a strategy that names nobody takes the first', async (t) => {
  const config = placedBy({ sticky: 'nobody' }, { nobody: () => undefined })
  const pool = await startPool(t, { codex: three, config })
  assert.equal(await pool.servedBy('s1'), 'alice')
})

const foreign = { id: 'mallory', provider: 'codex' } as Candidate
const failing: Record<string, [told: RegExp, strategy: (accounts: readonly Candidate[]) => unknown]> = {
  throws: [
    /failed: no idea/,
    () => {
      throw new Error('no idea')
    },
  ],
  foreign: [/returned an account that it was not offered: it must return one of the accounts/, () => foreign],
  promise: [/returned a promise: .* at once/, async ([first]) => first],
  rejecting: [
    /returned a promise/,
    async () => {
      throw new Error('later')
    },
  ],
  id: [/returned the id of an account/, () => 'alice'],
  number: [/returned a number/, () => 1],
  nothing: [/returned null/, () => null],
}
for (const [name, [told, strategy]] of Object.entries(failing))
  test(`a strategy that fails is named, and nobody is asked: ${name}`, async (t) => {
    const pool = await startPool(t, {
      codex: three,
      config: placedBy({ sticky: name }, { [name]: strategy as Strategy }),
    })
    const { status, body } = await pool.ask('s1')
    assert.deepEqual([status, codeOf(body)], [500, 'strategy_failed'])
    assert.match(body.error.message, new RegExp(`"${name}"`))
    assert.match(body.error.message, told)
    assert.deepEqual(pool.asked(), [])
  })

test('a copy of an account counts as that account', async (t) => {
  const copying: Strategy = (accounts) => ({ ...accounts[1]! })
  const pool = await startPool(t, { codex: three, config: placedBy({ sticky: 'copying' }, { copying }) })
  assert.equal(await pool.servedBy('s1'), 'bob')
})

test('a conversation that had to move stays where it went', async (t) => {
  const clock = stopClock(t)
  const pool = await startPool(t, { codex: three, config: inOrder })
  assert.equal(await pool.servedBy('s1'), 'alice')
  pool.sim.account('alice').exhaust({ resetsAt: clock.now + 60_000 })
  assert.equal(await pool.servedBy('s1'), 'bob')
  clock.advance(61_000)
  assert.equal(await pool.servedBy('s2'), 'alice', 'alice is back')
  assert.equal(await pool.servedBy('s1'), 'bob')
})

test('a strategy is told the conversation, though it keeps none', async (t) => {
  const told: (string | undefined)[] = []
  const affine: Strategy = (accounts, { conversation }) => {
    told.push(conversation)
    return accounts[0]
  }
  const pool = await startPool(t, { codex: three, config: placedBy('affine', { affine }) })
  for (const session of ['s1', 's2', 's1']) await pool.ask(session).expect(200)
  assert.ok(told[0] !== undefined)
  assert.deepEqual([told[2], told[1] === told[0]], [told[0], false])
})
