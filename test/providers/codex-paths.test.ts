import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, test, type TestContext } from 'node:test'
import type { CodexSettings } from '../../config/provider-entry.js'
import type { UserConfig } from '../../src/index.js'
import { clientHeaders, startPool, type TestPool } from '../kit/pool.js'

const withKeys = (apiKeys?: CodexSettings['apiKeys']): UserConfig =>
  apiKeys === undefined ? {} : { providers: { codex: { type: 'codex', apiKeys } } }
const mixed = (t: TestContext, apiKeys?: CodexSettings['apiKeys']) =>
  startPool(t, { codex: [{ id: 'zoe' }], codexApiKeys: [{ id: 'key' }], config: withKeys(apiKeys) })
const twoKeys = (t: TestContext) =>
  startPool(t, {
    codexApiKeys: [{ id: 'alice' }, { id: 'bob' }],
    config: {
      strategies: { 'in-order': (accounts) => accounts[0] },
      routes: [{ path: '/v1', provider: 'codex', strategy: 'in-order' }],
    },
  })
const asked = ({ sim }: TestPool) => sim.requests.map(({ account }) => account)

/** Paths of OpenAI's public API that the ChatGPT backend does not have. */
const keysOnly: [method: 'get' | 'post' | 'delete', path: string][] = [
  ['post', '/v1/embeddings'],
  ['post', '/v1/completions'],
  ['post', '/v1/moderations'],
  ['post', '/v1/audio/transcriptions'],
  ['post', '/v1/audio/speech'],
  ['post', '/v1/images/generations'],
  ['post', '/v1/images/edits'],
  ['post', '/v1/files'],
  ['get', '/v1/files/file-1/content'],
  ['post', '/v1/uploads'],
  ['post', '/v1/batches'],
  ['post', '/v1/vector_stores'],
  ['post', '/v1/conversations'],
  ['post', '/v1/realtime/client_secrets'],
  ['post', '/v1/realtime/sessions'],
  ['post', '/v1/realtime/calls'],
  ['post', '/v1/videos'],
  ['post', '/v1/responses/input_tokens'],
  ['get', '/v1/responses/resp_1'],
  ['post', '/v1/responses/resp_1/cancel'],
  ['delete', '/v1/responses/resp_1'],
]
const failing = (status: number) => ({ status, body: { error: { message: 'Not now.', type: 'api_error' } } })
const served = { status: 200, body: { object: 'thing' } }

describe('a path that only API keys have goes to an API key, also beside ChatGPT accounts', () => {
  for (const [method, path] of keysOnly)
    test(`${method} ${path}`, async (t) => {
      const pool = await mixed(t)
      pool.sim.fail({ with: served })
      await pool.request[method](path).send({ model: 'm', input: 'hi' }).expect(200)
      assert.deepEqual(asked(pool), ['key'])
    })

  for (const apiKeys of ['when-needed', 'when-exhausted', 'always'] as const)
    test(`with apiKeys: '${apiKeys}'`, async (t) => {
      const pool = await mixed(t, apiKeys)
      pool.sim.fail({ with: served })
      await pool.request.post('/v1/embeddings').send({ model: 'm', input: 'hi' }).expect(200)
      assert.deepEqual(asked(pool), ['key'])
    })

  test("but with apiKeys: 'never' the client hears which setting keeps the key out", async (t) => {
    const pool = await mixed(t, 'never')
    const { body } = await pool.request.post('/v1/embeddings').send({ model: 'm', input: 'hi' }).expect(400)
    assert.equal(body.error.code, 'no_accounts')
    assert.match(body.error.message, /providers\.codex\.apiKeys/)
    assert.deepEqual(asked(pool), [])
  })
})

test('Codex’s own turns, models, search, images and compaction stay with ChatGPT accounts', async (t) => {
  const pool = await mixed(t)
  const codexs = { ...clientHeaders(), 'x-codex-turn-metadata': '{"session_id":"s"}' }
  for (const path of ['responses', 'responses/compact', 'alpha/search', 'images/generations'])
    await pool.request.post(`/v1/${path}`).set(codexs).send({ model: 'gpt-5.5', input: [] })
  await pool.request.get('/v1/models?client_version=1').set(codexs)
  assert.deepEqual(new Set(asked(pool)), new Set(['zoe']))
})

