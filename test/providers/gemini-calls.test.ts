import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CredentialRejected, type Credential, type Provider } from '../../config/provider.js'
import { gemini } from '../../providers/gemini.js'
import { discover } from '../../providers/gemini/discover.js'
import { startSimulator, type Simulator } from '../../src/simulator/index.js'
import { onboarding, type Standing } from '../kit/simulator/onboarding.js'
import { account, calls, request, withUpstream } from '../kit/provider.js'

const at = (url: string) => ({
  upstream: url,
  refreshBase: url,
  loginBase: url,
  oauthClientId: 'client-id',
  oauthClientSecret: 'client-secret',
})
const providerAt = (url: string) => gemini(at(url)) as Required<Provider>
const creds: Credential = {
  access_token: 'ya29-old',
  refresh_token: '1//old',
  expiry_date: 1,
  scope: 's',
  own: true,
}

type Accounts = NonNullable<NonNullable<Parameters<typeof startSimulator>[0]>['gemini']>

async function withSimulator(
  accounts: Accounts,
  run: (sim: Simulator) => Promise<void>,
  standings = new Map<string, Standing>(),
): Promise<void> {
  const geminiClient = { id: 'client-id', secret: 'client-secret' }
  const sim = await startSimulator({ gemini: accounts, geminiClient, upstreams: onboarding(standings) })
  try {
    await run(sim)
    assert.deepEqual(sim.violations, [])
  } finally {
    await sim.close()
  }
}

/** With one account that may not generate yet. */
function withAlice(
  standing: Standing,
  run: (sim: Simulator, standings: Map<string, Standing>) => Promise<void>,
): Promise<void> {
  const standings = new Map([['alice', standing]])
  return withSimulator([{ id: 'alice' }], (sim) => run(sim, standings), standings)
}

const holding = (sim: Simulator, more: object = {}) =>
  account({ ...sim.geminiAccount('alice').oauthCreds(), ...more })

test('a login is refreshed at Google’s endpoint, and keeps its refresh token', () =>
  withSimulator([{ id: 'alice' }], async (sim) => {
    const alice = sim.geminiAccount('alice')
    const old = { ...alice.oauthCreds({ expired: true }), own: true }
    const { credential, expiresAt } = await providerAt(sim.url).refresh(old, calls())
    assert.equal(credential.access_token, alice.accessToken)
    assert.equal(credential.refresh_token, old.refresh_token)
    assert.equal(credential.expiry_date, expiresAt)
    assert.ok(expiresAt! > Date.now())
    assert.deepEqual([credential.own, 'expires_in' in credential], [true, false])
    alice.revoke()
    await assert.rejects(providerAt(sim.url).refresh(credential, calls()), {
      name: 'CredentialRejected',
      code: 'invalid_grant',
    })
  }))

for (const [status, body, final] of [
  [400, { error: 'invalid_grant', error_description: '1//old' }, true],
  [401, { error: 'unauthorized_client' }, true],
  [401, { error: 'invalid_client' }, false],
  [400, { error: 'invalid_request' }, false],
  [503, 'unavailable', false],
  [200, { scope: 's' }, false],
] as const) {
  test(`a refresh answered ${status} ${JSON.stringify(body)} is ${final ? 'refused for good' : 'passing trouble'}`, () =>
    withUpstream(
      () => [status, body],
      async ({ url }) => {
        await assert.rejects(providerAt(url).refresh(creds, calls()), (error: Error) => {
          assert.equal(error instanceof CredentialRejected, final)
          assert.doesNotMatch(error.message, /1\/\/old|ya29|client-secret/)
          return true
        })
      },
    ))
}

for (const [what, file, client] of [
  ['the pool’s OAuth client', {}, ['client-id', 'client-secret']],
  ['the OAuth client in its file', { client_id: 'own', client_secret: 'pair' }, ['own', 'pair']],
  ['the pool’s, if the file has half a client', { client_id: 'own' }, ['client-id', 'client-secret']],
] as const) {
  test(`a login is refreshed with ${what}`, () =>
    withUpstream(
      () => [200, { access_token: 'ya29-new', expires_in: 3_599 }],
      async ({ url, received }) => {
        const { credential } = await providerAt(url).refresh(
          { type: 'authorized_user', refresh_token: '1//r', ...file },
          calls(),
        )
        const sent = new URLSearchParams(received[0]!.text)
        assert.deepEqual([sent.get('client_id'), sent.get('client_secret')], client)
        assert.equal(credential.access_token, 'ya29-new')
        assert.ok(credential.expiry_date > Date.now())
      },
    ))
}

test('a login in a field of its own is refreshed there', () =>
  withUpstream(
    () => [200, { access_token: 'ya29-new', expires_in: 3_599 }],
    async ({ url }) => {
      const file = {
        email: 'a@b.c',
        token: { refresh_token: '1//r', expiry: '2020-01-01T00:00:00Z', client_id: 'i' },
      }
      const { credential, expiresAt } = await providerAt(url).refresh(file, calls())
      assert.deepEqual(credential, {
        email: 'a@b.c',
        token: { ...file.token, access_token: 'ya29-new', expiry: new Date(expiresAt!).toISOString() },
      })
      const { authorization } = await providerAt(url).authorize({
        credential,
        model: undefined,
        request: request(),
      })
      assert.equal(authorization, 'Bearer ya29-new')
    },
  ))

test('a lifetime that no clock can show is unknown', () =>
  withUpstream(
    () => [200, { access_token: 'ya29-new', expires_in: 1e18 }],
    async ({ url }) => assert.equal((await providerAt(url).refresh(creds, calls())).expiresAt, undefined),
  ))

