import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { test } from 'node:test'
import { faults } from '../../src/simulator/index.js'
import { codeOf, inOrder, startPool, stopClock, until, type TestPool } from '../kit/pool.js'
import { send } from '../kit/stream.js'

const SECOND = 1000
const MINUTE = 60 * SECOND
const DAY = 1440 * MINUTE
const two = [{ id: 'alice' }, { id: 'bob' }]
const one = [{ id: 'alice' }]

const lengths = {
  'for as long as Retry-After says': { fault: faults.rateLimited(30), ms: 30 * SECOND },
  'until its quota comes back': {
    fault: faults.usageLimit({ resetsAt: Date.now() + 600 * SECOND }),
    ms: 601 * SECOND,
  },
  'for 15 minutes at most, whatever the upstream says': {
    fault: faults.usageLimit({ resetsAt: Date.now() + 3 * DAY }),
    ms: 15 * MINUTE,
  },
}
for (const [name, { fault, ms }] of Object.entries(lengths))
  test(`an account that refused is not asked ${name}`, async (t) => {
    const clock = stopClock(t)
    const pool = await startPool(t, { codex: two, config: inOrder })
    pool.sim.fail({ account: 'alice', with: fault })
    await pool.ask('s1').expect(200)
    clock.advance(ms - 2 * SECOND)
    assert.equal(await pool.servedBy('s2'), 'bob')
    clock.advance(2 * SECOND)
    assert.equal(await pool.servedBy('s3'), 'alice')
    assert.equal((await pool.account('alice')).state, 'ready')
  })

test('refusals without an end double the cooldown, up to 5 minutes; a success starts anew', async (t) => {
  const clock = stopClock(t)
  const pool = await startPool(t, { codex: one })
  const cooldownAfterRefusal = async () => {
    pool.sim.fail({ with: faults.rateLimited() })
    await pool.ask('s1').expect(503)
    const left = Date.parse((await pool.account('alice')).availableAt ?? '') - clock.now
    clock.advance(left)
    return left / SECOND
  }
  const seen: number[] = []
  for (let i = 0; i < 11; i++) seen.push(await cooldownAfterRefusal())
  assert.deepEqual(seen, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300])
  await pool.ask('s1').expect(200)
  assert.equal(await cooldownAfterRefusal(), 1)
})

test('after its cooldown an account is asked by one request at a time, until it has answered', async (t) => {
  const clock = stopClock(t)
  const pool = await startPool(t, { codex: one })
  pool.sim.account('alice').exhaust({ resetsAt: clock.now + 3 * DAY })
  await pool.ask('s1').expect(429)
  clock.advance(15 * MINUTE)
  pool.sim.fail({ with: 'hang' })
  const arrived = pool.sim.next()
  const probe = send(pool)
  await arrived
  assert.notEqual((await pool.ask('s2')).status, 200)
  const over = once(pool.gateway.events, 'attempt')
  probe.destroy()
  await over
  assert.equal(pool.asked().length, 2)
  await pool.ask('s2').expect(429)
  assert.equal(pool.asked().length, 3, 'the probe that was given up has made room')
})

test('a window that is reported to be full makes the account the last to be asked, and only a refusal exhausts it', async (t) => {
  const clock = stopClock(t)
  const primary = { usedPercent: 99, resetsAt: clock.now + 10 * MINUTE }
  const pool = await startPool(t, { codex: [{ id: 'alice', primary }, { id: 'bob' }], config: inOrder })
  assert.equal(await pool.servedBy('s1'), 'alice')
  assert.equal((await pool.account('alice')).state, 'ready')
  assert.equal(await pool.servedBy('s2'), 'bob')
  assert.deepEqual(pool.asked(), ['alice', 'bob'], 'a refusal that can be foreseen is not asked for')
  pool.sim.account('alice').window('primary', { usedPercent: 10 })
  pool.sim.account('bob').exhaust()
  assert.equal(await pool.servedBy('s2'), 'alice', 'the report was out of date')
})

test('credits carry an account beyond a full window, but not while another account has quota of its plan', async (t) => {
  const codex = [
    { id: 'alice', primary: { usedPercent: 99 }, credits: { hasCredits: true, balance: '10' } },
    { id: 'bob' },
  ]
  const pool = await startPool(t, { codex, config: inOrder })
  assert.equal(await pool.servedBy('s1'), 'alice')
  assert.equal((await pool.account('alice')).onCredits, true)
  assert.equal(await pool.servedBy('s1'), 'bob', 'a running conversation moves, too')
  pool.sim.account('bob').exhaust()
  assert.equal(await pool.servedBy('s1'), 'alice')
})

const spent: Record<string, [status: number, state: string]> = {
  never: [429, 'exhausted'],
  last: [200, 'ready'],
  freely: [200, 'ready'],
}
for (const [credits, after] of Object.entries(spent))
  test(`credits: '${credits}' holds for the only account, too, and over a restart`, async (t) => {
    const alice = { id: 'alice', primary: { usedPercent: 99 }, credits: { hasCredits: true, balance: '10' } }
    const pool = await startPool(t, {
      codex: [alice],
      config: { providers: { codex: { type: 'codex', credits: credits as 'never' } } },
      onDisk: true,
    })
    await pool.ask('s1').expect(200)
    const asked = async () => [(await pool.ask('s2')).status, (await pool.account('alice')).state]
    assert.deepEqual(await asked(), after)
    await pool.restart()
    assert.deepEqual(await asked(), after)
  })

