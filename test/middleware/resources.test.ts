import assert from 'node:assert/strict'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type { UserConfig } from '../../src/index.js'
import { faults, type Fault, field } from '../../src/simulator/index.js'
import { codeOf, inOrder, startPool, type PoolOptions, type TestPool, until } from '../kit/pool.js'
import { EVENT_STREAM, frame, intercept } from '../kit/stream.js'
import { CODEX_BETA, connect, create, saidBy } from '../kit/websocket.js'

const keys: PoolOptions = { codexApiKeys: [{ id: 'alice' }, { id: 'bob' }], config: inOrder }

const before = new WeakMap<TestPool, number>()
/** Counts the requests so far no longer. */
const forget = (pool: TestPool) => void before.set(pool, pool.sim.requests.length)
/** The accounts that were asked, in order. */
const asked = (pool: TestPool) => pool.sim.requests.slice(before.get(pool)).map(({ account }) => account)

/** Has one account make a thing, as a call that this path creates with. alice is chosen first before and after. */
async function make(pool: TestPool, account: string, made: object, path = '/v1/files'): Promise<void> {
  pool.gateway.setDisabled('alice', account !== 'alice')
  pool.sim.fail({ account, with: { status: 200, body: made } })
  await pool.request.post(path).send({}).expect(200)
  pool.gateway.setDisabled('alice', false)
  forget(pool)
}

const using = (...file_ids: string[]) => ({
  model: 'gpt-5.5',
  input: [{ role: 'user', content: file_ids.map((file_id) => ({ type: 'input_file', file_id })) }],
})
const ask = (pool: TestPool, body: object) => pool.request.post('/v1/responses').send(body)
const unknown = (status: number, code: string | null = null): Fault => ({
  status,
  body: { error: { message: "No such File object: 'file-1'", type: 'invalid_request_error', code } },
})

test('an id goes home over a restart', async (t) => {
  const pool = await startPool(t, { ...keys, onDisk: true })
  await make(pool, 'bob', { id: 'file-1' })
  await pool.restart()
  await ask(pool, using('file-1')).expect(200)
  assert.deepEqual(asked(pool), ['bob'])
})

test('ids of a list are learnt', async (t) => {
  const pool = await startPool(t, keys)
  pool.gateway.setDisabled('alice', true)
  pool.sim.fail({
    with: { status: 200, body: { object: 'list', data: [{ id: 'file-1' }, { id: 'file-2' }] } },
  })
  await pool.request.get('/v1/files').expect(200)
  pool.gateway.setDisabled('alice', false)
  await ask(pool, using('file-1', 'file-2')).expect(200)
  assert.deepEqual(asked(pool), ['bob', 'bob'])
})

test('the id in the first event of a stream is learnt, though the client leaves before the end', async (t) => {
  const pool = await startPool(t, keys)
  pool.gateway.setDisabled('alice', true)
  const created = frame('response.created', { response: { id: 'resp_1', object: 'response', store: true } })
  const delta = frame('response.output_text.delta', { delta: 'hi' })
  void intercept(pool.sim, '/responses').then(({ response }) => {
    response.writeHead(200, EVENT_STREAM)
    response.write(created + delta)
  })
  const leaving = new AbortController()
  const answer = await fetch(`${pool.url}/v1/responses`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'gpt-5.5', input: 'hi', stream: true }),
    signal: leaving.signal,
  })
  await answer.body?.getReader().read()
  leaving.abort()
  await until(() => pool.gateway.accounts().every(({ inFlight }) => inFlight === 0))
  pool.gateway.setDisabled('alice', false)
  await pool.request.post('/v1/responses/resp_1/cancel')
  assert.deepEqual(asked(pool), ['bob', 'bob'])
})

test('two ids of two accounts are refused by name, and no account is asked', async (t) => {
  const pool = await startPool(t, keys)
  await make(pool, 'alice', { id: 'file-1' })
  await make(pool, 'bob', { id: 'file-2' })
  const { body } = await ask(pool, using('file-1', 'file-2')).expect(400)
  assert.equal(codeOf(body), 'resources_apart')
  assert.match(body.error.message, /"file-1" and "file-2" belong to two accounts/)
  assert.doesNotMatch(body.error.message, /alice|bob|sk-/)
  assert.deepEqual(asked(pool), [])
})