test('the project of an account that is set up is found', () =>
  withSimulator([{ id: 'alice' }], async (sim) => {
    const facts = await providerAt(sim.url).discover(holding(sim), calls())
    assert.deepEqual(facts, { project: 'project-alice', tier: 'standard-tier' })
  }))

test('an account that is not set up yet is set up, and waited for', () =>
  withAlice('free-tier', async (sim, standings) => {
    const facts = await discover(at(sim.url), 1)(holding(sim), calls())
    assert.equal(facts.project, 'project-alice')
    assert.equal(standings.size, 0)
  }))

test('a licence’s project comes from the file', () =>
  withAlice('standard-tier', async (sim) => {
    const found = discover(at(sim.url), 1)
    await assert.rejects(found(holding(sim), calls()), { code: 'project_required', message: /"project_id"/ })
    assert.equal(
      (await found(holding(sim, { project_id: 'project-alice' }), calls())).project,
      'project-alice',
    )
  }))

test('a project in the file wins over the one that Google names', () =>
  withUpstream(
    () => [200, { currentTier: { id: 'standard-tier' }, cloudaicompanionProject: 'theirs' }],
    async ({ url }) => {
      const found = (file: object) => providerAt(url).discover(account({ ...creds, ...file }), calls())
      assert.equal((await found({ project_id: 'mine' })).project, 'mine')
      assert.equal((await found({ quota_project_id: 'of gcloud' })).project, 'theirs')
    },
  ))

test('an account of the retired tier is told apart, with Google’s words and the way out', () =>
  withAlice('retired', async (sim) => {
    await assert.rejects(providerAt(sim.url).discover(holding(sim), calls()), (error) => {
      assert.ok(error instanceof CredentialRejected)
      assert.equal(error.code, 'ineligible_tier')
      assert.match(error.message, /no longer supported.*API key.*Standard or Enterprise/)
      return true
    })
    assert.equal(
      sim.requests.some(({ path }) => path.endsWith(':onboardUser')),
      false,
    )
  }))

test('an account that must be verified first is told so with the link', () =>
  withAlice('unverified', async (sim) => {
    const expected = { code: 'validation_required', message: /https:\/\/accounts\.google\.com\// }
    await assert.rejects(providerAt(sim.url).discover(holding(sim), calls()), expected)
  }))

test('a project that cannot be asked for now is passing trouble', () =>
  withUpstream(
    () => [503, { error: { code: 503, message: 'ya29-old' } }],
    async ({ url }) => {
      await assert.rejects(providerAt(url).discover(account(creds), calls()), (error: Error) => {
        assert.ok(!(error instanceof CredentialRejected))
        assert.doesNotMatch(error.message, /ya29/)
        return true
      })
    },
  ))

test('a set-up that never ends is given up when the caller gives up', () =>
  withUpstream(
    ({ path }) =>
      path.endsWith(':loadCodeAssist')
        ? [200, { allowedTiers: [{ id: 'free-tier', isDefault: true }] }]
        : [200, { name: 'operations/x' }],
    async ({ url, received }) => {
      const stop = new AbortController()
      const context = { ...calls(), signal: stop.signal }
      const found = discover(at(url), 60_000)(account(creds), context)
      while (received.length < 2) await new Promise((turn) => setImmediate(turn))
      stop.abort()
      await assert.rejects(found, { name: 'AbortError' })
    },
  ))

test('quota is polled with the account’s own project, one window a model', () =>
  withSimulator([{ id: 'alice', models: ['gemini-a', 'gemini-b'] }], async (sim) => {
    sim.geminiAccount('alice').exhaust({ model: 'gemini-b', resetsAt: Date.now() + 60_000 })
    const holder = { ...holding(sim), facts: { project: 'project-alice' } }
    const quota = await providerAt(sim.url).pollQuota(holder, calls())
    assert.deepEqual(
      quota?.windows.map(({ name, model, usedPercent }) => [name, model, usedPercent]),
      [
        ['gemini-a', 'gemini-a', 0],
        ['gemini-b', 'gemini-b', 100],
      ],
    )
    assert.equal(await providerAt(sim.url).pollQuota(holding(sim), calls()), undefined)
  }))

test('a rewritten request is served by a strict upstream', () =>
  withSimulator([{ id: 'alice' }], async (sim) => {
    const provider = providerAt(sim.url)
    const { credential } = holding(sim)
    const asked = request({ url: '/v1internal:streamGenerateContent?alt=sse' })
    const holder = account(credential, { project: 'project-alice' })
    const contents = [{ role: 'user', parts: [{ text: 'hi' }] }]
    const body = {
      model: 'gemini-2.5-pro',
      project: 'codex-pool',
      user_prompt_id: 'p',
      request: { contents, session_id: 's' },
    }
    const headers = await provider.authorize({ credential, model: undefined, request: asked })
    const response = await fetch(sim.url + provider.path(asked, holder), {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: headers.authorization! },
      body: JSON.stringify(provider.rewriteBody(body, holder, asked)),
    })
    const events = (await response.text()).split('\r\n\r\n').join('\n\n').split('\n\n').filter(Boolean)
    const payloads = events.map((event) => JSON.parse(event.replace(/^data: /, '')) as unknown)
    assert.equal(response.status, 200)
    assert.equal(payloads.map((payload) => provider.classifyEvent(payload, asked)).includes('output'), true)
    const marked = events.filter((event) => event.includes(provider.usageMarker)).at(-1)!
    assert.ok(provider.usage(JSON.parse(marked.replace(/^data: /, '')))!.totalTokens! > 0)
    assert.equal(provider.aliases(JSON.parse(marked.replace(/^data: /, '')))?.length, 1)
  }))
