import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { CredentialRejected, type Provider } from '../../config/provider.js'
import type { Account } from '../../src/accounts/account.js'
import { barePool } from '../kit/bare-pool.js'

const SECOND = 1000
const MINUTE = 60 * SECOND
const verdict = { kind: 'unauthorized', reason: 'token_expired' } as const

/** A provider whose refresh gives a new token each time. */
function refreshing(): Partial<Provider> & { refreshes: number } {
  const provider = {
    refreshes: 0,
    inspect: () => ({ refreshable: true }),
    refresh: async () => ({ credential: { token: `number ${++provider.refreshes}` } }),
  }
  return provider
}

const startPool = async (t: TestContext, ids: string[], provider?: Partial<Provider>) => {
  const it = await barePool(t, ids, provider)
  const refuse = async (id: string) => {
    const account = it.account(id)
    return (await it.pool.applyVerdict(account, verdict, account.credential))?.kind
  }
  return { ...it, refuse, state: (id: string) => it.account(id).state(it.clock.now) }
}

const coolFor = ({ clock }: { clock: { now: number } }, account: Account) =>
  ((account.availableAt(clock.now) ?? clock.now) - clock.now) / SECOND

test('a refused token is refreshed once; a fresh one that is refused cools the account down', async (t) => {
  const provider = refreshing()
  const it = await startPool(t, ['alice', 'bob'], provider)
  assert.equal(await it.refuse('alice'), 'fresh')
  assert.equal(await it.refuse('alice'), 'refused')
  assert.equal(it.state('alice'), 'cooling')
  assert.equal(provider.refreshes, 1)
})

test('refusals of a fresh token double the cooldown, up to 15 minutes, and refresh once in a quarter of an hour', async (t) => {
  const provider = refreshing()
  const it = await startPool(t, ['alice', 'bob'], provider)
  const seen: number[] = []
  while (seen.length < 12) {
    if ((await it.refuse('alice')) === 'fresh') continue
    const seconds = coolFor(it, it.account('alice'))
    seen.push(seconds)
    it.clock.now += seconds * SECOND
  }
  assert.deepEqual(seen, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900])
  assert.ok(provider.refreshes <= 4, `${provider.refreshes} refreshes in 47 minutes`)
  assert.equal(it.account('alice').loginNeeded, undefined)
})

test('after the cooldown one request at a time probes the account, and a success ends it', async (t) => {
  const it = await startPool(t, ['alice', 'bob'], refreshing())
  await it.refuse('alice')
  await it.refuse('alice')
  const alice = it.account('alice')
  it.clock.now += SECOND
  alice.lease(undefined, it.clock.now)
  assert.equal(alice.unavailable(undefined, it.clock.now), 'probing')
  it.pool.succeeded(alice, undefined, alice.credential)
  assert.deepEqual(alice.cooldowns(), [])
})

test('when most accounts are refused at once no account is blamed', async (t) => {
  const it = await startPool(t, ['alice', 'bob', 'carol'], refreshing())
  for (const id of ['alice', 'bob', 'carol']) assert.equal(await it.refuse(id), 'fresh')
  assert.equal(await it.refuse('alice'), 'refused')
  assert.equal(await it.refuse('bob'), 'unavailable')
  assert.deepEqual(['alice', 'bob', 'carol'].map(it.state), ['ready', 'ready', 'ready'])
})

test('refusals a quarter of an hour apart are of the accounts themselves', async (t) => {
  const it = await startPool(t, ['alice', 'bob'], refreshing())
  for (const id of ['alice', 'bob']) {
    await it.refuse(id)
    assert.equal(await it.refuse(id), 'refused')
    assert.equal(it.state(id), 'cooling')
    it.clock.now += 15 * MINUTE
  }
})

test('a credential that cannot be refreshed needs a login once it has been refused for a quarter of an hour', async (t) => {
  const it = await startPool(t, ['alice', 'bob'])
  assert.equal(await it.refuse('alice'), 'refused')
  it.clock.now += 14 * MINUTE
  assert.equal(await it.refuse('alice'), 'refused')
  it.clock.now += MINUTE
  assert.equal(await it.refuse('alice'), 'needs-login')
  assert.match(it.account('alice').loginNeeded!.reason, /was refused/)
})

test('a success in between begins the quarter of an hour anew', async (t) => {
  const it = await startPool(t, ['alice', 'bob'])
  await it.refuse('alice')
  it.clock.now += 14 * MINUTE
  it.pool.succeeded(it.account('alice'), undefined, it.account('alice').credential)
  it.clock.now += MINUTE
  assert.equal(await it.refuse('alice'), 'refused')
})

test('a token that has ended by its own expiry and cannot be refreshed needs a login at once', async (t) => {
  const it = await startPool(t, ['alice', 'bob'], {
    inspect: () => ({ expiresAt: Date.parse('2026-11-28T11:00:00Z') }),
  })
  assert.equal(await it.refuse('alice'), 'needs-login')
})

test('the issuer’s own word about the refresh token needs a login at once', async (t) => {
  const it = await startPool(t, ['alice', 'bob'], {
    ...refreshing(),
    refresh: () => Promise.reject(new CredentialRejected('invalid_grant')),
  })
  assert.equal(await it.refuse('alice'), 'needs-login')
})

const late = {
  unauthorized: verdict,
  'needs-login': { kind: 'needs-login', reason: 'over' },
  exhausted: { kind: 'exhausted', reason: 'limit' },
  cooling: { kind: 'cooling', reason: 'limit' },
  refused: { kind: 'refused', reason: 'model', model: 'gpt' },
} as const
for (const [kind, verdict] of Object.entries(late))
  test(`what is said late of a login that was replaced changes nothing: ${kind}`, async (t) => {
    const it = await startPool(t, ['alice'], refreshing())
    const { credential } = it.account('alice')
    await it.write('alice', { token: 'another' })
    await it.pool.applyVerdict(it.account('alice'), verdict, credential)
    const alice = it.account('alice')
    assert.deepEqual(
      [alice.credential, alice.cooldowns(), alice.loginNeeded],
      [{ token: 'another' }, [], undefined],
    )
  })

test('a late poll, a late quota and a late success of a login that was replaced change nothing', async (t) => {
  const full = { windows: [{ name: 'primary', usedPercent: 100 }] }
  let answer = (_quota: typeof full) => {}
  const it = await startPool(t, ['alice'], { pollQuota: () => new Promise((resolve) => (answer = resolve)) })
  const alice = it.account('alice')
  const { credential } = alice
  const poll = it.pool.pollQuota(alice)
  await new Promise(setImmediate)
  await it.write('alice', { token: 'another' })
  answer(full)
  await poll
  it.pool.observe(alice, full, 'headers', credential)
  assert.deepEqual(alice.windows.current(it.clock.now), [])
  await it.pool.applyVerdict(alice, late.exhausted, alice.credential)
  it.pool.succeeded(alice, undefined, credential)
  assert.equal(it.state('alice'), 'exhausted')
})

test('a limit that is told of the token before a refresh still counts: it is the same login', async (t) => {
  const it = await startPool(t, ['alice', 'bob'], refreshing())
  const alice = it.account('alice')
  const { credential } = alice
  await it.refuse('alice')
  await it.pool.applyVerdict(alice, late.exhausted, credential)
  await it.pool.applyVerdict(alice, late['needs-login'], credential)
  assert.equal(it.state('alice'), 'exhausted')
})