for (const [name, fault] of Object.entries({
  404: unknown(404),
  403: unknown(403),
  '403 that tells no reason': {
    status: 403,
    body: { error: { message: 'Forbidden', code: 'permission_denied' } },
  },
  '400 of a file': unknown(400),
}))
  for (const path of ['a generation', 'its own path'])
    test(`an unknown id that alice answers with ${name} is asked of bob, by ${path}; alice is not blamed`, async (t) => {
      if (name === '400 of a file' && path !== 'a generation') return
      const pool = await startPool(t, keys)
      pool.sim.fail({ account: 'alice', with: fault })
      pool.sim.fail({ account: 'bob', path: '/files/file-1', with: { status: 200, body: { id: 'file-1' } } })
      const call = () =>
        path === 'a generation' ? ask(pool, using('file-1')) : pool.request.get('/v1/files/file-1')
      await call().expect(200)
      assert.deepEqual(asked(pool), ['alice', 'bob'])
      assert.deepEqual((await pool.account('alice')).cooldowns, [])
      assert.equal((await pool.account('alice')).state, 'ready')
      // From now on it is known.
      if (path === 'a generation') await call().expect(200)
      assert.deepEqual(asked(pool).slice(2), path === 'a generation' ? ['bob'] : [])
    })

test('an id that no account knows is answered with the upstream’s own 404, once each was asked', async (t) => {
  const pool = await startPool(t, keys)
  pool.sim.fail({ with: unknown(404), times: Infinity })
  for (const call of [ask(pool, using('file-1')), pool.request.delete('/v1/files/file-1')]) {
    const { text } = await call.expect(404)
    assert.match(text, /No such File/)
  }
  assert.deepEqual(asked(pool), ['alice', 'bob', 'alice', 'bob'])
})

test('a response before that is unknown is asked of all, and then the client hears the code', async (t) => {
  const pool = await startPool(t, keys)
  pool.sim.fail({ with: unknown(400, 'previous_response_not_found'), times: Infinity })
  const { text } = await ask(pool, { model: 'gpt-5.5', previous_response_id: 'resp_1' }).expect(400)
  assert.match(text, /"previous_response_not_found"/)
  assert.deepEqual(asked(pool), ['alice', 'bob'])
})

test('a 404 of its own account is the answer: no other is asked', async (t) => {
  const pool = await startPool(t, keys)
  await make(pool, 'bob', { id: 'file-1' })
  pool.sim.fail({ account: 'bob', with: unknown(404) })
  await pool.request.get('/v1/files/file-1').expect(404)
  assert.deepEqual(asked(pool), ['bob'])
})

const homes: Record<
  string,
  { config?: UserConfig; happens: (pool: TestPool) => unknown; status: number; says: RegExp; header?: string }
> = {
  disabled: {
    happens: ({ gateway }) => gateway.setDisabled('bob', true),
    status: 400,
    says: /"file-1" belongs to the account bob, which is disabled: codex-pool enable bob/,
  },
  'cooling down': {
    happens: async (pool) => {
      pool.sim.fail({ account: 'bob', with: faults.rateLimited(20) })
      await ask(pool, using('file-1'))
    },
    status: 503,
    says: /the account that has "file-1" cannot take this request now/,
    header: 'retry-after',
  },
  exhausted: {
    happens: async (pool) => {
      pool.sim.fail({
        account: 'bob',
        with: {
          status: 429,
          body: { error: { code: 'insufficient_quota', message: 'You exceeded your current quota' } },
        },
      })
      await ask(pool, using('file-1'))
    },
    status: 429,
    says: /The account that has "file-1" has reached its usage limit/,
    header: 'x-should-retry',
  },
}
for (const [name, { happens, status, says, header }] of Object.entries(homes))
  test(`while the account of an id is ${name}, the client is told so, and no other account is asked`, async (t) => {
    const pool = await startPool(t, keys)
    await make(pool, 'bob', { id: 'file-1' })
    await happens(pool)
    forget(pool)
    const answer = await ask(pool, using('file-1')).expect(status)
    assert.match(field(answer.body, 'error', 'message') as string, says)
    if (header) assert.ok(answer.headers[header])
    assert.deepEqual(asked(pool), [])
    // Other requests go on.
    await ask(pool, { model: 'gpt-5.5', input: 'hi' }).expect(200)
    assert.deepEqual(asked(pool), ['alice'])
  })

test('a file can be read and removed while its account is exhausted', async (t) => {
  const pool = await startPool(t, keys)
  await make(pool, 'bob', { id: 'file-1' })
  await homes['exhausted']!.happens(pool)
  forget(pool)
  await pool.request.get('/v1/files/file-1')
  await pool.request.delete('/v1/files/file-1')
  assert.deepEqual(asked(pool), ['bob', 'bob'])
})

test('an id whose account has left the pool goes by the strategy', async (t) => {
  const pool = await startPool(t, { ...keys, onDisk: true })
  await make(pool, 'bob', { id: 'file-1' })
  await pool.restart(() => rm(pool.file('bob')))
  await ask(pool, using('file-1')).expect(200)
  assert.deepEqual(asked(pool), ['alice'])
})

