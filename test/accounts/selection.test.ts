import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import type { Credential, Inspection, Quota } from '../../config/provider.js'
import { available, heldBack } from '../../src/accounts/selection.js'
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
