import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { writeFile } from 'node:fs/promises'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import type { AccountReport, ProviderEntry, UserConfig } from '../../src/index.js'
import { faults, field, type Fault } from '../../src/simulator/index.js'
import { codeOf, eventsOf, inOrder, saidIn, startPool, stopClock, type TestPool } from '../kit/pool.js'

const two = [{ id: 'alice' }, { id: 'bob' }]
const seconds = (n: number) => n * 1000

/** What alice is left in, and for how long at most from now; ms. */
type After = readonly [state: AccountReport['state'], restMs?: number]

const refusals: Record<string, { fault: Fault; after: After }> = {
  'usage limit with a reset': {
    fault: faults.usageLimit({ resetsAt: Date.now() + seconds(300) }),
    after: ['exhausted', seconds(301)],
  },
  'usage limit without a reset': { fault: faults.usageLimit(), after: ['exhausted', seconds(900)] },
  '429 with Retry-After': { fault: faults.rateLimited(7), after: ['cooling', seconds(7)] },
  '429 without': { fault: faults.rateLimited(), after: ['cooling', seconds(1)] },
  '402': { fault: { status: 402, body: {} }, after: ['exhausted', seconds(900)] },
  '402 of a workspace that is gone': { fault: faults.paymentRequired(), after: ['needs-login'] },
  '403 as a challenge page': { fault: faults.challenge(), after: ['cooling', seconds(1)] },
  '403 as JSON': { fault: { status: 403, body: { detail: 'Forbidden' } }, after: ['ready'] },
  'a model that it may not use': { fault: faults.unsupportedModel('gpt-5.5'), after: ['ready'] },
  '408': { fault: { status: 408 }, after: ['cooling', seconds(1)] },
  '500': { fault: faults.serverError(), after: ['cooling', seconds(1)] },
  '502 as a page': { fault: faults.badGateway(), after: ['cooling', seconds(1)] },
  '503 overloaded': { fault: faults.overloaded(), after: ['cooling', seconds(1)] },
  '529': { fault: faults.serverError(529), after: ['cooling', seconds(1)] },
  'a reset before the head': { fault: 'reset', after: ['ready'] },
  'a reset after the work': { fault: 'lost', after: ['ready'] },
  'no head in time': { fault: 'hang', after: ['ready'] },
  'an empty stream': { fault: faults.end(0), after: ['cooling', seconds(1)] },
  'a stream that ends before any output': { fault: faults.end(1), after: ['cooling', seconds(1)] },
  'a stream that breaks before any output': { fault: faults.cut(1), after: ['cooling', seconds(1)] },
  'a rate limit inside the stream': {
    fault: faults.failed('rate_limit_exceeded'),
    after: ['cooling', seconds(1)],
  },
  'a usage limit inside the stream': {
    fault: faults.failed('usage_limit_reached'),
    after: ['exhausted', seconds(900)],
  },
  'an error event': { fault: faults.errorEvent('server_is_overloaded'), after: ['cooling', seconds(1)] },
}

for (const [name, { fault, after }] of Object.entries(refusals))
  test(`the next account answers, and the client never notices: ${name}`, async (t) => {
    const clock = stopClock(t)
    const retry = { default: { headersTimeoutMs: fault === 'hang' ? 1000 : 30_000 } }
    const pool = await startPool(t, { codex: two, config: { ...inOrder, retry } })
    pool.sim.fail({ account: 'alice', with: fault })
    pool.sim.reply(({ account }) => `I am ${account}.`)
    const { status, text } = await pool.ask('s1')
    assert.equal(status, 200, text)
    assert.equal(saidIn(text), 'I am bob.')
    assert.equal(text.match(/event: response\.created/g)?.length, 1)
    assert.deepEqual(pool.asked(), ['alice', 'bob'])

    const { state, availableAt, inFlight } = await pool.account('alice')
    assert.deepEqual([state, inFlight], [after[0], 0])
    const left = availableAt === undefined ? undefined : Date.parse(availableAt) - clock.now
    assert.equal(left !== undefined, after[1] !== undefined)
    assert.ok((left ?? 0) <= (after[1] ?? 0), `cools down for ${left} ms`)
    assert.equal((await pool.account('bob')).state, 'ready')
  })

