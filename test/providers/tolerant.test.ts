import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import type { UserConfig } from '../../config/config.js'
import { startPool, type TestPool } from '../kit/pool.js'

const BODY = { model: 'gpt-5.5', stream: true, input: [] }

/** A gateway with a provider of one's own, of which some functions are wrong, in front of the simulated OpenAI API. */
async function withMistakes(t: TestContext, mistakes: object): Promise<TestPool> {
  const config: UserConfig = {
    providers: {
      mine: {
        type: 'custom',
        upstream: 'http://127.0.0.1:1',
        authorize: ({ credential }) => ({ authorization: `Bearer ${credential.key}` }),
        ...mistakes,
      },
    },
    routes: [{ path: '/mine', provider: 'mine' }],
  }
  return startPool(t, {
    codexApiKeys: [{ id: 'openai' }],
    config,
    prepare: async ({ sim, poolDir }) => {
      const { OPENAI_API_KEY: key } = sim.codex.apiKeys[0]!.authJson()
      Object.assign(config.providers!['mine']!, { upstream: sim.environment['UPSTREAM_OPENAI_BASE'] })
      await writeFile(join(poolDir, 'mine_a.json'), JSON.stringify({ key }), { mode: 0o600 })
    },
  })
}

const boom = (): never => {
  throw new Error('boom')
}
const late = async () => boom()

for (const hook of ['usage', 'aliases', 'quota', 'classifyEvent', 'poolHeaders'])
  for (const [how, mistake] of Object.entries({ throws: boom, 'is async': late }))
    test(`a provider whose ${hook} ${how} still serves`, async (t) => {
      const pool = await withMistakes(t, { [hook]: mistake })
      await pool.request.post('/mine/responses').send(BODY).expect(200)
      assert.deepEqual(
        pool.gateway.accounts().map(({ inFlight }) => inFlight),
        pool.gateway.accounts().map(() => 0),
      )
    })

for (const hook of [
  'classify',
  'path',
  'conversation',
  'model',
  'serves',
  'replayable',
  'rewriteBody',
  'adapt',
  'answer',
  'merge',
])
  for (const [how, mistake] of Object.entries({ throws: boom, 'is async': late }))
    test(`a provider whose ${hook} ${how} fails its request, and nothing else`, async (t) => {
      const pool = await withMistakes(t, { [hook]: mistake })
      const method = hook === 'merge' ? 'get' : 'post'
      const { status, body } = await pool.request[method]('/mine/responses').send(
        method === 'get' ? undefined : BODY,
      )
      assert.deepEqual([status, body.error.code], [500, 'internal_error'])
      for (const { inFlight } of pool.gateway.accounts()) assert.equal(inFlight, 0)
      await pool.request.get('/healthz').expect(200)
    })

test('a provider whose failure throws is answered for in the usual form', async (t) => {
  const pool = await withMistakes(t, { failure: boom, authorize: boom })
  const { body } = await pool.request.post('/mine/responses').send(BODY).expect(400)
  assert.equal(body.error.code, 'login_required')
})

test('what authorize throws is told without anything of the credential', async (t) => {
  const authorize = ({ credential }: { credential: { key: string } }) => {
    throw new Error(`cannot use ${credential.key}`)
  }
  const pool = await withMistakes(t, { authorize })
  const { key } = { key: pool.sim.codex.apiKeys[0]!.authJson().OPENAI_API_KEY }
  const { text } = await pool.request.post('/mine/responses').send(BODY).expect(400)
  assert.match(text, /authorize failed: cannot use \[redacted\]/)
  for (const path of ['/healthz', '/admin/accounts'])
    assert.ok(!(await pool.request.get(path).expect(200)).text.includes(key))
})

const wrongHeaders: [what: string, returned: unknown, named: string][] = [
  ['a text', 'Bearer x', 'string'],
  ['a list', ['x', 'y'], 'a list'],
  ['nothing', undefined, 'undefined'],
  ['null', null, 'null'],
]
for (const [what, returned, named] of wrongHeaders)
  for (const [how, authorize] of Object.entries({ '': () => returned, ' in time': async () => returned }))
    test(`a provider whose authorize returns ${what}${how} sends nothing, and the answer says what came`, async (t) => {
      const pool = await withMistakes(t, { authorize })
      const { body } = await pool.request.post('/mine/responses').send(BODY).expect(500)
      assert.equal(body.error.code, 'provider_failed')
      assert.equal(
        body.error.message,
        `provider "mine": authorize must return headers, such as { authorization: 'Bearer …' }, not ${named}`,
      )
      assert.deepEqual(pool.sim.requests, [])
      assert.deepEqual(
        pool.gateway.accounts().map(({ state, inFlight }) => [state, inFlight]),
        pool.gateway.accounts().map(() => ['ready', 0]),
        'the account is not to blame',
      )
    })

test('a provider whose authorize returns undefined values only sends nothing, and the account says so', async (t) => {
  const pool = await withMistakes(t, { authorize: () => ({ 'api-key': undefined }) })
  const { text } = await pool.request.post('/mine/responses').send(BODY).expect(400)
  assert.match(text, /authorize gave no value for \\"api-key\\"/)
  assert.deepEqual(pool.sim.requests, [])
})

test('a provider that needs no headers may return none', async (t) => {
  const pool = await withMistakes(t, { authorize: () => ({}) })
  await pool.request.post('/mine/responses').send(BODY)
  assert.equal(pool.sim.requests.length, 1)
})

test('a file that its provider cannot read is skipped, and the others serve', async (t) => {
  const inspect = () => boom()
  const pool = await withMistakes(t, { inspect })
  const [skipped] = pool.gateway.skipped()
  assert.deepEqual([skipped?.file, /inspect failed: boom/.test(skipped?.reason ?? '')], ['mine_a.json', true])
  await pool.ask('s1').expect(200)
})