test('a pool of ChatGPT accounts says which kind of account could serve a path, and nothing is sent', async (t) => {
  const pool = await startPool(t, { codex: [{ id: 'zoe' }] })
  for (const path of ['embeddings', 'files', 'audio/transcriptions', 'images/generations']) {
    const { body } = await pool.request.post(`/v1/${path}`).send({ model: 'm' }).expect(400)
    assert.equal(body.error.code, 'no_accounts')
    assert.match(body.error.message, /OpenAI API keys.*codex-pool add/)
  }
  assert.deepEqual(asked(pool), [])
})

test('a pool of API keys says that a path of the ChatGPT backend needs a ChatGPT account', async (t) => {
  const pool = await startPool(t, { codexApiKeys: [{ id: 'key' }] })
  const { body } = await pool.request.get('/backend-api/wham/settings/user').expect(400)
  assert.match(body.error.message, /ChatGPT accounts.*codex-pool login/)
})

describe('a generation fails over', () => {
  const generations = [
    'chat/completions',
    'completions',
    'embeddings',
    'moderations',
    'audio/transcriptions',
    'audio/translations',
    'audio/speech',
    'images/generations',
    'images/variations',
    'responses/input_tokens',
  ]
  for (const path of generations)
    test(`${path}, after a limit and after an upstream’s trouble`, async (t) => {
      for (const fault of [failing(429), 'reset' as const, failing(500)]) {
        const pool = await twoKeys(t)
        pool.sim.fail({ with: fault })
        pool.sim.fail({ with: served })
        await pool.request.post(`/v1/${path}`).send({ model: 'm', input: 'hi' }).expect(200)
        assert.deepEqual(asked(pool), ['alice', 'bob'])
      }
    })

  test('a call that makes something is not made twice', async (t) => {
    const pool = await twoKeys(t)
    for (const path of ['files', 'batches', 'vector_stores', 'realtime/calls', 'fine_tuning/jobs']) {
      const before = asked(pool).length
      pool.sim.fail({ with: 'reset' })
      await pool.request.post(`/v1/${path}`).send({ model: 'm' }).expect(502)
      assert.equal(asked(pool).length - before, 1, path)
    }
  })

  test('a transcription is replayed byte for byte', async (t) => {
    const pool = await twoKeys(t)
    pool.sim.fail({ with: failing(429) })
    pool.sim.fail({ with: served })
    // Beyond what is parsed at once, and full of commas and brackets.
    const audio = Buffer.concat([randomBytes(5_000_000), Buffer.alloc(2_000_000, '[1,')])
    await pool.request
      .post('/v1/audio/transcriptions')
      .field('model', 'whisper-1')
      .attach('file', audio, { filename: 'a.wav', contentType: 'audio/wav' })
      .expect(200)
    const [first, second] = pool.sim.requests
    assert.deepEqual(asked(pool), ['alice', 'bob'])
    assert.ok(first!.raw.equals(second!.raw) && first!.raw.includes(audio))
    assert.equal(first!.headers['content-type'], second!.headers['content-type'])
  })

  test('a stream of chat chunks moves before its first words, and reaches the client as it comes after', async (t) => {
    const pool = await twoKeys(t)
    const chunk = (delta: object) =>
      `data: ${JSON.stringify({ id: 'c', choices: [{ index: 0, delta }] })}\n\n`
    const begun = chunk({ role: 'assistant', content: '' })
    const refusal = `data: ${JSON.stringify({ error: { type: 'insufficient_quota', code: 'insufficient_quota' } })}\n\n`
    const stream = (text: string) => ({
      with: (_: unknown, response: import('node:http').ServerResponse) =>
        void response.writeHead(200, { 'content-type': 'text/event-stream' }).end(text),
    })
    pool.sim.fail(stream(begun + refusal))
    const whole = begun + chunk({ content: 'Hello' }) + 'data: [DONE]\n\n'
    pool.sim.fail(stream(whole))
    const ask = { model: 'm', stream: true, messages: [] }
    const { text } = await pool.request.post('/v1/chat/completions').send(ask).expect(200)
    assert.equal(text, whole)
    assert.deepEqual(asked(pool), ['alice', 'bob'])
  })
})