test('a token that is refused is refreshed, and the request goes to the same account', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  pool.sim.account('alice').expireAccessToken()
  assert.equal(await pool.servedBy('s1'), 'alice')
  assert.deepEqual(pool.asked(), ['alice', 'alice'])
  assert.equal(pool.sim.issuer.refreshes, 1)
  assert.equal((await pool.account('alice')).state, 'ready')
})

test('an account that refuses its new token, too, cools down; the next one answers', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  pool.sim.fail({ account: 'alice', path: '/responses', times: 2, with: faults.unauthorized() })
  assert.equal(await pool.servedBy('s1'), 'bob')
  assert.deepEqual(pool.asked(), ['alice', 'alice', 'bob'])
  assert.equal((await pool.account('alice')).state, 'cooling')
})

test("an error that is the request's own fault goes to the client, and nobody else is asked", async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  pool.sim.fail({ with: faults.failed('invalid_prompt') })
  const { text } = await pool.ask('s1').expect(200)
  assert.equal(field(eventsOf(text).at(-1), 'response', 'error', 'code'), 'invalid_prompt')
  assert.deepEqual(pool.asked(), ['alice'])
})

test("a failure after the first output goes to the client, and changes the account's state only", async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  const fail = {
    type: 'response.failed',
    response: { error: { code: 'usage_limit_reached', message: 'no more' } },
  }
  pool.sim.fail({ with: { events: (events) => [...events.slice(0, 6), fail] } })
  const { text } = await pool.ask('s1').expect(200)
  assert.deepEqual(eventsOf(text).at(-1), fail)
  assert.deepEqual(pool.asked(), ['alice'])
})

test('a connection that the upstream had closed meanwhile is opened again, to the same account', async (t) => {
  const pool = await startPool(t, { codex: two, config: { ...inOrder, retry: { default: { attempts: 2 } } } })
  assert.equal(await pool.servedBy('s1'), 'alice')
  pool.sim.fail({ account: 'alice', with: 'reset' })
  assert.equal(await pool.servedBy('s1'), 'alice')
  assert.deepEqual(pool.asked(), ['alice', 'alice', 'alice'])
})

const many = ['a', 'b', 'c', 'd', 'e'].map((id) => ({ id }))
const attempts = (attempts: number): UserConfig => ({ ...inOrder, retry: { default: { attempts } } })

test('attempts bounds the tries that fail for no fault of an account', async (t) => {
  for (const [limit, asked] of [
    [2, 2],
    [3, 3],
    [9, 5],
  ] as const) {
    const pool = await startPool(t, { codex: many, config: attempts(limit) })
    pool.sim.fail({ times: Infinity, with: faults.serverError() })
    assert.equal((await pool.ask('s1')).status, 502)
    assert.equal(pool.asked().length, asked)
  }
})

test('an account that refuses costs no try', async (t) => {
  const pool = await startPool(t, { codex: many, config: attempts(2) })
  for (const id of ['a', 'b', 'd']) pool.sim.account(id).exhaust()
  pool.sim.fail({ account: 'c', with: faults.serverError() })
  assert.equal(await pool.servedBy('s1'), 'e')
})

test('PROXY_MAX_ATTEMPTS says how many', async (t) => {
  const pool = await startPool(t, { codex: many, config: inOrder, env: { PROXY_MAX_ATTEMPTS: '2' } })
  pool.sim.fail({ times: Infinity, with: faults.serverError() })
  await pool.ask('s1')
  assert.deepEqual(pool.asked(), ['a', 'b'])
})

for (const [name, fault] of Object.entries({
  'a quota': faults.usageLimit(),
  trouble: faults.serverError(),
  'a reset': 'reset',
  'a token': faults.unauthorized(),
}) as [string, Fault][])
  test(`attempts: 1 turns failover off: ${name}`, async (t) => {
    const pool = await startPool(t, { codex: two, config: attempts(1) })
    pool.sim.fail({ account: 'alice', path: '/responses', with: fault })
    const { status } = await pool.ask('s1')
    assert.ok(status === 502 || status === 503, String(status))
    assert.deepEqual(pool.asked(), ['alice'])
  })

const task = (pool: TestPool) =>
  pool.request.post('/backend-api/wham/tasks').send({ new_task: { branch: 'main' } })
const tasks = (pool: TestPool) =>
  pool.sim.requests.filter(({ path }) => path.endsWith('/wham/tasks')).map(({ account }) => account)

