import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { test, type TestContext } from 'node:test'
import { field, startSimulator, text, type Simulator } from '../../src/simulator/index.js'
import { enterCode, loginPages, visit } from '../kit/simulator/login.js'

const CLIENT = 'app_EMoamEEZ73f0CkXaXp7hrann'
const CALLBACK = 'http://127.0.0.1:1455/auth/callback'

async function simulate(t: TestContext, now: () => number = Date.now): Promise<Simulator> {
  const sim = await startSimulator({
    codex: [{ id: 'alice' }],
    gemini: [{ id: 'g1' }],
    now,
    upstreams: loginPages(),
  })
  t.after(() => sim.close())
  return sim
}

interface Asking {
  readonly url: URL
  readonly verifier: string
}

function asking(sim: Simulator, change: Record<string, string> = {}): Asking {
  const verifier = randomBytes(32).toString('base64url')
  const url = new URL('/oauth/authorize', sim.url)
  const parameters = {
    response_type: 'code',
    client_id: CLIENT,
    redirect_uri: CALLBACK,
    scope: 'openid profile email offline_access',
    state: 'a-state-that-is-long-enough',
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
    ...change,
  }
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value)
  return { url, verifier }
}

async function codeOf({ url }: Asking): Promise<string> {
  return new URL(await visit(url.href, { account: 'alice' })).searchParams.get('code') ?? ''
}

function redeem(sim: Simulator, parameters: Record<string, string>): Promise<Response> {
  const body = new URLSearchParams({
    grant_type: 'authorization_code',
    client_id: CLIENT,
    redirect_uri: CALLBACK,
    ...parameters,
  })
  return fetch(`${sim.url}/oauth/token`, { method: 'POST', body })
}

const bad: Record<string, Record<string, string>> = {
  'another client': { client_id: 'app_other' },
  'another callback': { redirect_uri: 'http://127.0.0.1:1456/auth/callback' },
  'no state': { state: '' },
  'a plain challenge': { code_challenge_method: 'plain' },
  'no challenge': { code_challenge: '' },
  'too small a scope': { scope: 'openid' },
  'an implicit flow': { response_type: 'token' },
}
for (const [what, change] of Object.entries(bad))
  test(`the authorization page refuses ${what}, without a redirect`, async (t) => {
    const sim = await simulate(t)
    await assert.rejects(visit(asking(sim, change).url.href, { account: 'alice' }), /answered 400/)
    assert.equal((await fetch(asking(sim, change).url)).status, 400)
  })

test('the authorization page can be used in a browser', async (t) => {
  const sim = await simulate(t)
  const page = await fetch(asking(sim).url)
  assert.match(await page.text(), /<form method="post">.*<option>alice<\/option>/)
})

test('a code works once, with its verifier', async (t) => {
  const sim = await simulate(t)
  const asked = asking(sim)
  const code = await codeOf(asked)
  const granted = await redeem(sim, { code, code_verifier: asked.verifier })
  assert.equal(granted.status, 200)
  const tokens: unknown = await granted.json()
  assert.equal(field(tokens, 'refresh_token'), sim.account('alice').refreshToken)
  const again = await redeem(sim, { code, code_verifier: asked.verifier })
  assert.deepEqual([again.status, text(await again.json(), 'error', 'code')], [400, 'invalid_grant'])
})

test('a code is worth nothing with another verifier, callback or client, or later', async (t) => {
  let now = Date.now()
  const sim = await simulate(t, () => now)
  const wrong: Record<string, string>[] = [
    { code_verifier: randomBytes(32).toString('base64url') },
    { code_verifier: '' },
    { redirect_uri: 'http://localhost:1455/auth/callback' },
  ]
  for (const change of wrong) {
    const asked = asking(sim)
    const code = await codeOf(asked)
    assert.equal((await redeem(sim, { code, code_verifier: asked.verifier, ...change })).status, 400)
    assert.equal((await redeem(sim, { code, code_verifier: asked.verifier })).status, 400, 'it is spent')
  }
  const late = asking(sim)
  const code = await codeOf(late)
  now += 10 * 60_000
  assert.equal((await redeem(sim, { code, code_verifier: late.verifier })).status, 400)
})

interface Polled {
  readonly status: number
  readonly code: string | undefined
  readonly body: unknown
}

async function device(sim: Simulator): Promise<{ userCode: string; poll: () => Promise<Polled> }> {
  const post = (path: string, body: object) =>
    fetch(`${sim.url}/api/accounts/deviceauth/${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
  const given: unknown = await (await post('usercode', { client_id: CLIENT })).json()
  const { device_auth_id, user_code } = given as Record<string, string>
  assert.equal(field(given, 'interval'), '1', 'a text, as the real one')
  const poll = async () => {
    const response = await post('token', { device_auth_id, user_code })
    const body: unknown = await response.json()
    return { status: response.status, code: text(body, 'error', 'code'), body }
  }
  return { userCode: user_code!, poll }
}

test('a device code is pending until it is entered, and then works once', async (t) => {
  let now = Date.now()
  const sim = await simulate(t, () => now)
  const { userCode, poll } = await device(sim)
  const pending = await poll()
  assert.deepEqual([pending.status, pending.code], [403, 'authorization_pending'])
  await enterCode(sim, userCode, { account: 'alice' })
  now += 1_000
  const { status, body } = await poll()
  assert.equal(status, 200)
  const grant = {
    code: text(body, 'authorization_code')!,
    code_verifier: text(body, 'code_verifier')!,
    redirect_uri: `${sim.url}/deviceauth/callback`,
  }
  assert.equal((await redeem(sim, grant)).status, 200)
  assert.equal((await redeem(sim, grant)).status, 400)
  now += 1_000
  assert.equal((await poll()).status, 400)
  assert.deepEqual(sim.violations, [])
})

test('a device code that is refused, expired or unknown is told as such', async (t) => {
  let now = Date.now()
  const sim = await simulate(t, () => now)
  const refused = await device(sim)
  await enterCode(sim, refused.userCode, { account: 'alice', decision: 'refuse' })
  assert.equal((await refused.poll()).code, 'access_denied')
  const expired = await device(sim)
  now += 15 * 60_000
  assert.equal((await expired.poll()).code, 'expired_token')
  await assert.rejects(enterCode(sim, 'AAAA-AAAA', { account: 'alice' }), /answered 400/)
})

test('a poll before its interval is over is a violation', async (t) => {
  const sim = await simulate(t)
  const { poll } = await device(sim)
  await poll()
  await poll()
  assert.match(sim.violations.join(), /polled before the interval was over/)
})

test("Google's page sends back to any port of 127.0.0.1, and to no name", async (t) => {
  const sim = await simulate(t)
  const google = (redirect_uri: string) => {
    const scope = 'https://www.googleapis.com/auth/cloud-platform'
    const { url } = asking(sim, { redirect_uri, scope, access_type: 'offline' })
    return url.href.replace('/oauth/authorize', '/o/oauth2/v2/auth')
  }
  const back = new URL(await visit(google('http://127.0.0.1:4711/cb'), { account: 'g1' }))
  assert.deepEqual(
    [back.host, back.searchParams.get('iss')],
    ['127.0.0.1:4711', 'https://accounts.google.com'],
  )
  await assert.rejects(visit(google('http://localhost:4711/cb'), { account: 'g1' }), /redirect_uri_mismatch/)
})
