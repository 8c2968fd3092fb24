import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import type { UserConfig } from '../../src/index.js'
import { faults, type Fault, type WireFault } from '../../src/simulator/index.js'
import { codeOf, inOrder, startPool, stopClock, type TestPool } from '../kit/pool.js'

const SECOND = 1000
const two = [
  { id: 'alice', plan: 'plus' },
  { id: 'bob', plan: 'pro' },
]

/** What becomes of alice and bob, and the answer that follows. */
async function ask(t: Parameters<typeof startPool>[0], faults: readonly [Fault, Fault], config?: UserConfig) {
  const pool = await startPool(t, { codex: two, config: { ...inOrder, ...config } })
  pool.sim.fail({ account: 'alice', path: '/responses', times: Infinity, with: faults[0] })
  pool.sim.fail({ account: 'bob', path: '/responses', times: Infinity, with: faults[1] })
  return { pool, ...(await answerOf(pool)) }
}

async function answerOf(pool: TestPool) {
  const { status, body, headers } = await pool.ask('s1')
  return { status, body, retryAfter: headers['retry-after'], shouldRetry: headers['x-should-retry'] }
}

const NOW = Math.ceil(Date.now() / SECOND) * SECOND
const until = (seconds: number, plan?: string) =>
  faults.usageLimit({ resetsAt: NOW + seconds * SECOND, plan, now: NOW })

const exhausted: Record<string, { faults: [Fault, Fault]; resets?: number; plan?: string }> = {
  'the earliest of two resets': { faults: [until(400, 'plus'), until(300, 'pro')], resets: 300, plan: 'pro' },
  'a reset far away': { faults: [until(400_000), until(300_000)], resets: 300_000, plan: 'pro' },
  'the one reset that is known': { faults: [faults.usageLimit(), until(300)], resets: 300, plan: 'pro' },
  'no reset, for none is known': { faults: [faults.usageLimit(), faults.usageLimit()] },
}
for (const [name, { faults, resets, plan }] of Object.entries(exhausted))
  test(`a pool that is exhausted says so in Codex's own words, with ${name}`, async (t) => {
    const clock = stopClock(t)
    clock.advance(NOW - clock.now)
    const { pool, status, body, retryAfter, shouldRetry } = await ask(t, faults)
    assert.deepEqual([status, shouldRetry], [429, 'false'])
    const { type, message, plan_type, resets_at, ...more } = body.error
    assert.equal(type, 'usage_limit_reached')
    assert.match(message, /every account/i)
    assert.equal(resets_at, resets === undefined ? undefined : NOW / SECOND + resets)
    if (plan) assert.equal(plan_type, plan)
    assert.deepEqual([more, retryAfter], [{}, resets === undefined ? undefined : String(resets)])
    // What is known is not asked again.
    assert.deepEqual((await answerOf(pool)).body, body)
    assert.equal(pool.asked().length, 2)
  })

const html = faults.challenge()
const cases: Record<
  string,
  { faults: [Fault, Fault]; config?: UserConfig; answer: [number, string]; retryAfter?: string }
