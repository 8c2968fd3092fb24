import assert from 'node:assert/strict'
import { describe, test, type TestContext } from 'node:test'
import { gzipSync } from 'node:zlib'
import { type Fault, field, geminiFaults, text } from '../../src/simulator/index.js'
import type { UserConfig } from '../../src/index.js'
import { clientHeaders, startPool, stopClock, type PoolOptions, type TestPool } from '../kit/pool.js'

const inOrder: UserConfig = {
  strategies: { 'in-order': (accounts) => accounts[0] },
  routes: ['/v1beta', '/upload/v1beta'].map((path) => ({
    path,
    provider: 'gemini-api-key',
    strategy: 'in-order',
  })),
}
const two: PoolOptions = { geminiApiKeys: [{ id: 'alice' }, { id: 'bob' }], config: inOrder }
const contents = [{ role: 'user', parts: [{ text: 'hi' }] }]
const generation = '/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse'

const generate = (pool: TestPool, body: object = {}, path = generation) =>
  pool.request.post(path).send({ contents, ...body })
/** The keys that were asked, in order. */
const asked = (pool: TestPool) =>
  pool.sim.requests.filter(({ method }) => method === 'POST').map(({ account }) => account)

const refusals = {
  'a plan': [geminiFaults.plan(400), /not available on the free tier/],
  'a country': [geminiFaults.country(), /location is not supported/],
  'billing that is off': [geminiFaults.billing(), /requires billing/],
  'prepaid credits that are spent': [geminiFaults.prepayment(429), /prepayment credits are depleted/],
  'an API that is off': [geminiFaults.disabled(), /has not been used in project/],
  'a leaked key': [geminiFaults.leaked(), /reported as leaked/],
} as const
const carriers = {
  'a status': (fault: (typeof refusals)['a plan'][0]): Fault => fault,
  'a list': geminiFaults.asList,
  'the first event of a 200': (fault: (typeof refusals)['a plan'][0]): Fault => geminiFaults.inStream(fault),
}

describe('what one key is refused is asked of another key', () => {
  for (const [what, [fault, sentence]] of Object.entries(refusals))
    for (const [carrier, carried] of Object.entries(carriers))
      test(`${what}, told by ${carrier}`, async (t) => {
        const pool = await startPool(t, two)
        pool.sim.fail({ account: 'alice', times: Infinity, with: carried(fault) })
        const first = await generate(pool).expect(200)
        assert.match(first.text, /STOP/)
        await generate(pool, { contents: [{ role: 'user', parts: [{ text: 'another' }] }] }).expect(200)
        assert.deepEqual(asked(pool), ['alice', 'bob', 'bob'])
        const { body } = await pool.request.get('/admin/accounts').expect(200)
        assert.match(JSON.stringify(body), sentence)
      })
})

test('a pool that no plan serves tells why in Google’s words: to the client, in health, and in explain', async (t) => {
  const pool = await startPool(t, two)
  pool.sim.fail({ times: Infinity, with: geminiFaults.prepayment(403) })
  for (const _ of [1, 2]) {
    const { body, headers } = await generate(pool).expect(429)
    assert.match(body.error.message, /Google says: "Your prepayment credits are depleted\."/)
    const id = headers['x-codex-pool-request-id']
    if (_ === 1) {
      const explained = await pool.request.get(`/admin/requests/${id}`)
      assert.match(JSON.stringify(explained.body), /prepayment credits are depleted/)
    }
  }
  assert.deepEqual(asked(pool), ['alice', 'bob'], 'a refused key is not asked at once again')
  const { body } = await pool.request.get('/healthz').expect(200)
  assert.match(body.problems.join(), /gemini_alice: is not served: out_of_credits: Your prepayment/)
})

