import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { PoolAccount, Provider, QuotaWindow } from '../../config/provider.js'
import { codex } from '../../providers/codex.js'
import { jwt, poolAccount, request, type RequestParts } from '../kit/provider.js'

const settings = {
  apiKeys: 'never' as const,
  credits: 'last' as const,
  adapt: true,
  allow: ['files/'],
  codexHome: false as const,
  responsesBase: 'https://chat.test/backend-api/codex',
  whamBase: 'https://chat.test/backend-api',
  refreshBase: 'https://auth.test',
  openaiBase: 'https://api.test/v1',
}
const provider = codex(settings) as Required<Provider>
const now = 1_900_000_000_000
const ask = (parts: RequestParts, accounts: PoolAccount[] = []) =>
  provider.answer(request({ method: 'GET', ...parts }), { accounts, now })
const codeOf = (answer: ReturnType<typeof ask>) =>
  (answer?.body as { error?: { code?: string } } | undefined)?.error?.code

test('Codex hears its own account id from accounts/check, and no other', () => {
  const headers = { 'chatgpt-account-id': 'acct-me' }
  const entry = { workspace_backend_origin: 'https://chatgpt.com', account_routing_override: 'NO_CONSTRAINT' }
  assert.deepEqual(ask({ url: '/backend-api/wham/accounts/check', headers })?.body, {
    accounts: [{ id: 'acct-me', ...entry }],
  })
  assert.deepEqual(ask({ url: '/backend-api/wham/accounts/check' })?.body, { accounts: [] })
})

test('a token refresh that is pointed here leaves the caller its own login', () => {
  assert.deepEqual(ask({ method: 'POST', url: '/oauth/token' })?.body, {})
})

test('analytics are taken and go nowhere', () => {
  assert.equal(ask({ method: 'POST', url: '/backend-api/codex/analytics-events/events' })?.status, 204)
})

test('what would be a WebSocket is told to use HTTP, and a probe that POST is the way', () => {
  for (const url of ['/v1/responses', '/responses', '/backend-api/codex/responses'])
    assert.equal(ask({ url })?.status, 426, url)
  assert.deepEqual(ask({ method: 'HEAD', url: '/v1/responses' }), { status: 405, headers: { allow: 'POST' } })
})

describe('under /backend-api', () => {
  for (const url of [
    '/backend-api/codex/models',
    '/backend-api/wham/tasks',
    '/backend-api/ps/plugins/installed',
    '/backend-api/files/x',
  ]) {
    test(`${url} passes`, () => assert.equal(ask({ url }), undefined))
  }
  for (const url of [
    '/backend-api',
    '/backend-api/conversation',
    '/backend-api/whamx',
    '/backend-api/me',
    '/backend-api/ps%2fmcp',
  ]) {
    test(`${url} is refused in plain words`, () => {
      const answer = ask({ url })
      assert.equal(answer?.status, 403)
      assert.equal(codeOf(answer), 'path_not_allowed')
    })
  }
})

for (const url of [
  '/backend-api/wham/config/bundle',
  '/backend-api/wham/config/requirements',
  '/api/codex/config/bundle',
])
  test(`the policy of a workspace is empty, whichever account could tell one: ${url}`, () =>
    assert.deepEqual(ask({ url }), { status: 200, body: {} }))

test('model requests are nobody’s to answer but an account’s', () => {
  assert.equal(ask({ method: 'POST', url: '/v1/responses' }), undefined)
  assert.equal(ask({ url: '/v1/models' }), undefined)
})

