import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Candidate, CandidateWindow, Strategy, StrategyContext } from '../../config/account.js'
import { leastUsed, pressure } from '../../src/accounts/strategies.js'
import { barePool } from '../kit/bare-pool.js'
import { folder, load } from '../kit/config-folder.js'
import { startPool } from '../kit/pool.js'
import { root } from '../kit/readme-blocks.js'

const now = Date.parse('2026-11-28T12:00:00Z')
const HOUR = 3_600_000
const DAY_MINUTES = 24 * 60

const context: StrategyContext = { conversation: undefined, model: 'm', route: '/v1', attempt: 1, now }

/** A window of so many days; `leftDays` until its reset. */
function days(length: number, usedPercent?: number, leftDays?: number): CandidateWindow {
  const resetsAt = leftDays === undefined ? undefined : now + leftDays * 24 * HOUR
  return seen({ name: `${length} d`, lengthMinutes: length * DAY_MINUTES, usedPercent, resetsAt })
}

const hours = (usedPercent: number): CandidateWindow =>
  seen({ name: 'primary', lengthMinutes: 300, usedPercent, resetsAt: now + 2 * HOUR })

const seen = (window: Omit<CandidateWindow, 'seenAt' | 'since'>): CandidateWindow => ({
  seenAt: now,
  since: { requests: 0, tokens: 0 },
  ...window,
})

/** Accounts by id, each with its windows, and with requests in flight and the minute of its last use if they matter. */
type Given = Record<string, { windows?: CandidateWindow[]; inFlight?: number; usedAt?: number }>

function candidates(given: Given): Candidate[] {
  return Object.entries(given).map(([id, { windows = [], inFlight = 0, usedAt }]) => {
    const known = windows.flatMap(({ usedPercent }) => usedPercent ?? [])
    const usedPercent = known.length > 0 ? Math.max(...known) : undefined
    const lastUsedAt = usedAt === undefined ? undefined : now - 24 * HOUR + usedAt
    return {
      id,
      provider: 'it',
      plan: undefined,
      group: undefined,
      order: 1,
      inFlight,
      usedPercent,
      windows,
      lastUsedAt,
    }
  })
}

const rows: [promise: string, given: Given, chosen: string][] = [
  [
    'the most quota left for the time left is used first',
    { a: { windows: [days(7, 50, 6)] }, b: { windows: [days(7, 50, 2)] }, c: { windows: [days(7, 90, 1)] } },
    'b',
  ],
  [
    'accounts within a factor of 1.5 of the highest are equal: the fewest requests in flight decide',
    { a: { windows: [days(7, 40, 3.5)], inFlight: 1 }, b: { windows: [days(7, 60, 3.5)] } },
    'b',
  ],
  [
    'beyond that factor requests in flight decide nothing',
    { a: { windows: [days(7, 40, 3.5)], inFlight: 9 }, b: { windows: [days(7, 61, 3.5)] } },
    'a',
  ],
  [
    'among equals with as many in flight the least recently used',
    { a: { windows: [days(7, 10, 3)], usedAt: 2 }, b: { windows: [days(7, 10, 3)], usedAt: 1 } },
    'b',
  ],
  [
    'the longest window counts, not the one that resets first',
    { a: { windows: [hours(0), days(7, 80, 5)] }, b: { windows: [hours(60), days(7, 20, 5)] } },
    'b',
  ],
  [
    'a 5-hour window over 90 % puts its account behind the others',
    { a: { windows: [hours(91), days(7, 0, 1)] }, b: { windows: [hours(90), days(7, 95, 7)] } },
    'b',
  ],
  [
    'if all are nearly full, the longest window decides',
    { a: { windows: [hours(99), days(7, 60, 5)] }, b: { windows: [hours(91), days(7, 90, 5)] } },
    'a',
  ],
  [
    'a month is compared with a week by shares, not by days',
    { a: { windows: [days(30, 50, 20)] }, b: { windows: [days(7, 20, 4)] } },
    'b',
  ],
  [
    'an account whose window is unknown counts as an equal',
    {
      a: { windows: [days(7, 0, 1)], usedAt: 2 },
      b: { windows: [], usedAt: 1 },
      c: { windows: [days(7, 90, 7)] },
    },
    'b',
  ],
  [
    'a 5-hour window does not stand in for a week that is over',
    { a: { windows: [hours(80), days(7)], usedAt: 2 }, b: { windows: [days(7, 10, 2)], usedAt: 1 } },
    'b',
  ],
  [
    'a window that is over when it is looked at is unknown',
    { a: { windows: [days(7, 50, 0)], usedAt: 1 }, b: { windows: [days(7, 50, 1)], usedAt: 2 } },
    'a',
  ],
  [
    'of windows of one length, such as a model’s own, the fullest counts',
    { a: { windows: [days(7, 10, 3), days(7, 90, 3)] }, b: { windows: [days(7, 50, 3)] } },
    'b',
  ],
  [
    'full windows alone are equal',
    { a: { windows: [days(7, 100, 1)], usedAt: 2 }, b: { windows: [days(7, 100, 6)] } },
    'b',
  ],
]

for (const [promise, given, chosen] of rows)
  test(`pressure: ${promise}`, () => {
    assert.equal(pressure()(candidates(given), context)?.id, chosen)
    assert.equal(
      pressure()(candidates(given).reverse(), context)?.id,
      chosen,
      'the order of the list decides nothing',
    )
  })