> = {
  'all are cooling': {
    faults: [faults.rateLimited(20), faults.rateLimited(10)],
    answer: [503, 'accounts_cooling'],
    retryAfter: '10',
  },
  'one is exhausted, one is cooling': {
    faults: [until(300), faults.rateLimited(7)],
    answer: [503, 'accounts_cooling'],
    retryAfter: '7',
  },
  'the upstream is in trouble': {
    faults: [faults.serverError(), faults.serverError()],
    answer: [502, 'upstream_unavailable'],
  },
  'the upstream answers with a page': {
    faults: [faults.badGateway(), faults.badGateway()],
    answer: [502, 'upstream_unavailable'],
  },
  'the upstream is overloaded': {
    faults: [faults.overloaded(), faults.overloaded()],
    answer: [503, 'upstream_unavailable'],
  },
  'the upstream says 529': {
    faults: [faults.serverError(529), faults.serverError(529)],
    answer: [503, 'upstream_unavailable'],
  },
  'the upstream says when to come back': {
    faults: [faults.serverError(503, 33), faults.serverError(503, 33)],
    answer: [503, 'upstream_unavailable'],
    retryAfter: '33',
  },
  'there is a challenge page': { faults: [html, html], answer: [502, 'upstream_unavailable'] },
  'the connection breaks': { faults: ['reset', 'reset'], answer: [502, 'upstream_unavailable'] },
  'there is no answer in time': {
    faults: ['hang', 'hang'],
    config: { retry: { default: { headersTimeoutMs: 60 } } },
    answer: [504, 'upstream_unavailable'],
  },
  'one is exhausted, the other meets trouble': {
    faults: [until(300), faults.serverError()],
    answer: [502, 'upstream_unavailable'],
  },
  'attempts are spent before all were asked': {
    faults: [faults.rateLimited(9), faults.rateLimited(9)],
    config: { retry: { default: { attempts: 1 } } },
    answer: [503, 'accounts_cooling'],
  },
  'a stream fails early on both': {
    faults: [faults.failed('server_is_overloaded'), faults.failed('slow_down')],
    answer: [502, 'upstream_unavailable'],
  },
}
for (const [name, { faults, config, answer, retryAfter }] of Object.entries(cases))
  test(`the client is told to come back, and of no limit: ${name}`, async (t) => {
    stopClock(t)
    const { status, body, retryAfter: told } = await ask(t, faults, config)
    assert.deepEqual([status, codeOf(body)], answer)
    assert.equal(typeof body.error.message, 'string')
    assert.match(told ?? 'none', /^[1-9]\d*$/)
    if (retryAfter) assert.equal(told, retryAfter)
    assert.doesNotMatch(JSON.stringify(body), /usage_limit|<html|Just a moment/i)
  })

test('an upstream that cannot be reached is no limit of an account', async (t) => {
  const pool = await startPool(t, { codex: two })
  await pool.sim.down()
  const { status, body, retryAfter } = await answerOf(pool)
  assert.deepEqual([status, codeOf(body)], [502, 'upstream_unavailable'])
  assert.match(retryAfter ?? '', /^\d+$/)
})

test('when every account needs a login, the answer is final and names the way out', async (t) => {
  const pool = await startPool(t, { codex: two })
  for (const { id } of two) pool.sim.account(id).revoke()
  for (let i = 0; i < 2; i++) {
    const { status, body, retryAfter } = await answerOf(pool)
    assert.deepEqual([status, codeOf(body), retryAfter], [400, 'login_required', undefined])
    assert.match(body.error.message, /alice: .*bob: .*codex-pool login/)
  }
})

test('an account that needs a login hides neither the limit nor the trouble of the others', async (t) => {
  const pool = await startPool(t, { codex: two })
  pool.sim.account('alice').revoke()
  pool.sim.account('bob').exhaust()
  assert.equal((await answerOf(pool)).status, 429)
})

test('an empty pool says what to do', async (t) => {
  const { status, body, retryAfter } = await answerOf(await startPool(t))
  assert.deepEqual([status, codeOf(body), retryAfter], [400, 'no_accounts', undefined])
  assert.match(body.error.message, /credential file into the pool/)
})

test('a pool that has only API keys has nobody for what needs a ChatGPT account', async (t) => {
  const pool = await startPool(t, { codexApiKeys: [{ id: 'key' }] })
  const { status, body } = await pool.request.get('/backend-api/wham/settings/user')
  assert.deepEqual([status, codeOf(body)], [400, 'no_accounts'])
  assert.deepEqual(pool.sim.requests, [])
})

for (const status of [400, 405, 409, 413, 415, 418, 422])
  test(`a request that is refused for itself is answered by the upstream, byte for byte: ${status}`, async (t) => {
    const body = `{"detail" : [ {"msg":"caf\\u00e9 é" , "loc": ["body"]} ] }\n`
    const headers = {
      'content-type': 'application/json; charset=utf-8',
      'x-request-id': 'r1',
      'x-oai-request-id': 'r2',
    }
    const fault = { status, headers, body }
    const { pool, ...answer } = await ask(t, [fault, fault])
    assert.equal(answer.status, status)
    const again = await pool.ask('s2')
    assert.equal(again.text, body)
    for (const [name, value] of Object.entries(headers)) assert.equal(again.headers[name], value)
    assert.deepEqual(pool.asked(), ['alice', 'alice'])
    assert.equal((await pool.account('alice')).state, 'ready')
  })

