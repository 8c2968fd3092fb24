import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import type { UserConfig } from '../../config/config.js'
import type { Adaptation, AnswerForm, ClientRequest, ProviderAccount } from '../../config/provider.js'
import { faults, field } from '../../src/simulator/index.js'
import { startPool, type TestPool } from '../kit/pool.js'

type Adapt = (request: ClientRequest, account: ProviderAccount, body: () => unknown) => Adaptation | undefined

/** A gateway with a provider of one's own that adapts requests, in front of the simulated OpenAI API. */
async function adapting(t: TestContext, adapt: Adapt, accounts = ['a', 'b']): Promise<TestPool> {
  const config: UserConfig = {
    providers: {
      mine: {
        type: 'custom',
        upstream: 'http://127.0.0.1:1',
        authorize: ({ credential }) => ({ authorization: `Bearer ${credential.key}` }),
        adapt,
      },
    },
    strategies: { 'in-order': (offered) => offered[0] },
    routes: [{ path: '/mine', provider: 'mine', strategy: 'in-order' }],
  }
  return startPool(t, {
    codexApiKeys: [{ id: 'openai' }],
    config,
    prepare: async ({ sim, poolDir }) => {
      const { OPENAI_API_KEY: key } = sim.codex.apiKeys[0]!.authJson()
      Object.assign(config.providers!['mine']!, { upstream: sim.environment['UPSTREAM_OPENAI_BASE'] })
      for (const id of accounts)
        await writeFile(join(poolDir, `mine_${id}.json`), JSON.stringify({ key }), { mode: 0o600 })
    },
  })
}

const path = '/responses'
const streaming = { model: 'gpt-5.5', stream: true, input: 'hi' }
const ask = (pool: TestPool, at = '/mine/say') =>
  pool.request.post(at).set('content-type', 'text/plain').send('{"say":"hi"}')

const countAll = (): AnswerForm => {
  let count = 0
  return { kind: 'whole', event: () => void count++, end: () => ({ status: 202, body: { count } }) }
}
const nameAll = (): AnswerForm => ({
  kind: 'stream',
  event: (event) => `${String(field(event, 'type'))};`,
  end: () => 'end',
})

test('a provider makes another request, and one answer of the events', async (t) => {
  const pool = await adapting(t, (_request, _account, body) => {
    assert.deepEqual(body(), { say: 'hi' })
    return { path, body: streaming, answer: countAll() }
  })
  const { status, body } = await ask(pool)
  assert.equal(status, 202)
  assert.ok(body.count > 5, String(body.count))
  const [asked] = pool.sim.requests
  assert.deepEqual([asked?.path, asked?.json], ['/openai/v1/responses', streaming])
  assert.equal(asked?.headers['content-type'], 'application/json')
})

test('or a stream in other words', async (t) => {
  const pool = await adapting(t, () => ({ path, body: streaming, answer: nameAll() }))
  const { text } = await ask(pool).expect(200)
  assert.match(text, /^response\.created;(response\.[\w.]+;)*response\.completed;end$/)
})

test('an account that takes no such request is passed over; if none takes it, the client hears why', async (t) => {
  const refusal = { status: 400, body: { error: 'not here' } }
  const some = await adapting(t, (_request, { id }) =>
    id === 'mine_a' ? { refusal } : { path, body: streaming, answer: countAll() },
  )
  await ask(some).expect(202)
  const none = await adapting(t, () => ({ refusal }))
  const { body } = await ask(none).expect(400)
  assert.deepEqual(body, { error: 'not here' })
  assert.deepEqual(none.sim.requests, [])
})

test('a generation whose events come compressed is asked for elsewhere', async (t) => {
  const pool = await adapting(t, () => ({ path, body: streaming, answer: countAll() }))
  pool.sim.fail({ path, with: faults.gzip() })
  const { status, body } = await ask(pool, '/mine/responses')
  assert.equal(status, 202)
  assert.ok(body.count > 5)
  assert.equal(pool.sim.requests.length, 2)
})

describe('a function of the form that throws costs its answer, and nothing else', () => {
  const boom = (): never => {
    throw new Error('boom')
  }
  for (const form of [nameAll, countAll])
    for (const hook of ['event', 'end'] as const)
      test(`${hook} of ${form().kind}`, async (t) => {
        const broken = () => ({ ...form(), [hook]: boom }) as AnswerForm
        const pool = await adapting(t, () => ({ path, body: streaming, answer: broken() }))
        await assert.rejects(ask(pool).then(({ status }) => assert.equal(status, 500)))
        await pool.request.get('/healthz').expect(200)
        for (const { inFlight } of pool.gateway.accounts()) assert.equal(inFlight, 0)
      })
})
