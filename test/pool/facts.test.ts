import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Credential } from '../../config/provider.js'
import { barePool } from '../kit/bare-pool.js'

const verdict = { kind: 'refused', reason: 'project not found', model: 'pro', doubts: 'facts' } as const

/** A provider that finds out an account's project; a `project` in the file wins. */
function finding() {
  const provider = {
    project: 'old',
    calls: 0,
    fails: false,
    inspect: () => ({ identity: 'alice' }),
    discover: async ({ credential }: { credential: Credential }) => {
      provider.calls++
      if (provider.fails) throw new Error('not now')
      return { project: (credential.project as string | undefined) ?? provider.project }
    },
  }
  return provider
}

async function knowing(t: Parameters<typeof barePool>[0]) {
  const provider = finding()
  const it = await barePool(t, ['alice', 'bob'], provider)
  const alice = it.account('alice')
  assert.equal(await it.pool.facts.ready(alice), undefined)
  const refuse = async () => (await it.pool.applyVerdict(alice, verdict, alice.credential))?.kind
  return { ...it, provider, alice, refuse }
}

test('facts that the upstream refuses are asked for again, once, and new ones are used', async (t) => {
  const { provider, alice, refuse, clock } = await knowing(t)
  provider.project = 'new'
  assert.deepEqual(await Promise.all([refuse(), refuse(), refuse()]), ['fresh', 'fresh', 'fresh'])
  assert.deepEqual(alice.facts, { project: 'new' })
  assert.equal(provider.calls, 2)
  clock.now += 61_000
  assert.equal(await refuse(), undefined)
  assert.equal(provider.calls, 2)
  assert.ok(alice.refuses('pro', clock.now))
})

test('facts that are found to be the same leave the refusal as it is', async (t) => {
  const { provider, alice, refuse, clock } = await knowing(t)
  for (let i = 0; i < 3; i++) assert.equal(await refuse(), undefined)
  assert.equal(provider.calls, 2)
  assert.ok(alice.refuses('pro', clock.now))
})

for (const way of ['a changed file', 'a retry'] as const)
  test(`${way} lets facts be asked for again`, async (t) => {
    const { pool, provider, alice, refuse, write } = await knowing(t)
    await refuse()
    if (way === 'a retry') pool.retry(alice)
    else await write('alice', { token: 'of alice', note: 'mine' })
    provider.project = 'new'
    assert.equal(await pool.facts.ready(alice), undefined)
    assert.deepEqual(alice.facts, { project: 'new' })
    assert.equal(await refuse(), undefined)
  })

test('a project that is put into the file wins at once', async (t) => {
  const { pool, alice, write } = await knowing(t)
  await write('alice', { token: 'of alice', project: 'mine' })
  await pool.facts.ready(alice)
  assert.deepEqual(alice.facts, { project: 'mine' })
})

test('facts that cannot be asked for now are better than none', async (t) => {
  const { pool, provider, alice, write } = await knowing(t)
  provider.fails = true
  await write('alice', { token: 'of alice', note: 'mine' })
  assert.equal(await pool.facts.ready(alice), undefined)
  assert.deepEqual(alice.facts, { project: 'old' })
})
