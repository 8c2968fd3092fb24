import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CredentialRejected, type Credential, type Provider } from '../../config/provider.js'
import { codex } from '../../providers/codex.js'
import { startSimulator, type Simulator } from '../../src/simulator/index.js'
import { account, calls, jwt, withUpstream } from '../kit/provider.js'

const providerAt = (refreshBase: string, whamBase = refreshBase) =>
  codex({
    apiKeys: 'never',
    credits: 'last',
    adapt: true,
    allow: [],
    codexHome: false as const,
    responsesBase: `${whamBase}/codex`,
    whamBase,
    refreshBase,
    openaiBase: `${whamBase}/openai`,
  }) as Required<Provider>

const seconds = () => Math.floor(Date.now() / 1000)
const login = (accessToken: string, lastRefresh = new Date().toISOString()): Credential => ({
  tokens: {
    id_token: 'id-old',
    access_token: accessToken,
    refresh_token: 'rt-old',
    account_id: 'acct',
    own: 1,
  },
  last_refresh: lastRefresh,
  unknown: { kept: true },
})

async function withSimulator(run: (sim: Simulator) => Promise<void>): Promise<void> {
  const sim = await startSimulator({ codex: [{ id: 'alice' }] })
  try {
    await run(sim)
  } finally {
    await sim.close()
  }
}

test('a login is refreshed at a strict issuer, once, and its new tokens work', () =>
  withSimulator(async (sim) => {
    const provider = providerAt(sim.url, `${sim.url}/backend-api`)
    const alice = sim.account('alice')
    const old = { ...alice.authJson({ expired: true }) } as Credential
    const { credential, expiresAt } = await provider.refresh(old, calls())
    assert.ok(expiresAt! > Date.now())
    assert.equal(credential.tokens.refresh_token, alice.refreshToken)
    assert.equal((provider.inspect(credential) as { workspace?: string }).workspace, alice.accountId)
    const quota = await provider.pollQuota(account(credential), calls())
    assert.deepEqual(
      quota!.windows.map(({ name, lengthMinutes }) => [name, lengthMinutes]),
      [
        ['primary', 300],
        ['secondary', 10_080],
      ],
    )
    assert.deepEqual(sim.violations, [])
    await assert.rejects(provider.refresh(old, calls()), (error) => {
      assert.ok(error instanceof CredentialRejected)
      assert.equal(error.code, 'refresh_token_reused')
      return true
    })
  }))

test('the refresh is the very request that Codex makes', () =>
  withUpstream(
    () => [200, { access_token: jwt({ exp: 2_000_000_000 }), refresh_token: 'rt-new' }],
    async ({ url, received }) => {
      const { refresh } = providerAt(`${url}/`)
      const old = login(jwt({ exp: seconds() - 5 }))
      const { credential, expiresAt } = await refresh(old, calls())
      assert.equal(received[0]!.path, '/oauth/token')
      assert.equal(received[0]!.headers['content-type'], 'application/json')
      assert.equal(received[0]!.headers.authorization, undefined)
      assert.deepEqual(JSON.parse(received[0]!.text), {
        client_id: 'app_EMoamEEZ73f0CkXaXp7hrann',
        grant_type: 'refresh_token',
        refresh_reason: 'proactive_expiry',
        refresh_token: 'rt-old',
      })
      // What the answer leaves out stays, and so does what we know nothing of.
      assert.equal(expiresAt, 2_000_000_000_000)
      assert.equal(credential.tokens.id_token, 'id-old')
      assert.deepEqual(
        [credential.tokens.refresh_token, credential.tokens.own, credential.unknown],
        ['rt-new', 1, { kept: true }],
      )
      assert.ok(Date.parse(credential.last_refresh) > Date.parse('2026-01-01'))
      assert.equal(old.tokens.refresh_token, 'rt-old')
    },
  ))

for (const [what, credential, reason] of [
  ['is about to end', login(jwt({ exp: seconds() + 60 })), 'proactive_expiry'],
  ['was refused before its end', login(jwt({ exp: seconds() + 86_400 })), 'unauthorized_recovery'],
  ['does not tell its end and is old', login('opaque', '2020-01-01T00:00:00Z'), 'scheduled'],
  ['does not tell its end and is new', login('opaque'), 'unauthorized_recovery'],
] as const) {
  test(`the reason for a refresh is ${reason} when the token ${what}`, () =>
    withUpstream(
      () => [200, { access_token: 'new' }],
      async ({ url, received }) => {
        await providerAt(url).refresh(credential, calls())
        assert.equal(JSON.parse(received[0]!.text).refresh_reason, reason)
      },
    ))
}

