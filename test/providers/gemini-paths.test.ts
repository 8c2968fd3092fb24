import assert from 'node:assert/strict'
import { describe, test, type TestContext } from 'node:test'
import { geminiFaults, text } from '../../src/simulator/index.js'
import type { UserConfig } from '../../src/index.js'
import { startPool, type TestPool } from '../kit/pool.js'

/** As Google's libraries send it. */
const LIBRARY = { 'x-goog-api-key': 'unused', 'x-goog-api-client': 'google-genai-sdk/3.3.0 gl-node/v20.20.2' }
const contents = [{ role: 'user', parts: [{ text: 'hi' }] }]
const MODEL = 'gemini-2.5-pro'

const mixed = (t: TestContext, config: UserConfig = {}) =>
  startPool(t, {
    codex: [{ id: 'carol' }],
    codexApiKeys: [{ id: 'key' }],
    geminiApiKeys: [{ id: 'alice' }, { id: 'bob' }],
    config,
  })
/** Which kinds of upstream were asked, in order. */
const kinds = ({ sim }: TestPool) => sim.requests.map(({ kind }) => kind)

describe('a request that is the Gemini API’s by its path goes to Gemini keys, whatever its version', () => {
  const rows: [method: 'post' | 'get', path: string, body?: object][] = [
    ['post', `/v1/models/${MODEL}:generateContent`, { contents }],
    ['post', `/v1/models/${MODEL}:streamGenerateContent?alt=sse`, { contents }],
    ['post', `/v1/models/${MODEL}:countTokens`, { contents }],
    ['post', `/v1/models/${MODEL}:embedContent`, { content: contents[0] }],
    ['post', `/v1/models/${MODEL}:batchEmbedContents`, { requests: [{ content: contents[0] }] }],
    ['post', `/v1/models/${MODEL}:batchGenerateContent`, { batch: {} }],
    ['post', `/v1//models/${MODEL}:generateContent`, { contents }],
    ['post', `/v1alpha/models/${MODEL}:generateContent`, { contents }],
    ['post', '/v1alpha/auth_tokens', {}],
    ['post', '/v1/cachedContents', { contents }],
    ['get', '/v1/cachedContents/abc'],
    ['get', '/v1/operations/abc'],
    ['get', `/v1/models/${MODEL}/operations/abc`],
    ['get', '/v1/fileSearchStores'],
    ['get', '/v1/files/abc:download?alt=media'],
    ['get', '/download/v1beta/files/abc:download?alt=media'],
    ['post', '/v1/openai/chat/completions', { model: MODEL, messages: [{ role: 'user', content: 'hi' }] }],
  ]
  for (const [method, path, body] of rows)
    test(`${method} ${path}`, async (t) => {
      const pool = await mixed(t)
      await pool.request[method](path).send(body)
      assert.match(kinds(pool).join(), /^gemini-(api|openai)(,gemini-(api|openai))*$/)
      const [first] = pool.sim.requests
      const compatible = first!.kind === 'gemini-openai'
      const { key } = pool.sim.gemini.apiKeys.find(({ id }) => id === first!.account)!
      assert.equal(first!.headers['x-goog-api-key'], compatible ? undefined : key)
      assert.equal(first!.headers.authorization, compatible ? `Bearer ${key}` : undefined)
    })
})

describe('where both APIs have a path, a header of Google’s library decides', () => {
  const paths = ['/v1/models', `/v1/models/${MODEL}`, '/v1/files', '/v1/files/abc', '/v1/batches/abc']
  for (const path of paths)
    test(path, async (t) => {
      const pool = await mixed(t)
      for (const name of ['x-goog-api-key', 'x-goog-api-client'] as const)
        await pool.request.get(path).set(name, LIBRARY[name])
      const gemini = kinds(pool).length
      assert.deepEqual(new Set(kinds(pool)), new Set(['gemini-api']))
      await pool.request.get(path)
      assert.doesNotMatch(kinds(pool).slice(gemini).join(), /gemini|^$/)
    })

  test('and an OpenAI path stays OpenAI’s with such a header: its prompt is not for Google', async (t) => {
    const pool = await mixed(t)
    await pool.ask(undefined, { headers: LIBRARY }).expect(200)
    await pool.request.post('/v1/embeddings').set(LIBRARY).send({ model: 'e', input: 'hi' })
    assert.deepEqual(kinds(pool), ['codex', 'openai'])
  })

  test('and a fine-tuned model’s name has colons and is OpenAI’s', async (t) => {
    const pool = await mixed(t)
    await pool.request.get('/v1/models/ft:gpt-4o:acme:mine:abc')
    await pool.request.delete('/v1/models/ft:gpt-4o:acme:mine')
    assert.doesNotMatch(kinds(pool).join(), /gemini|^$/)
  })
})