test('an id of a key that is held back beside subscriptions is refused in words', async (t) => {
  const config: UserConfig = { providers: { codex: { type: 'codex', apiKeys: 'always' } } }
  const pool = await startPool(t, { ...keys, config, codex: [{ id: 'plan' }], asFile: true, onDisk: true })
  pool.gateway.setDisabled('plan', true)
  await make(pool, 'bob', { id: 'file-1' })
  pool.gateway.setDisabled('plan', false)
  const file = join(pool.dir, 'codex-pool.config.json')
  await pool.restart(async () => writeFile(file, (await readFile(file, 'utf8')).replace('always', 'never')))
  const { body } = await ask(pool, using('file-1')).expect(400)
  assert.equal(codeOf(body), 'resource_held_back')
  assert.match(body.error.message, /"file-1" belongs to the account bob, which is not used for this request/)
  assert.deepEqual(asked(pool), [])
})

test('an id of a key that is kept for what only it can serve goes to that key', async (t) => {
  const pool = await startPool(t, { ...keys, config: {}, codex: [{ id: 'plan' }] })
  pool.sim.fail({ with: { status: 200, body: { id: 'file-1' } } })
  await pool.request.post('/v1/files').send({}).expect(200)
  const [owner] = asked(pool)
  for (const path of ['/v1/responses', '/v1/chat/completions']) {
    const content = [{ type: 'file', file: { file_id: 'file-1' } }]
    const body = path.endsWith('responses') ? using('file-1') : { messages: [{ role: 'user', content }] }
    await pool.request
      .post(path)
      .send({ model: 'gpt-5.5', ...body })
      .expect(200)
  }
  const socket = await connect(`${pool.url}/v1/responses`, { headers: CODEX_BETA })
  await socket.ask(create('hi', using('file-1')))
  socket.raw.terminate()
  assert.deepEqual(asked(pool), [owner, owner, owner, 'plan', owner])
  await ask(pool, { model: 'gpt-5.5', input: 'hi' }).expect(200)
  assert.equal(asked(pool).at(-1), 'plan')
})

test('a home that does not take the form of a request says so, and no other account is asked', async (t) => {
  const pool = await startPool(t, { ...keys, config: {}, codex: [{ id: 'plan' }] })
  pool.sim.fail({ account: 'plan', with: { status: 200, body: { id: 'file-1' } } })
  await pool.request.post('/v1/files').set('originator', 'codex_cli_rs').send({}).expect(200)
  forget(pool)
  const background = { ...using('file-1'), background: true }
  const { body } = await ask(pool, background).expect(400)
  assert.equal(field(body, 'error', 'param'), 'background')
  assert.deepEqual(asked(pool), [])
  await ask(pool, { ...background, input: 'hi' }).expect(200)
  assert.deepEqual(asked(pool).length, 1, 'without the file, an API key takes it')
})

test('ids are learnt and found over WebSockets, and the turn goes to their account', async (t) => {
  const pool = await startPool(t, keys)
  pool.sim.reply(({ account }) => `I am ${account}.`)
  await make(pool, 'bob', { id: 'file-1' })
  const socket = await connect(`${pool.url}/v1/responses`)
  assert.equal(saidBy(await socket.ask(create('hi'))), 'I am alice.')
  assert.equal(saidBy(await socket.ask(create('hi', using('file-1')))), 'I am bob.')
  assert.equal(saidBy(await socket.ask(create('hi'))), 'I am bob.')
})

test('a stored response of a WebSocket is known by its id afterwards', async (t) => {
  const pool = await startPool(t, keys)
  pool.gateway.setDisabled('alice', true)
  const stored = (event: object) => ({
    ...event,
    response: { ...(field(event, 'response') as object), store: true },
  })
  pool.sim.fail({
    frame: true,
    with: { events: (events) => events.map((it) => ('response' in it ? stored(it) : it)) },
  })
  const socket = await connect(`${pool.url}/v1/responses`)
  const frames = await socket.ask(create('hi'))
  pool.gateway.setDisabled('alice', false)
  const id = field(frames.at(-1), 'response', 'id') as string
  forget(pool)
  await ask(pool, { model: 'gpt-5.5', previous_response_id: id })
  assert.deepEqual(asked(pool), ['bob'])
})

test('over WebSocket, ids of two accounts and an account that cannot serve are told, and the connection stays', async (t) => {
  const pool = await startPool(t, keys)
  await make(pool, 'alice', { id: 'file-1' })
  await make(pool, 'bob', { id: 'file-2' })
  const socket = await connect(`${pool.url}/v1/responses`)
  const error = async (body: object) => field((await socket.ask(create('hi', body))).at(-1), 'error')
  assert.equal(field(await error(using('file-1', 'file-2')), 'code'), 'resources_apart')
  pool.gateway.setDisabled('bob', true)
  assert.match(String(field(await error(using('file-2')), 'message')), /"file-2" belongs to the account bob/)
  assert.equal(field((await socket.ask(create('hi'))).at(-1), 'type'), 'response.completed')
})