describe('what a key has made stays with it', () => {
  /** Uploads as Google's library does: the second address is the one that the answer names. */
  async function upload(pool: TestPool, prefix = ''): Promise<string> {
    const begun = await pool.request
      .post(`${prefix}/upload/v1beta/files`)
      .set({ 'x-goog-upload-protocol': 'resumable', 'x-goog-upload-command': 'start' })
      .send({ file: { displayName: 'a' } })
      .expect(200)
    const address = begun.headers['x-goog-upload-url']!
    assert.ok(address.startsWith(`${pool.url}${prefix}/upload/v1beta/files?upload_id=`), address)
    const sent = await fetch(address, {
      method: 'POST',
      headers: { 'x-goog-upload-command': 'upload, finalize', 'x-goog-upload-offset': '0' },
      body: Buffer.from('{"not": json'),
    })
    const { file } = (await sent.json()) as { file: { uri: string } }
    return file.uri
  }
  const withFile = (fileUri: string) => ({
    contents: [{ role: 'user', parts: [{ text: 'hi' }, { fileData: { mimeType: 'text/plain', fileUri } }] }],
  })
  const names = (uri: string) => uri.slice(uri.indexOf('/v1beta/'))

  test('a file, over a restart and when another key is chosen first', async (t) => {
    const clock = stopClock(t)
    const pool = await startPool(t, { ...two, onDisk: true })
    pool.sim.fail({ account: 'alice', with: geminiFaults.rateLimited(2) })
    const uri = await upload(pool)
    clock.advance(60_000)
    await generate(pool).expect(200)
    assert.deepEqual(asked(pool), ['alice', 'bob', 'bob', 'alice'])
    await generate(pool, withFile(uri)).expect(200)
    await pool.restart()
    await generate(pool, withFile(uri)).expect(200)
    await pool.request.get(names(uri)).expect(200)
    await pool.request.delete(names(uri)).expect(200)
    const made = pool.sim.requests.slice(4).map(({ account }) => account)
    assert.deepEqual(made, ['bob', 'bob', 'bob', 'bob'])
  })

  test('an upload, whose address lets a client in that repeats no access key', async (t) => {
    const key = 'key-of-the-laptop-0123456789'
    const pool = await startPool(t, { ...two, config: { ...two.config, access: { keys: { laptop: key } } } })
    const begun = await pool.request
      .post('/upload/v1beta/files')
      .set({ 'x-goog-api-key': key, 'x-goog-upload-protocol': 'resumable', 'x-goog-upload-command': 'start' })
      .send({ file: { displayName: 'a' } })
      .expect(200)
    const address = begun.headers['x-goog-upload-url']!
    assert.ok(address.startsWith(`${pool.url}/k/${key}/upload/v1beta/files?upload_id=`), address)
    const sent = await fetch(address, {
      method: 'POST',
      headers: { 'x-goog-upload-command': 'upload, finalize', 'x-goog-upload-offset': '0' },
      body: 'content',
    })
    assert.equal(sent.status, 200)
  })

  test('a cached content', async (t) => {
    const clock = stopClock(t)
    const pool = await startPool(t, two)
    pool.sim.fail({ account: 'alice', with: geminiFaults.rateLimited(2) })
    const { body } = await pool.request.post('/v1beta/cachedContents').send({ contents }).expect(200)
    clock.advance(60_000)
    await generate(pool, { cachedContent: text(body, 'name') }).expect(200)
    assert.deepEqual(asked(pool), ['alice', 'bob', 'bob'])
  })

  test('a file of which the pool knows nothing is found, and its key is kept in mind', async (t) => {
    const pool = await startPool(t, two)
    const direct = await fetch(`${pool.sim.url}/v1beta/cachedContents`, {
      method: 'POST',
      headers: { 'x-goog-api-key': pool.sim.gemini.apiKeys[1]!.key, 'content-type': 'application/json' },
      body: JSON.stringify({ contents }),
    })
    const cachedContent = text(await direct.json(), 'name')
    for (const _ of [1, 2]) await generate(pool, { cachedContent }).expect(200)
    assert.deepEqual(asked(pool), ['bob', 'alice', 'bob', 'bob'])
    const { body } = await pool.request.get('/admin/accounts').expect(200)
    assert.deepEqual(field(body, 'accounts', 0, 'cooldowns'), [], 'the model was not refused')
  })

  test('while its key cools down, no other key is asked in vain', async (t) => {
    const pool = await startPool(t, two)
    const uri = await upload(pool)
    pool.sim.fail({ account: 'alice', with: geminiFaults.rateLimited(30) })
    const { body } = await generate(pool, withFile(uri)).expect(429)
    assert.equal(body.error.status, 'RESOURCE_EXHAUSTED')
    assert.deepEqual(asked(pool), ['alice', 'alice', 'alice'])
  })

  test('an upload goes on through the gateway with the access key of its path', async (t) => {
    const pool = await startPool(t, {
      ...two,
      config: { ...inOrder, access: { keys: { a: 'the-key-of-a-laptop' } } },
    })
    await upload(pool, '/k/the-key-of-a-laptop')
    assert.deepEqual(asked(pool), ['alice', 'alice'])
  })
})

describe('the OpenAI-compatible side of an API key', () => {
  const chat = (pool: TestPool, body: object = {}) =>
    pool.request.post('/v1beta/openai/chat/completions').send({
      model: 'gemini-2.5-pro',
      messages: [{ role: 'user', content: 'hi' }],
      ...body,
    })

  for (const stream of [false, true])
    test(`is a generation: it moves, stays, and is counted, ${stream ? 'as a stream' : 'as one answer'}`, async (t) => {
      const config = { routes: [{ path: '/v1beta', provider: 'gemini-api-key', strategy: 'sticky' }] }
      const pool = await startPool(t, { ...two, config })
      pool.sim.fail({ with: geminiFaults.asList(geminiFaults.quotaExhausted()) })
      await chat(pool, { stream }).expect(200)
      await chat(pool, { stream }).expect(200)
      const [refused, first, second] = asked(pool)
      assert.ok(refused !== first && first === second)
      const { body } = await pool.request.get('/admin/accounts').expect(200)
      const served = body.accounts.find(({ id }: { id: string }) => id === `gemini_${first}`)
      assert.match(JSON.stringify(served.usage), /[1-9]/)
    })

  test('is told what went wrong in OpenAI’s form', async (t) => {
    const pool = await startPool(t, two)
    pool.sim.fail({ times: Infinity, with: geminiFaults.asList(geminiFaults.prepayment(429)) })
    const { body } = await chat(pool).expect(429)
    assert.equal(typeof body.error.type, 'string')
  })
})