test('a path that is not there for one account is asked for on the next, and is not there if all say so', async (t) => {
  const fault = { status: 404, body: '{"detail":"Not Found"}' }
  const { pool, status } = await ask(t, [fault, fault])
  assert.equal(status, 404)
  assert.deepEqual(pool.asked(), ['alice', 'bob'])
  assert.equal((await pool.account('alice')).state, 'ready')
  const other = await startPool(t, { codex: two, config: inOrder })
  other.sim.fail({ account: 'alice', path: '/responses', with: fault })
  assert.equal(await other.servedBy('s1'), 'bob')
})

test('a model that every account refuses is refused in the words of the last one', async (t) => {
  const pool = await startPool(t, { codex: two.map((account) => ({ ...account, models: ['gpt-5.5'] })) })
  for (let i = 0; i < 2; i++) {
    const { status, body } = await pool.ask('s1', { model: 'gpt-7' })
    assert.equal(status, 400)
    assert.match(body.detail, /'gpt-7' model is not supported/)
  }
})

test('an upstream 401 never reaches the client, whatever else fails', async (t) => {
  const pool = await startPool(t, { codex: two })
  for (const { id } of two) pool.sim.account(id).expireAccessToken()
  pool.sim.fail({ path: '/oauth/token', times: Infinity, with: faults.serverError(500) })
  const { status, body } = await answerOf(pool)
  assert.deepEqual([status, codeOf(body)], [502, 'upstream_unavailable'])
})

const spoken: Record<string, (fault: Fault) => Fault> = {
  'a status and body': (fault) => fault,
  'the first event of a stream': (fault) => faults.inStream(fault as WireFault),
}
for (const [name, carry] of Object.entries(spoken))
  test(`a limit of every account is told with the upstream’s own first sentence, without a secret in it: ${name}`, async (t) => {
    const secret = 'sk-proj-abcdefghijklmnopqrstuvwxyz0123456789'
    const message = `The workspace of ${secret} is out of credits. Ask your admin.`
    const fault = carry(faults.refusal({ word: 'usage_limit_reached', in: 'type', message }))
    const { status, body } = await ask(t, [fault, fault])
    assert.equal(status, 429)
    assert.match(body.error.message, /The upstream says: "The workspace of .* is out of credits\."$/)
    assert.ok(!JSON.stringify(body).includes(secret))
  })

const rights: Record<string, Fault> = {
  'a status and body': faults.forbidden(),
  'a status and a code': faults.refusal({ status: 403, word: 'access_denied' }),
  'the first event of a stream': faults.inStream(faults.forbidden()),
  'the first event, without a type': { events: () => [{ detail: 'Forbidden' }] },
  'the first event, by its code': faults.inStream(faults.refusal({ status: 403, word: 'access_denied' }), {
    as: 'response.failed',
  }),
  'plain JSON in place of a stream': faults.json({ detail: 'Forbidden' }),
  'a 502 of a gateway in front': { status: 502, body: { error: { status: 403, message: 'Forbidden' } } },
}
for (const [name, fault] of Object.entries(rights))
  test(`a refusal of rights by every account is told as the pool’s, and not as the client’s own: ${name}`, async (t) => {
    const { status, body } = await ask(t, [fault, fault])
    assert.deepEqual([status, codeOf(body)], [400, 'accounts_refused'])
    assert.match(body.error.message, /for every codex account of the pool/)
  })

test('every answer of ours names its request', async (t) => {
  const pool = await startPool(t)
  const told = once(pool.gateway.events, 'request')
  const { headers } = await pool.ask('s1').expect(400)
  assert.equal(headers['x-codex-pool-request-id'], (await told)[0].id)
})