describe('two providers share a path', () => {
  const own: UserConfig['routes'] = [{ path: '/v1', provider: 'codex', strategy: 'round-robin' }]

  test('also where the path’s route is the user’s own', async (t) => {
    const pool = await mixed(t, { routes: own })
    await pool.request.post(`/v1/models/${MODEL}:generateContent`).send({ contents }).expect(200)
    await pool.ask('s').expect(200)
    assert.deepEqual(kinds(pool), ['gemini-api', 'codex'])
  })

  test('also where both routes are', async (t) => {
    const routes = [
      ...own,
      { path: '/v1', provider: 'gemini-api-key' as const, strategy: 'round-robin' as const },
    ]
    const pool = await mixed(t, { routes, builtinRoutes: false })
    await pool.request.post(`/v1/models/${MODEL}:generateContent`).send({ contents }).expect(200)
    await pool.ask('s').expect(200)
    assert.deepEqual(kinds(pool), ['gemini-api', 'codex'])
  })

  test('but not with a provider that takes everything: the user has said where it goes', async (t) => {
    const pool = await startPool(t, {
      geminiApiKeys: [{ id: 'alice' }],
      prepare: ({ sim }) => void sim,
      config: {
        providers: { mine: { type: 'bearer', upstream: 'http://127.0.0.1:9' } },
        routes: [{ path: '/v1', provider: 'mine' }],
      },
    })
    await pool.request.post(`/v1/models/${MODEL}:generateContent`).send({ contents }).expect(400)
    assert.deepEqual(kinds(pool), [])
  })

  test('without Gemini in the configuration its prompt goes nowhere', async (t) => {
    const pool = await startPool(t, {
      codex: [{ id: 'carol' }],
      config: { providers: { 'gemini-api-key': false } },
    })
    const { body } = await pool.request
      .post(`/v1/models/${MODEL}:generateContent`)
      .send({ contents })
      .expect(400)
    assert.equal(body.error.details[0].reason, 'wrong_base_address')
    assert.deepEqual(kinds(pool), [])
  })
})

test('a call of v1 fails over like one of v1beta', async (t) => {
  const pool = await mixed(t)
  pool.sim.fail({ with: geminiFaults.quotaExhausted() })
  await pool.request.post(`/v1/models/${MODEL}:generateContent`).set(LIBRARY).send({ contents }).expect(200)
  assert.equal(new Set(pool.sim.requests.map(({ account }) => account)).size, 2)
})

describe('a resumable upload', () => {
  const START = { 'x-goog-upload-protocol': 'resumable', 'x-goog-upload-command': 'start' }

  for (const version of ['v1', 'v1beta', 'v1alpha'])
    test(`of ${version} comes back through the gateway, part for part, to the account that began it`, async (t) => {
      const pool = await mixed(t)
      const named = { file: { displayName: 'a' } }
      const addresses = []
      for (const _ of [1, 2]) {
        const begun = await pool.request
          .post(`/upload/${version}/files`)
          .set({ ...LIBRARY, ...START })
          .send(named)
        addresses.push(begun.headers['x-goog-upload-url']!)
      }
      for (const address of addresses) {
        const { origin, searchParams } = new URL(address)
        assert.equal(origin, pool.url)
        assert.deepEqual([...searchParams.keys()], ['upload_id', 'upload_protocol'])
        const part = async (command: string, offset: number, body: string) =>
          fetch(address, {
            method: 'POST',
            headers: { 'x-goog-upload-command': command, 'x-goog-upload-offset': String(offset) },
            body,
          })
        assert.equal((await part('upload', 0, 'one ')).headers.get('x-goog-upload-status'), 'active')
        const end = await part('upload, finalize', 4, 'two')
        const { file } = (await end.json()) as { file: { name: string } }
        const { text: bytes } = await pool.request.get(`/download/${version}/${file.name}:download?alt=media`)
        assert.equal(bytes, 'one two')
        const asked = pool.sim.requests.slice(-3).map(({ account }) => account)
        assert.equal(new Set(asked).size, 1)
      }
    })

  const answered = async (t: TestContext, url: string) => {
    const pool = await mixed(t)
    const headers = { 'x-goog-upload-url': url.replace('UPSTREAM', pool.sim.url) }
    pool.sim.fail({ with: { status: 200, headers, body: '' } })
    const { headers: got } = await pool.request.post('/upload/v1beta/files').set(START).send({})
    return got['x-goog-upload-url']?.replace(pool.url, 'GATEWAY')
  }

  test('is told an address without a key', async (t) => {
    const url = await answered(t, 'UPSTREAM/upload/v1beta/files?key=AIza&upload_id=x&a=b')
    assert.equal(url, 'GATEWAY/upload/v1beta/files?upload_id=x&a=b')
  })

  test('is told the address of another host as it is', async (t) => {
    const url = 'https://elsewhere.example/upload/v1beta/files?upload_id=x'
    assert.equal(await answered(t, url), url)
  })
})

test('a file of one key is named under another version, and goes to its key', async (t) => {
  const pool = await mixed(t)
  const { body } = await pool.request.post('/v1/cachedContents').send({ contents }).expect(200)
  const made = pool.sim.requests.at(-1)!.account
  for (const _ of [1, 2, 3]) {
    const path = `/v1beta/models/${MODEL}:generateContent`
    await pool.request
      .post(path)
      .send({ contents, cachedContent: text(body, 'name') })
      .expect(200)
    assert.equal(pool.sim.requests.at(-1)!.account, made)
  }
})