test('pressure chooses as least-used while no window is known', () => {
  const unknown: Given[] = [
    { a: { inFlight: 1 }, b: { usedAt: 5 }, c: { usedAt: 3 } },
    {
      a: { windows: [seen({ name: 'w', usedPercent: 40 })] },
      b: { windows: [seen({ name: 'w', usedPercent: 10 })] },
    },
  ]
  for (const given of unknown)
    assert.equal(pressure()(candidates(given), context)?.id, leastUsed()(candidates(given), context)?.id)
})

/** The rule in three lines, for a user who wants to change it. */
function threeLines(): string {
  const manual = readFileSync(join(root, 'docs/strategies.md'), 'utf8')
  return /```js\n(const longest .*?)```/s.exec(manual)?.[1] ?? assert.fail('the manual shows no such lines')
}

test('three lines of a config file make the same choices as pressure', async (t) => {
  const file = `${threeLines()}\nexport default { strategies: { mine } }`
  const { strategies } = await load(folder(t, { 'codex-pool.config.js': file }))
  const mine = strategies['mine'] as Strategy
  const random = chance(7)
  const builtin = pressure()
  for (let round = 0; round < 300; round++) {
    const given: Given = {}
    for (let account = 0; account < 1 + random(6); account++)
      given[`account-${account}`] = {
        windows: [hours(random(90)), days(random(2) ? 7 : 30, random(101), 0.1 + random(60) / 10)],
        inFlight: random(3),
        usedAt: account + 10 * random(50),
      }
    const offered = candidates(given)
    assert.equal(mine(offered, context)?.id, builtin(offered, context)?.id, JSON.stringify(given))
  }
})

/** Whole numbers below `most`, the same in every run. */
function chance(seed: number): (most: number) => number {
  return (most) => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fff_ffff
    return Math.floor((seed / 0x8000_0000) * most)
  }
}

test('new conversations are placed by pressure', async (t) => {
  const week = 7 * DAY_MINUTES
  const pool = await startPool(t, {
    codex: [
      {
        id: 'early',
        secondary: { usedPercent: 30, windowMinutes: week, resetsAt: Date.now() + 6.9 * 24 * HOUR },
      },
      { id: 'late', secondary: { usedPercent: 30, windowMinutes: week, resetsAt: Date.now() + 24 * HOUR } },
    ],
  })
  for (const session of ['s1', 's2']) await pool.ask(session).expect(200)
  assert.deepEqual(pool.asked().sort(), ['early', 'late'], 'each tells its windows')
  for (const session of ['s3', 's4', 's5']) assert.equal(await pool.servedBy(session), 'late')
  assert.deepEqual(await pool.servedBy('s1'), pool.asked()[0], 'and a conversation stays')
})

test('a strategy sees what an account has served since its windows were reported', async (t) => {
  const { account, clock } = await barePool(t, ['alice'])
  const alice = account('alice')
  const reset = clock.now + HOUR
  const windows = [
    { name: 'week', lengthMinutes: 7 * DAY_MINUTES, usedPercent: 40, resetsAt: reset },
    { name: 'pro', model: 'pro', lengthMinutes: DAY_MINUTES, usedPercent: 10, resetsAt: reset + HOUR },
  ]
  alice.observe({ windows }, 'poll', clock.now)
  alice.count('pro', { totalTokens: 500 })
  alice.count('flash', { inputTokens: 20, outputTokens: 10 })
  alice.count('flash', undefined)
  const since = (model: string) =>
    alice.candidate(model, clock.now).windows.map(({ name, since }) => [name, since.requests, since.tokens])
  assert.deepEqual(since('flash'), [['week', 3, 530]])
  assert.deepEqual(since('pro'), [
    ['week', 3, 530],
    ['pro', 1, 500],
  ])
  assert.equal(alice.candidate('pro', clock.now).windows[0]?.seenAt, clock.now)

  clock.now = reset
  const [week, pro] = alice.candidate('pro', clock.now).windows
  assert.deepEqual(
    [week?.usedPercent, week?.resetsAt, week?.lengthMinutes],
    [undefined, undefined, 7 * DAY_MINUTES],
  )
  assert.equal(pro?.usedPercent, 10)
  alice.observe({ windows: [windows[0]!] }, 'headers', clock.now)
  assert.deepEqual(since('flash'), [['week', 0, 0]], 'a new report begins anew')
})

test('an answer counts for the account that gave it', async (t) => {
  const seenSince: unknown[] = []
  const look: Strategy = (accounts) => {
    seenSince.push(accounts[0]?.windows[0]?.since)
    return accounts[0]
  }
  const routes = [{ path: '/v1', provider: 'codex', strategy: 'look' }]
  const pool = await startPool(t, { codex: [{ id: 'alice' }], config: { strategies: { look }, routes } })
  for (let turn = 0; turn < 2; turn++) await pool.ask('s1').expect(200)
  await pool.ask('s1').expect(200)
  const [first, second] = seenSince.map((since) => JSON.parse(JSON.stringify(since ?? null)) as unknown)
  assert.equal(first, null)
  // Each answer's head tells the windows, before its own tokens are counted.
  const { requests, tokens } = second as { requests: number; tokens: number }
  assert.equal(requests, 1)
  assert.ok(tokens > 0)
})
