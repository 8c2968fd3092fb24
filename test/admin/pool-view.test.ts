import assert from 'node:assert/strict'
import { test } from 'node:test'
import { poolView } from '../../src/admin/pool-view.js'
import type { PoolReport } from '../../src/admin/reports.js'
import { clauseOf } from '../../src/cli/status-screen.js'
import { startPool } from '../kit/pool.js'
import { accountReport, inHours, NOW, window5h, window7d } from '../kit/report.js'

process.env.TZ = 'UTC'

type Account = PoolReport['accounts'][number]

/** What the first line says of a pool of one provider. */
function saidOf(accounts: readonly Account[]): string {
  const { providers } = poolView({ accounts, forecast: { providers: {} } }, NOW)
  return providers.map((provider) => clauseOf(provider, NOW)).join('; ')
}

const cooldown = (
  kind: string,
  hours: number,
  resets?: number,
  model?: string,
): Account['cooldowns'][number] => ({
  kind,
  model,
  reason: 'usage_limit_reached: The usage limit has been reached',
  since: inHours(-1),
  until: inHours(hours),
  resetsAt: resets === undefined ? undefined : inHours(resets),
})

const exhausted = (id: string, resets: number | undefined, more: Partial<Account> = {}): Account =>
  accountReport(id, {
    state: 'exhausted',
    availableAt: inHours(0.25),
    cooldowns: [cooldown('exhausted', 0.25, resets)],
    resetsAt: resets === undefined ? undefined : inHours(resets),
    ...more,
  })
const cooling = (id: string, hours: number): Account =>
  accountReport(id, {
    state: 'cooling',
    availableAt: inHours(hours),
    cooldowns: [cooldown('cooling', hours)],
  })
const full = (id: string, more: Partial<Account> = {}): Account =>
  accountReport(id, { windows: [window5h(100, 2), window7d(40, 72)], resetsAt: inHours(2), ...more })
const loggedOut = (id: string): Account =>
  accountReport(id, { state: 'needs-login', reason: 'refresh_token_reused' })
const disabled = (id: string): Account => accountReport(id, { state: 'disabled' })

const situations: Record<string, [Account[], string]> = {
  'one ready account': [[accountReport('a')], 'codex: yes, on a'],
  'two ready accounts': [[accountReport('a'), accountReport('b')], 'codex: yes, on a and b'],
  'many ready accounts': [
    ['a', 'b', 'c', 'd', 'e'].map((id) => accountReport(id)),
    'codex: yes, on a, b and 3 more',
  ],
  'one of two is exhausted': [[exhausted('a', 3), accountReport('b')], 'codex: yes, on b'],
  'a new account whose quota is not known': [
    [accountReport('a', { windows: [], usedPercent: null })],
    'codex: yes, on a',
  ],
  'all exhausted: the first to come back': [
    [exhausted('a', 5), exhausted('b', 2.5), exhausted('c', 30)],
    'codex: no, at 14:30 (in 2 h 30 min) on b',
  ],
  'the 5-hour limit is hit, and the 7-day window is fuller': [
    [exhausted('a', 2, { windows: [window5h(57, 2), window7d(98, 150)] })],
    'codex: no, at 14:00 (in 2 h) on a',
  ],
  'the 7-day limit is hit, and the 5-hour window resets before it': [
    [exhausted('a', 50, { windows: [window5h(100, 2), window7d(100, 50)] })],
    'codex: no, at Tue 14:00 (in 2 d 2 h) on a',
  ],
  'the reset is more than a week away': [
    [exhausted('a', 20 * 24, { windows: [window7d(100, 20 * 24)] })],
    'codex: no, at 19 Dec 12:00 (in 20 d) on a',
  ],
  'exhausted, and no window tells an end': [
    [exhausted('a', undefined)],
    'codex: no, and it is not known when: a is asked again at 12:15 (in 15 min)',
  ],
  'a plan that has ended beside a limit': [
    [exhausted('a', undefined), exhausted('b', 6)],
    'codex: no, at 18:00 (in 6 h) on b',
  ],
  'cooling after a rate limit': [[cooling('a', 1 / 60)], 'codex: no, at 12:01 (in 1 min) on a'],
  'cooling for seconds': [[cooling('a', 20 / 3600)], 'codex: no, at 12:00 (in 20 s) on a'],
  'one cooling, one exhausted': [
    [exhausted('a', 4), cooling('b', 0.1)],
    'codex: no, at 12:06 (in 6 min) on b',
  ],
  'one needs a login, one is ready': [[loggedOut('a'), accountReport('b')], 'codex: yes, on b'],
  'all need a login': [[loggedOut('a')], 'codex: no, a needs a new login: codex-pool login codex'],
  'several need a login': [
    [loggedOut('a'), loggedOut('b')],
    'codex: no, a and b need new logins: codex-pool login codex',
  ],
  'one needs a login, one is disabled': [
    [loggedOut('a'), disabled('b')],
    'codex: no, a needs a new login: codex-pool login codex',
  ],
  'all keys are refused': [
    [accountReport('key', { state: 'needs-login', refreshable: false })],
    'codex: no, the credential of key is refused: put a good one into its file',
  ],
  'all are disabled': [[disabled('a'), disabled('b')], 'codex: no, disabled: codex-pool enable a'],
  'the rest is disabled': [[disabled('a'), exhausted('b', 1)], 'codex: no, at 13:00 (in 1 h) on b'],
  'reported as full, and not refused yet': [
    [full('a')],
    'codex: perhaps, on a: reported as used up until 14:00 (in 2 h)',
  ],
  'one reported as full, one with room': [[full('a'), accountReport('b')], 'codex: yes, on b'],
  'a refusal whose cooldown is over, with a reset to come': [
    [accountReport('a', { windows: [window5h(60, 3)], resetsAt: inHours(3) })],
    'codex: perhaps, on a: reported as used up until 15:00 (in 3 h)',
  ],
  'on credits': [
    [full('a', { onCredits: true, credits: { hasCredits: true, unlimited: false } })],
    'codex: yes, on a, on credits',
  ],
  'quota goes before credits': [
    [full('a', { onCredits: true, credits: { hasCredits: true, unlimited: false } }), accountReport('b')],
    'codex: yes, on b',
  ],
  'a lower order goes first': [
    [accountReport('a', { order: 2 }), accountReport('b', { order: 1 })],
    'codex: yes, on b',
  ],
  'the lower order is exhausted': [
    [accountReport('a', { order: 2 }), exhausted('b', 1, { order: 1 })],
    'codex: yes, on a',
  ],
  'an account in its reserve comes after the others': [
    [accountReport('a', { windows: [window7d(85, 40)], reserve: 20 }), accountReport('b')],
    'codex: yes, on b',
  ],
  'a key for other requests only does not count': [
    [exhausted('a', 2), accountReport('key', { order: 'when-needed' })],
    'codex: no, at 14:00 (in 2 h) on a',
  ],
  'a key alone serves': [[accountReport('key', { order: 'when-needed', windows: [] })], 'codex: yes, on key'],
  'as many requests run as may': [
    [accountReport('a', { concurrency: 2, inFlight: 2 })],
    'codex: yes, once a has room',
  ],
  'one model is used up on every account': [
    [
      accountReport('a', { cooldowns: [cooldown('exhausted', 0.25, 5, 'gpt-5.3-spark')] }),
      accountReport('b', { cooldowns: [cooldown('exhausted', 0.25, 3, 'gpt-5.3-spark')] }),
    ],
    'codex: yes, on a and b, not for gpt-5.3-spark before 15:00 (in 3 h)',
  ],
  'one model is used up on one account': [
    [
      accountReport('a', { cooldowns: [cooldown('exhausted', 0.25, 5, 'gpt-5.3-spark')] }),
      accountReport('b'),
    ],
    'codex: yes, on a and b',
  ],
  'a monthly limit': [
    [exhausted('a', 24 * 12, { windows: [{ ...window7d(100, 24 * 12), lengthMinutes: 30 * 24 * 60 }] })],
    'codex: no, at 11 Dec 12:00 (in 12 d) on a',
  ],
  'one provider works, the other does not': [
    [accountReport('a'), exhausted('g', 1, { provider: 'gemini' })],
    'codex: yes, on a; gemini: no, at 13:00 (in 1 h) on g',
  ],
}