describe('a Gemini client whose base address leads elsewhere is told so, and its prompt goes nowhere', () => {
  const pools = (t: TestContext) => startPool(t, { ...two, codex: [{ id: 'carol' }], config: {} })
  for (const path of [
    '/v1/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse',
    '/v1/v1internal:streamGenerateContent?alt=sse',
    '/v1//v1internal:loadCodeAssist',
    '/v1/publishers/google/models/gemini-2.5-pro:streamGenerateContent',
    '/v1/upload/v1beta/files',
    '/v1beta/v1internal:streamGenerateContent',
  ])
    test(path, async (t) => {
      const pool = await pools(t)
      const { body } = await pool.request.post(path).send({ contents }).expect(400)
      assert.equal(field(body, 'error', 'details', 0, 'reason'), 'wrong_base_address')
      assert.match(body.error.message, /address/)
      assert.deepEqual(pool.sim.requests, [])
    })

  for (const [path, body] of [
    ['/v1/responses', { contents }],
    ['/v1/chat/completions', { model: 'gemini-2.5-pro', project: 'p', request: { contents } }],
    ['/v1/embeddings', { content: contents[0] }],
  ] as const)
    test(`${path} with the body of a Gemini request, plain or compressed`, async (t) => {
      const pool = await pools(t)
      const sent = pool.request.post(path)
      assert.equal(
        field((await sent.send(body).expect(400)).body, 'error', 'details', 0, 'reason'),
        'wrong_base_address',
      )
      const gzip = { 'content-encoding': 'gzip', 'content-type': 'application/json' }
      const zipped = await fetch(pool.url + path, {
        method: 'POST',
        headers: gzip,
        body: gzipSync(JSON.stringify(body)),
      })
      assert.equal(zipped.status, 400)
      assert.deepEqual(pool.sim.requests, [])
    })

  for (const headers of [{ 'session-id': 's' }, { ...clientHeaders(), 'session-id': 's' }])
    test(`the body of a Gemini request in a session, with ${Object.keys(headers).length} headers`, async (t) => {
      const pool = await pools(t)
      const { body } = await pool.request.post('/v1/responses').set(headers).send({ contents }).expect(400)
      assert.equal(field(body, 'error', 'details', 0, 'reason'), 'wrong_base_address')
      await pool.ask('s', { prompt: 'What does {"contents":[{"parts":[]}]} mean?' }).expect(200)
      assert.deepEqual(pool.asked(), ['carol'])
    })

  test('but for one that writes /v1beta twice: it is served', async (t) => {
    const pool = await pools(t)
    await generate(pool, {}, `/v1beta${generation}`).expect(200)
  })
})

describe('the project of a Code Assist account', () => {
  const path = '/v1internal:streamGenerateContent?alt=sse'
  const body = { model: 'gemini-2.5-pro', project: 'codex-pool', request: { contents, session_id: 's' } }

  test('is looked for again when Google refuses the one that was found', async (t) => {
    const pool = await startPool(t, { gemini: [{ id: 'alice' }] })
    await pool.request.post(path).send(body).expect(200)
    pool.sim.fail({
      path: ':streamGenerateContent',
      with: {
        status: 403,
        headers: { 'content-type': 'application/json' },
        body: {
          error: {
            code: 403,
            message: 'Permission denied on resource project gone.',
            status: 'PERMISSION_DENIED',
          },
        },
      },
    })
    await pool.request.post(path).send(body)
    const found = pool.sim.requests.filter((it) => it.path.endsWith(':loadCodeAssist'))
    assert.equal(found.length, 2)
    await pool.request.post(path).send(body).expect(200)
  })
})

describe('a stream of Gemini that is one growing list', () => {
  const list = '/v1beta/models/gemini-2.5-pro:streamGenerateContent'

  test('is counted', async (t) => {
    const pool = await startPool(t, two)
    pool.sim.reply(() => ({ items: [{ text: 'so' }], usage: { input: 70, output: 7 } }))
    await generate(pool, {}, list).expect(200)
    const { body } = await pool.request.get('/admin/accounts').expect(200)
    assert.match(JSON.stringify(field(body, 'accounts', 0, 'usage')), /70/)
  })

  test('moves when it begins with a refusal', async (t) => {
    const pool = await startPool(t, two)
    pool.sim.fail({ account: 'alice', with: geminiFaults.inStream(geminiFaults.prepayment(429)) })
    const { text: answer } = await generate(pool, {}, list).expect(200)
    assert.match(answer, /^\[/)
    assert.deepEqual(asked(pool), ['alice', 'bob'])
  })
})