test('a poll that finds room ends an exhaustion early', async (t) => {
  const clock = stopClock(t)
  const pool = await startPool(t, { codex: one, config: { quotaPollMs: 60 * SECOND } })
  const alice = pool.sim.account('alice')
  alice.exhaust({ resetsAt: clock.now + 3 * DAY })
  await pool.ask('s1').expect(429)
  alice.window('primary', { usedPercent: 0 })
  await until(async () => {
    clock.advance(6 * SECOND)
    return (await pool.account('alice')).state === 'ready'
  })
  await pool.ask('s1').expect(200)
})

const outlived: Record<string, (pool: TestPool) => Promise<unknown>> = {
  'a restart': (pool) => pool.restart(),
  'a reload': (pool) => pool.request.post('/admin/reload').expect(200),
}
for (const [name, happens] of Object.entries(outlived))
  test(`what is known of an account outlives ${name}`, async (t) => {
    const clock = stopClock(t)
    const pool = await startPool(t, { codex: [...two, { id: 'carol' }], config: inOrder, onDisk: true })
    pool.sim.account('alice').exhaust({ resetsAt: clock.now + 10 * MINUTE })
    pool.sim.fail({ account: 'bob', with: faults.paymentRequired() })
    assert.equal(await pool.servedBy('s1'), 'carol')
    const before = [await pool.account('alice'), await pool.account('bob'), await pool.account('carol')]
    assert.deepEqual(
      before.map(({ state }) => state),
      ['exhausted', 'needs-login', 'ready'],
    )
    await happens(pool)
    const after = [await pool.account('alice'), await pool.account('bob'), await pool.account('carol')]
    assert.equal(after[1]!.state, 'ready', 'a needed login is looked at again')
    assert.deepEqual([after[0], after[2]], [before[0], before[2]])
    clock.advance(10 * MINUTE + SECOND)
    assert.equal(await pool.servedBy('s2'), 'alice')
  })

test('a model that an account may not use is asked of it no more; its others are', async (t) => {
  const pool = await startPool(t, {
    codex: [{ id: 'alice', models: ['gpt-5.5'] }, { id: 'bob' }],
    config: inOrder,
  })
  assert.equal(await pool.servedBy('s1', { model: 'gpt-6' }), 'bob')
  assert.equal(await pool.servedBy('s2', { model: 'gpt-6' }), 'bob')
  assert.equal(await pool.servedBy('s3', { model: 'gpt-5.5' }), 'alice')
  assert.deepEqual(pool.asked(), ['alice', 'bob', 'bob', 'alice'])
})

test('a limit of one model leaves the others alone', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  const fault = faults.usageLimit()
  pool.sim.fail({
    account: 'alice',
    with: { ...fault, headers: { ...fault.headers, 'x-codex-active-limit': 'codex_spark' } },
  })
  assert.equal(await pool.servedBy('s1', { model: 'spark' }), 'bob')
  assert.equal(await pool.servedBy('s2', { model: 'spark' }), 'bob')
  assert.equal(await pool.servedBy('s3', { model: 'gpt-5.5' }), 'alice')
})

const patient = { retry: { default: { waitForCooldownMs: 5 * SECOND } } }

test('a request may wait for the nearest cooldown to end', async (t) => {
  const pool = await startPool(t, { codex: one, config: patient })
  pool.sim.fail({ with: faults.rateLimited() })
  await pool.ask('s1').expect(200)
  assert.deepEqual(pool.asked(), ['alice', 'alice'])
})

test('but not for one that is longer than it may wait, nor for a client that has left', async (t) => {
  const pool = await startPool(t, { codex: one, config: patient })
  pool.sim.fail({ with: faults.rateLimited(6) })
  await pool.ask('s1').expect(503)
  const other = await startPool(t, { codex: one, config: patient })
  other.sim.fail({ with: faults.rateLimited(4) })
  const cooling = once(other.gateway.events, 'cooldown')
  const request = send(other)
  await cooling
  const over = once(other.gateway.events, 'request')
  request.destroy()
  assert.equal((await over)[0].status, 499)
  assert.equal(other.asked().length, 1)
})

test('a new login ends the need for one', async (t) => {
  const pool = await startPool(t, { codex: one })
  pool.sim.account('alice').revoke()
  assert.equal(codeOf((await pool.ask('s1').expect(400)).body), 'login_required')
  pool.sim.account('alice').login()
  await writeFile(pool.file('alice'), JSON.stringify(pool.sim.account('alice').authJson()))
  await pool.request.post('/admin/reload').expect(200)
  await pool.ask('s1').expect(200)
  assert.match(await readFile(pool.file('alice'), 'utf8'), /access_token/)
})