for (const [situation, [accounts, expected]] of Object.entries(situations))
  test(`the first line of status: ${situation}`, () => assert.equal(saidOf(accounts), expected))

test('accounts are sorted by what needs a hand', () => {
  const accounts = [disabled('z'), accountReport('b'), exhausted('late', 9), exhausted('soon', 1)]
  const report = [
    ...accounts,
    accountReport('a'),
    loggedOut('gone'),
    cooling('c', 1),
    exhausted('paid', undefined),
  ]
  const view = poolView({ accounts: report, forecast: { providers: {} } }, NOW)
  assert.deepEqual(
    view.accounts.map(({ id }) => id),
    ['gone', 'paid', 'c', 'soon', 'late', 'a', 'b', 'z'],
  )
})

test('status, /admin/accounts and /metrics tell the same numbers', async (t) => {
  const pool = await startPool(t, { codex: [{ id: 'alice' }, { id: 'bob' }, { id: 'carol' }] })
  for (const session of ['s1', 's2', 's3']) await pool.ask(session).expect(200)
  pool.sim.account('bob').exhaust()
  for (const session of ['s1', 's2', 's3']) await pool.ask(session).expect(200)
  pool.gateway.setDisabled('carol', true)
  const { body } = await pool.request.get('/admin/accounts').expect(200)
  const report = body as PoolReport
  const view = poolView(report, Date.now())
  for (const { id, state, windows } of view.accounts) {
    const told = report.accounts.find((account) => account.id === id)!
    assert.equal(state, told.state)
    assert.deepEqual(
      windows.map(({ usedPercent, resetsAt }) => [usedPercent, resetsAt]),
      told.windows.map(({ usedPercent, resetsAt }) => [usedPercent, resetsAt]),
    )
  }
  const { text } = await pool.request.get('/metrics').expect(200)
  for (const state of ['ready', 'exhausted', 'disabled']) {
    const [, count] =
      new RegExp(`codexpool_accounts{provider="codex",state="${state}"} (\\d+)`).exec(text) ?? []
    assert.equal(view.accounts.filter((account) => account.state === state).length, Number(count ?? 0), state)
  }
  assert.deepEqual(view.providers[0]?.on, ['alice'])
})