describe('the pool’s usage', () => {
  const window = (parts: Partial<QuotaWindow>): QuotaWindow => ({
    name: 'primary',
    lengthMinutes: 300,
    ...parts,
  })
  const having = (state: PoolAccount['state'], ...windows: QuotaWindow[]) =>
    poolAccount({ state, quota: { windows } })
  const usage = (accounts: PoolAccount[], headers = {}) =>
    ask({ url: '/backend-api/wham/usage', headers }, accounts)?.body as Record<string, any>

  test('is the mean of the known windows, with the first real reset', () => {
    const { rate_limit } = usage([
      having('ready', window({ usedPercent: 20, resetsAt: now + 7_200_000 })),
      having('exhausted', window({ usedPercent: 100, resetsAt: now + 3_600_000 })),
      having('ready'),
      having('needs-login', window({ usedPercent: 0, resetsAt: now + 60_000 })),
      having('disabled', window({ usedPercent: 0, resetsAt: now + 60_000 })),
    ])
    assert.deepEqual(rate_limit, {
      allowed: true,
      limit_reached: false,
      primary_window: {
        used_percent: 60,
        limit_window_seconds: 18_000,
        reset_after_seconds: 3_600,
        reset_at: now / 1000 + 3_600,
      },
      secondary_window: null,
    })
  })

  test('puts windows of one length together, wherever an account has them', () => {
    const week = { lengthMinutes: 10_080, resetsAt: now + 1_000 }
    const { rate_limit } = usage([
      having(
        'ready',
        window({ usedPercent: 10, resetsAt: now + 1_000 }),
        window({ name: 'secondary', usedPercent: 30, ...week }),
      ),
      having('ready', window({ usedPercent: 50, ...week })),
    ])
    assert.equal(rate_limit.primary_window.used_percent, 10)
    assert.deepEqual(
      [rate_limit.secondary_window.used_percent, rate_limit.secondary_window.limit_window_seconds],
      [40, 604_800],
    )
  })

  test('leaves out what is not known: a window that has ended, or without use, length or end', () => {
    const { rate_limit, credits } = usage([
      having('ready', window({ usedPercent: 90, resetsAt: now - 1 })),
      having('ready', window({ resetsAt: now + 1 })),
      having('ready', window({ usedPercent: 5 })),
      having('ready', window({ usedPercent: 5, lengthMinutes: undefined, resetsAt: now + 1 })),
      having('ready', window({ usedPercent: 5, resetsAt: now + 1, model: 'one' })),
    ])
    assert.deepEqual([rate_limit, credits], [null, null])
    assert.equal(usage([]).rate_limit, null)
  })

  test('holds only whole numbers, or Codex would reject it all', () => {
    const { rate_limit } = usage([
      having('ready', window({ usedPercent: 33.4, resetsAt: now + 1_500 })),
      having('ready', window({ usedPercent: 12.25, resetsAt: now + 1_501 })),
    ])
    for (const value of Object.values(rate_limit.primary_window)) assert.ok(Number.isInteger(value))
  })

  test('is reached when every account is exhausted, held-back API keys aside', () => {
    const key = poolAccount({ inspection: { kind: 'api-key' }, order: Infinity })
    const { rate_limit } = usage([having('exhausted'), having('exhausted'), key])
    assert.deepEqual([rate_limit.allowed, rate_limit.limit_reached], [false, true])
  })

  test('carries the caller’s own names, from the caller’s own headers', () => {
    const auth = { chatgpt_user_id: 'user-me', chatgpt_plan_type: 'pro' }
    const token = jwt({ email: 'me@example.com', 'https://api.openai.com/auth': auth })
    const accounts = [
      poolAccount({ inspection: { identity: 'acct-pool', label: 'pool@example.com', plan: 'plus' } }),
    ]
    const body = usage(accounts, { authorization: `Bearer ${token}`, 'chatgpt-account-id': 'acct-me' })
    assert.deepEqual(
      [body.user_id, body.account_id, body.email, body.plan_type],
      ['user-me', 'acct-me', 'me@example.com', 'pro'],
    )
    assert.doesNotMatch(JSON.stringify(body), /acct-pool|pool@example/)
    const unnamed = usage(accounts)
    assert.deepEqual(
      [unnamed.user_id, unnamed.account_id, unnamed.email, unnamed.plan_type],
      [null, null, null, 'plus'],
    )
    assert.equal(usage([]).plan_type, 'unknown')
  })

  test('adds up credits, and knows no sum where one balance is unknown', () => {
    const with$ = (balance?: string) =>
      poolAccount({ quota: { windows: [], credits: { hasCredits: true, unlimited: false, balance } } })
    assert.equal(usage([with$('12.5'), with$('0.25'), poolAccount()]).credits.balance, '12.75')
    assert.equal(usage([with$('12.5'), with$()]).credits.balance, null)
  })

  test('is the same under /api/codex', () => {
    assert.deepEqual(ask({ url: '/api/codex/usage' })?.body, usage([]))
  })
})
