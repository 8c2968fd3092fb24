import assert from 'node:assert/strict'
import { test } from 'node:test'
import { codeOf, startPool, type PoolOptions, type TestPool } from '../kit/pool.js'
import { faults } from '../../src/simulator/index.js'

const own = [
  { id: 'alice', models: ['gpt-5.5'] },
  { id: 'bob', models: ['gpt-6', 'gpt-5.5'] },
  { id: 'carol', models: ['gpt-5.5', 'gpt-7'] },
]
const PATH = '/codex/models'

async function list(pool: TestPool): Promise<string[]> {
  const { body } = await pool.request.get('/v1/models?client_version=0.169.0').expect(200)
  return body.models.map(({ slug }: { slug: string }) => slug)
}

const asked = (pool: TestPool) => pool.sim.requests.map(({ account }) => account).toSorted()

test('the list of models is what any account may use, each model once', async (t) => {
  const pool = await startPool(t, { codex: own })
  assert.deepEqual(await list(pool), ['gpt-6', 'gpt-5.5', 'gpt-7'])
  assert.deepEqual(asked(pool), ['alice', 'bob', 'carol'])
  for (const { url } of pool.sim.requests) assert.match(url, /\/models\?client_version=0\.169\.0$/)
})

test('the list keeps its etag while it stays the same', async (t) => {
  const pool = await startPool(t, { codex: own })
  const etag = async () => (await pool.request.get('/v1/models').expect(200)).get('etag')
  const first = await etag()
  assert.match(first ?? '', /^".+"$/)
  assert.equal(await etag(), first)
})

test('an empty list stands for all models, so the pool’s is empty too', async (t) => {
  const pool = await startPool(t, { codex: [...own, { id: 'dave' }] })
  assert.deepEqual(await list(pool), [])
})

const troubles: Record<string, Parameters<TestPool['sim']['fail']>[0]['with']> = {
  'is reset': 'reset',
  fails: faults.serverError(503),
  'is rate limited': faults.rateLimited(60),
  'is no JSON': { status: 200, body: '<html>' },
  'is in another form': { status: 200, body: { object: 'list', data: [] } },
  'breaks off': faults.cut(0),
  'never comes': 'hang',
}
for (const [trouble, fault] of Object.entries(troubles))
  test(`the list is that of the others while one account’s answer ${trouble}`, async (t) => {
    const pool = await startPool(t, { codex: own })
    pool.sim.fail({ account: 'bob', path: PATH, with: fault })
    assert.deepEqual(await list(pool), ['gpt-5.5', 'gpt-7'])
    for (const { inFlight } of pool.gateway.accounts()) assert.equal(inFlight, 0)
  })

test('a list that comes compressed is read', async (t) => {
  const pool = await startPool(t, { codex: own })
  pool.sim.fail({ account: 'bob', path: PATH, with: faults.gzip() })
  assert.deepEqual(await list(pool), ['gpt-6', 'gpt-5.5', 'gpt-7'])
})

test('an account whose token is refused is asked again with a new one', async (t) => {
  const pool = await startPool(t, { codex: own })
  pool.sim.fail({ account: 'bob', path: PATH, with: faults.unauthorized() })
  assert.deepEqual(await list(pool), ['gpt-6', 'gpt-5.5', 'gpt-7'])
})

test('models of an account that is exhausted stay on the list; one that is cooling is not asked', async (t) => {
  const pool = await startPool(t, { codex: own })
  pool.sim.account('bob').exhaust()
  pool.sim.fail({ account: 'carol', path: '/responses', with: faults.rateLimited(60) })
  for (const session of ['s1', 's2', 's3']) await pool.ask(session).expect(200)
  const states = Object.fromEntries(pool.gateway.accounts().map(({ id, state }) => [id, state]))
  assert.deepEqual(states, { alice: 'ready', bob: 'exhausted', carol: 'cooling' })
  const before = pool.sim.requests.length
  assert.deepEqual(await list(pool), ['gpt-6', 'gpt-5.5'])
  assert.equal(pool.sim.requests.length, before + 2)
  assert.equal(pool.gateway.accounts().find(({ id }) => id === 'bob')?.state, 'exhausted')
})

test('when nobody answers, the client hears why, as for any request', async (t) => {
  const pool = await startPool(t, { codex: own })
  pool.sim.fail({ path: PATH, with: faults.serverError(503), times: Infinity })
  const { body } = await pool.request.get('/v1/models').expect(503)
  assert.equal(codeOf(body), 'upstream_unavailable')
})

test('asking all for their models counts as no failover, and is nobody’s use', async (t) => {
  const pool = await startPool(t, { codex: own })
  await list(pool)
  const { text } = await pool.request.get('/metrics').expect(200)
  assert.match(text, /^codexpool_requests_total\{status="200"\} 1$/m)
  for (const id of ['alice', 'bob', 'carol'])
    assert.match(
      text,
      new RegExp(`^codexpool_account_requests_total\\{account="${id}",status="200"\\} 1$`, 'm'),
    )
  assert.doesNotMatch(text, /^codexpool_replays_total [1-9]/m)
})

const alone: PoolOptions = { codex: [{ id: 'alice', models: ['gpt-5.5'] }] }
test('the list of an only account comes as it is', async (t) => {
  const pool = await startPool(t, alone)
  assert.deepEqual(await list(pool), ['gpt-5.5'])
})