for (const fault of ['reset', 'lost', faults.serverError(503), faults.badGateway()] as const)
  test(`what must not be done twice is not sent twice: ${typeof fault === 'string' ? fault : fault.status}`, async (t) => {
    const pool = await startPool(t, { codex: two })
    // A kept-alive connection is no excuse.
    await pool.request.get('/backend-api/wham/tasks/list').expect(200)
    pool.sim.fail({ path: '/wham/tasks', with: fault })
    const { status, body } = await task(pool)
    assert.ok([502, 503].includes(status), String(status))
    assert.equal(codeOf(body), 'upstream_unavailable')
    assert.equal(tasks(pool).length, 1)
  })

test('what must not be done twice goes to another account where the first one refused it', async (t) => {
  const pool = await startPool(t, { codex: two })
  pool.sim.fail({ path: '/wham/tasks', with: faults.rateLimited() })
  await task(pool).expect(200)
  assert.equal(new Set(tasks(pool)).size, 2)
})

test('what was never sent is offered to every account, and none is blamed for a network that is down', async (t) => {
  const pool = await startPool(t, { codex: many, config: inOrder })
  await pool.sim.down()
  const attempted: string[] = []
  pool.gateway.on('attempt', ({ account }) => attempted.push(account))
  const { status } = await task(pool)
  assert.equal(status, 502)
  assert.equal(new Set(attempted).size, 5)
  for (const { state } of pool.gateway.accounts()) assert.equal(state, 'ready')
  await pool.sim.up()
  await task(pool).expect(200)
})

test('an account whose address cannot be reached is passed over', async (t) => {
  const hosts = ['127.0.0.1:1']
  const tenant: ProviderEntry = {
    type: 'custom',
    upstream: 'https://tenants.example',
    hosts,
    authorize: ({ credential }) => ({ authorization: `Bearer ${credential.key}` }),
    path: ({ url }, { credential }) => credential.address + url,
  }
  const config = { providers: { tenant }, routes: [{ path: '/things', provider: 'tenant' }] }
  const pool = await startPool(t, {
    codexApiKeys: [{ id: 'key' }],
    config,
    prepare: ({ sim, poolDir }) => {
      hosts.push(new URL(sim.url).host)
      const addresses = { tenant_a: 'http://127.0.0.1:1', tenant_b: `${sim.url}/openai/v1` }
      for (const [name, address] of Object.entries(addresses))
        writeFileSync(join(poolDir, `${name}.json`), JSON.stringify({ key: 'sk-sim-key', address }), {
          mode: 0o600,
        })
    },
  })
  const outcomes: string[] = []
  pool.gateway.on('attempt', ({ account, outcome }) => outcomes.push(`${account} ${outcome}`))
  await pool.request.post('/things').send({}).expect(404, { detail: 'Not Found' })
  assert.deepEqual(outcomes, ['tenant/tenant_a ECONNREFUSED 127.0.0.1:1', 'tenant/tenant_b pass'])
})

test('a generation path that one account of a provider of one’s own lacks is asked of the next; another path is not', async (t) => {
  const asked: string[] = []
  const upstream = createServer((request, response) => {
    asked.push(String(request.headers.authorization))
    const lacks = request.headers.authorization === 'Bearer token-a'
    response.writeHead(lacks ? 404 : 200, { 'content-type': 'application/json' }).end('{}')
  })
  await once(upstream.listen(0, '127.0.0.1'), 'listening')
  t.after(() => upstream.close().closeAllConnections())
  const address = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`
  const pool = await startPool(t, {
    config: {
      providers: { mine: { type: 'bearer', upstream: address } },
      strategies: { 'in-order': (accounts) => accounts[0] },
      routes: [{ path: '/mine', provider: 'mine', strategy: 'in-order' }],
    },
    prepare: async ({ poolDir }) => {
      for (const id of ['a', 'b'])
        await writeFile(join(poolDir, `mine_${id}.json`), JSON.stringify({ token: `token-${id}` }))
    },
  })
  await pool.request.post('/mine/v1/chat/completions').send({ model: 'm', messages: [] }).expect(200)
  await pool.request.post('/mine/v1/files').send({}).expect(404)
  assert.deepEqual(asked, ['Bearer token-a', 'Bearer token-b', 'Bearer token-a'])
})
