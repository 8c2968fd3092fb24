import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import type { Credential, Inspection, Quota } from '../../config/provider.js'
import { available, choose, heldBack } from '../../src/accounts/selection.js'
import type { Candidate } from '../../config/account.js'
import { barePool } from '../kit/bare-pool.js'

const full: Quota = { windows: [{ name: 'primary', usedPercent: 100 }] }
const credits = { hasCredits: true, unlimited: false }
const onCredits: Quota = { ...full, credits }

/** The accounts that are offered, one after the other as each is tried. */
async function order(
  t: TestContext,
  accounts: Record<string, { quota?: Quota; inspection?: Inspection }>,
  model?: string,
): Promise<string[][]> {
  const ids = Object.keys(accounts)
  const inspect = ({ token }: Credential) => accounts[String(token).slice('of '.length)]!.inspection ?? {}
  const { pool, clock } = await barePool(t, ids, { inspect })
  for (const account of pool.accounts.all()) {
    const { quota } = accounts[account.id]!
    if (quota) account.observe(quota, 'poll', clock.now)
  }
  const tried = new Set<(typeof all)[number]>()
  const all = pool.accounts.all()
  const turns: string[][] = []
  for (;;) {
    const offered = available(all, tried, model, clock.now)
    if (offered.length === 0) return turns
    turns.push(offered.map(({ id }) => id))
    for (const account of offered) tried.add(account)
  }
}

test('plan quota comes first, then full windows, then credits, then accounts that are paid per token', async (t) => {
  const turns = await order(t, {
    api: { inspection: { order: 2 } },
    bob: { quota: onCredits },
    carol: { quota: full },
    dave: {},
    erin: { quota: { windows: [{ name: 'primary', usedPercent: 99 }], credits } },
  })
  assert.deepEqual(turns, [['dave', 'erin'], ['carol'], ['bob'], ['api']])
})

test('credits: freely treats them as quota, never does not use them', async (t) => {
  const turns = await order(t, {
    alice: { quota: { ...full, credits: { ...credits, use: 'freely' } } },
    bob: { quota: { ...full, credits: { ...credits, use: 'never' } } },
    carol: {},
  })
  assert.deepEqual(turns, [['alice', 'carol']])
})

test('a full window of one model holds the account back for that model alone', async (t) => {
  const pro = { windows: [{ name: 'pro', model: 'pro', usedPercent: 100 }] }
  assert.deepEqual(await order(t, { alice: { quota: pro }, bob: {} }, 'pro'), [['bob'], ['alice']])
  assert.deepEqual(await order(t, { alice: { quota: pro }, bob: {} }, 'flash'), [['alice', 'bob']])
})

test('an account that may not use its credits is exhausted until its window resets', async (t) => {
  const { account, clock } = await barePool(t, ['alice'])
  const alice = account('alice')
  const resetsAt = clock.now + 1000
  alice.observe(
    { windows: [{ name: 'primary', usedPercent: 100, resetsAt }], credits: { ...credits, use: 'never' } },
    'poll',
    clock.now,
  )
  assert.deepEqual([alice.state(clock.now), alice.resetsAt(clock.now)], ['exhausted', resetsAt])
  assert.equal(alice.state(resetsAt), 'ready')
})

test('explain says why an account is held back', async (t) => {
  const { account, clock } = await barePool(t, ['alice'])
  const alice = account('alice')
  alice.observe(full, 'poll', clock.now)
  assert.equal(heldBack(alice, undefined, clock.now), 'its quota is reported as used up')
  alice.observe(onCredits, 'poll', clock.now)
  assert.equal(heldBack(alice, undefined, clock.now), 'lives on credits beyond its plan')
})

test('a strategy may sort its list, and return an account of it or a copy', async (t) => {
  const { pool, clock } = await barePool(t, ['alice', 'bob', 'carol'])
  const all = pool.accounts.of('it')
  const context = { conversation: undefined, model: undefined, route: '/', attempt: 1, now: clock.now }
  const backwards = (accounts: readonly Candidate[]) =>
    (accounts as Candidate[]).sort((a, b) => (a.id < b.id ? 1 : -1))[0]
  const copied = (accounts: readonly Candidate[]) => ({ ...backwards(accounts)! })
  for (const pick of [backwards, copied]) {
    const candidates = all.map((account) => account.candidate(undefined, clock.now))
    assert.equal(choose(all, candidates, { name: 'backwards', pick }, context).id, 'carol')
  }
})

test('a strategy sees every change of an account', async (t) => {
  const { account, clock } = await barePool(t, ['alice'])
  const alice = account('alice')
  const seen = () => alice.candidate('pro', clock.now)
  assert.equal(seen(), seen(), 'without a change nothing is copied')
  const release = alice.lease('pro', clock.now)
  assert.deepEqual([seen().inFlight, seen().lastUsedAt], [1, clock.now])
  release()
  assert.equal(seen().inFlight, 0)
  alice.lease('pro', ++clock.now)()
  assert.equal(seen().lastUsedAt, clock.now)
  const resetsAt = clock.now + 1000
  const pro = { name: 'pro', model: 'pro', usedPercent: 70, resetsAt }
  alice.observe({ windows: [{ name: 'primary', usedPercent: 30 }, pro] }, 'poll', clock.now)
  assert.equal(seen().usedPercent, 70)
  alice.observe({ windows: [], plan: 'plus' }, 'headers', clock.now)
  assert.equal(seen().plan, 'plus')
  alice.declare({ ...alice.declared, order: 3 })
  assert.equal(seen().order, 3)
  alice.declare({ ...alice.declared, group: 'night' })
  assert.equal(seen().group, 'night')
  assert.equal(alice.candidate('flash', clock.now).usedPercent, 30)
  clock.now = resetsAt
  assert.equal(seen().usedPercent, 30)
})

test('accounts of any order are compared, also those that serve only what no other can', async (t) => {
  const needed = { inspection: { order: 'when-needed' } } as const
  const turns = await order(t, {
    alice: { ...needed, quota: full },
    bob: needed,
    carol: { inspection: { order: 2.5 }, quota: full },
    dave: needed,
  })
  assert.deepEqual(turns, [['carol'], ['bob', 'dave'], ['alice']])
})