const refusals: [status: number, body: unknown, code: string | undefined, final: boolean][] = [
  [401, { error: { code: 'refresh_token_expired' } }, 'refresh_token_expired', true],
  [401, { error: { code: 'refresh_token_invalidated' } }, 'refresh_token_invalidated', true],
  [401, { error: 'something_new' }, 'something_new', true],
  [401, 'not json', 'http_401', true],
  [400, { error: 'invalid_grant' }, 'invalid_grant', true],
  [400, { code: 'refresh_token_reused' }, 'refresh_token_reused', true],
  [400, { error: 'invalid_request' }, 'invalid_request', false],
  [403, '<html>challenge</html>', undefined, false],
  [429, {}, undefined, false],
  [500, { error: { code: 'refresh_token_expired' } }, 'refresh_token_expired', false],
  [503, 'rt-old echoed', undefined, false],
  [200, {}, undefined, false],
]
for (const [status, body, code, final] of refusals) {
  test(`a refresh answered ${status} ${JSON.stringify(body)} is ${final ? 'refused for good' : 'passing trouble'}`, () =>
    withUpstream(
      () => [status, body],
      async ({ url }) => {
        await assert.rejects(
          providerAt(url).refresh(login('opaque'), calls()),
          (error: Error & { code?: string }) => {
            assert.equal(error instanceof CredentialRejected, final)
            assert.equal(error.code, code)
            assert.doesNotMatch(`${error.message} ${error.stack}`, /rt-old|opaque/)
            return true
          },
        )
      },
    ))
}

test('an answer that cannot be read may have spent the token, and looks like one that was lost', () =>
  withUpstream(
    () => [200, 'half an answ'],
    async ({ url }) => {
      await assert.rejects(providerAt(url).refresh(login('opaque'), calls()), TypeError)
    },
  ))

test('a redirect never carries the refresh token to another place', () =>
  withUpstream(
    () => (response) => response.writeHead(307, { location: '/elsewhere' }).end(),
    async ({ url, received }) => {
      await assert.rejects(providerAt(url).refresh(login('opaque'), calls()), /answered 307/)
      assert.equal(received.length, 1)
    },
  ))

test('a quota that cannot be asked for is an error, and an API key has none', () =>
  withUpstream(
    () => [500, {}],
    async ({ url, received }) => {
      const { pollQuota } = providerAt(url)
      await assert.rejects(pollQuota(account(login('opaque')), calls()), /answered 500/)
      assert.equal(await pollQuota(account({ OPENAI_API_KEY: 'sk' }), calls()), undefined)
      assert.equal(received.length, 1)
    },
  ))

test('a polled quota knows no window that the plan does not have', () =>
  withUpstream(
    () => [
      200,
      { plan_type: 'team', rate_limit: { primary_window: null, secondary_window: null }, credits: null },
    ],
    async ({ url }) => {
      const quota = await providerAt(url).pollQuota(account(login('opaque')), calls())
      assert.deepEqual(quota, { windows: [], plan: 'team', credits: undefined })
    },
  ))

test('reset credits are told, and the one that expires first is redeemed', () => {
  const expires_at = (day: number) => `2033-05-${day}T00:00:00.5Z`
  const credits = [
    { id: 'later', status: 'available', expires_at: expires_at(20) },
    { id: 'gone', status: 'redeemed', expires_at: expires_at(10) },
    { id: 'sooner', status: 'available', expires_at: expires_at(12) },
    { id: 'endless', status: 'available' },
  ]
  const usage = { plan_type: 'pro', rate_limit_reset_credits: { available_count: 3 } }
  return withUpstream(
    ({ path }) => {
      if (path === '/wham/usage') return [200, usage]
      return [200, path.endsWith('/consume') ? { code: 'reset', windows_reset: 2 } : { credits }]
    },
    async ({ url, received }) => {
      const provider = providerAt(url)
      const asked = account(login('opaque'))
      const quota = await provider.pollQuota(asked, calls())
      assert.deepEqual(
        quota!.resets!.map(({ id }) => id),
        ['sooner', 'later', 'endless'],
      )
      assert.equal(quota!.resets![0]!.expiresAt, Date.parse(expires_at(12)))
      assert.ok(!received.some(({ method }) => method === 'POST'), 'nothing is redeemed by itself')
      assert.ok((await provider.redeem(asked, calls()))?.resets)
      const [consumed] = received.filter(({ method }) => method === 'POST')
      const { credit_id, redeem_request_id } = JSON.parse(consumed!.text)
      assert.equal(credit_id, 'sooner')
      assert.match(redeem_request_id, /^[0-9a-f-]{36}$/)
      assert.equal(consumed!.headers['chatgpt-account-id'], 'acct')
    },
  )
})

for (const [code, reason] of [
  ['nothing_to_reset', /nothing to reset/],
  ['no_credit', /no reset credit/],
  ['x', /did not say/],
] as const)
  test(`a reset credit that is not redeemed (${code}) is an error that says why`, () =>
    withUpstream(
      ({ path }) => [200, path.endsWith('/consume') ? { code } : { credits: [{ id: 'one' }] }],
      async ({ url }) => {
        await assert.rejects(providerAt(url).redeem(account(login('opaque')), calls()), reason)
      },
    ))

test('an account without reset credits is asked for no list, and has none to redeem', () =>
  withUpstream(
    ({ path }) => [
      200,
      path === '/wham/usage' ? { rate_limit_reset_credits: { available_count: 0 } } : { credits: [] },
    ],
    async ({ url, received }) => {
      const quota = await providerAt(url).pollQuota(account(login('opaque')), calls())
      assert.deepEqual([quota!.resets, received.length], [[], 1])
      await assert.rejects(providerAt(url).redeem(account(login('opaque')), calls()), /no reset credit/)
    },
  ))
