import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { AccountStore } from '../../src/accounts/account-store.js'
import { faults } from '../../src/simulator/index.js'
import { openStateStore } from '../../src/state/store.js'
import { startPool } from '../kit/pool.js'

const jwt = (claims: object): string =>
  ['{"alg":"none"}', JSON.stringify(claims), 'x']
    .map((part) => Buffer.from(part).toString('base64url'))
    .join('.')

const now = Date.now()
/** Times that no `Date` can hold, or that are in another unit. */
const impossible = {
  microseconds: now * 1e3,
  nanoseconds: now * 1e6,
  'a huge number': 1e300,
  'a negative one': -1,
}

for (const [name, time] of Object.entries(impossible))
  test(`a credential file whose token ends at ${name} is served, shown and survives a restart`, async (t) => {
    const pool = await startPool(t, { codex: [{ id: 'alice' }], gemini: [{ id: 'gina' }], onDisk: true })
    await pool.restart(async () => {
      const gemini = JSON.parse(await readFile(pool.file('gemini_gina'), 'utf8'))
      await writeFile(pool.file('gemini_gina'), JSON.stringify({ ...gemini, expiry_date: time }))
      const codex = JSON.parse(await readFile(pool.file('alice'), 'utf8'))
      codex.tokens.id_token = jwt({ exp: time / 1000 })
      await writeFile(pool.file('alice'), JSON.stringify(codex))
    })
    const accounts = () => pool.request.get('/admin/accounts').expect(200)
    assert.equal((await accounts()).body.accounts.length, 2)
    await pool.request.post('/admin/reload').expect(200)
    await pool.ask('s1').expect(200)
    await pool.restart()
    await accounts()
  })

for (const [name, time] of Object.entries(impossible))
  test(`a reset at ${name} neither stops the gateway nor its next start`, async (t) => {
    const pool = await startPool(t, { codex: [{ id: 'alice' }, { id: 'bob' }], onDisk: true })
    pool.sim.fail({ account: 'alice', with: faults.usageLimit({ resetsAt: time }) })
    for (const session of ['s1', 's2']) await pool.ask(session).expect(200)
    await pool.request.get('/admin/accounts').expect(200)
    await pool.restart()
    await pool.request.get('/admin/accounts').expect(200)
    await pool.ask('s3').expect(200)
  })

test('what a provider of one’s own tells of quota, tokens and times is bounded where it is read', async (t) => {
  const far = 1e300
  const pool = await startPool(t, {
    codexApiKeys: [{ id: 'openai' }],
    onDisk: true,
    config: {
      providers: {
        mine: {
          type: 'custom',
          upstream: 'http://127.0.0.1:1',
          authorize: ({ credential }) => ({ authorization: `Bearer ${credential.key}` }),
          inspect: () => ({ expiresAt: far }),
          quota: () => ({ windows: [{ name: 'w', usedPercent: -far, resetsAt: far, lengthMinutes: far }] }),
          usage: () => ({ inputTokens: Infinity, outputTokens: Number.NaN, totalTokens: -5 }),
          classify: ({ status }) =>
            status === 200 ? { kind: 'pass' } : { kind: 'exhausted', reason: 'full', resetsAt: far },
        },
      },
      routes: [{ path: '/mine', provider: 'mine' }],
    },
    prepare: async ({ sim, poolDir }) => {
      const { OPENAI_API_KEY: key } = sim.codex.apiKeys[0]!.authJson()
      await writeFile(join(poolDir, 'mine_a.json'), JSON.stringify({ key }), { mode: 0o600 })
    },
  })
  const mine = pool.gateway.accounts().find(({ id }) => id === 'mine_a')
  assert.ok(mine)
  assert.equal(mine.tokenExpiresAt, undefined)
  await pool.request.post('/mine/responses').send({ model: 'gpt-5.5', input: [] })
  await pool.request.get('/metrics').expect(200)
  await pool.request.get('/admin/accounts').expect(200)
})

test('a saved state that cannot be is left out and named, and what is right of it stays', async () => {
  const store = await openStateStore(false)
  const cooldown = { kind: 'exhausted', reason: 'r', since: now, until: now + 1000, strikes: 1 }
  store.put('account', 'codex/alice', {
    cooldowns: [
      ['', cooldown],
      ['m', { ...cooldown, until: now * 1e6 }],
      'x',
      [1],
      ['n', { ...cooldown, kind: 5 }],
    ],
    windows: {
      windows: [
        { name: 'primary', usedPercent: 5, resetsAt: now * 1e6, source: 'poll', seenAt: now },
        { name: 5 },
        null,
      ],
    },
    facts: [],
    disabled: true,
    lastUsedAt: 'yesterday',
    digest: 5,
  })
  store.put('account', 'codex/bob', {
    cooldowns: [['', cooldown]],
    windows: { windows: [] },
    facts: {},
    disabled: false,
  })
  store.put('pin', 'p', { account: 'codex/alice', at: 'never' })
  const said: string[] = []
  const accounts = new AccountStore(store, (message) => said.push(message))
  const alice = accounts.savedAccount('codex/alice')!
  assert.deepEqual(
    alice.cooldowns.map(([scope]) => scope),
    [''],
  )
  assert.deepEqual(
    alice.windows.windows.map(({ name, resetsAt }) => [name, resetsAt]),
    [['primary', undefined]],
  )
  assert.deepEqual(
    [alice.facts, alice.disabled, alice.lastUsedAt, alice.digest],
    [{}, true, undefined, undefined],
  )
  assert.deepEqual(said, [
    'of the saved state of codex/alice, values that cannot be were left out: cooldowns, windows, facts, lastUsedAt, digest',
  ])
  assert.equal(accounts.openPins('pin', { max: 10, idleMs: 1000 }, Date.now).get('p'), undefined)
})
