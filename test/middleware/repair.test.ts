import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import type { UserConfig } from '../../src/index.js'
import { faults, field, list, text, type Fault, type SimRequest } from '../../src/simulator/index.js'
import { eventsOf, inOrder, saidIn, startPool, turn, type PoolOptions, type TestPool } from '../kit/pool.js'
import { drain, open } from '../kit/stream.js'
import { zstdOf } from '../kit/zstd.js'

const two: PoolOptions = { codex: [{ id: 'alice' }, { id: 'bob' }], config: inOrder, strictHistory: true }
const question = (text: string) => ({
  type: 'message',
  role: 'user',
  content: [{ type: 'input_text', text }],
})
const reasoning = { type: 'reasoning', id: 'rs_1', summary: [], encrypted_content: 'enc-alice-1' }
const call = { type: 'function_call', call_id: 'c1', name: 'shell', arguments: '{}' }
const output = { type: 'function_call_output', call_id: 'c1', output: 'done' }
/** A conversation that alice has begun. */
const history = { ...turn(), input: [question('hi'), reasoning, call, output, question('go on')] }
const kept = history.input.filter((item) => item !== reasoning)

const asked = (pool: TestPool): SimRequest[] => pool.sim.requests.filter(({ kind }) => kind === 'codex')

test('a conversation that moves leaves behind what only its first account can read', async (t) => {
  const pool = await startPool(t, two)
  pool.sim.account('alice').exhaust()
  const { text } = await pool.ask('s1', { body: history }).expect(200)
  assert.equal(saidIn(text), 'Hello from the simulator.')
  assert.deepEqual(pool.asked(), ['alice', 'bob', 'bob'])
  const [, before, after] = asked(pool)
  assert.deepEqual(before?.json, history)
  assert.deepEqual(after?.json, { ...history, input: kept }, 'all else is as it was')
  assert.equal((await pool.account('bob')).state, 'ready')
})

const MESSAGE = 'The encrypted content for item rs_1 could not be verified.'
const error = (error: object): Fault => ({
  status: 400,
  headers: { 'content-type': 'application/json' },
  body: { error },
})
const forms: Record<string, Fault> = {
  'a 400 with the code': error({ message: MESSAGE, code: 'invalid_encrypted_content' }),
  'a 400 with the type': error({ message: 'no', type: 'invalid_encrypted_content' }),
  'a 400 that says it in words': error({ message: `${MESSAGE} Reason: it could not be decrypted.` }),
  'the first event of a stream': faults.failed('invalid_encrypted_content', MESSAGE),
  'an error event': faults.errorEvent('invalid_encrypted_content', MESSAGE),
}
for (const [name, fault] of Object.entries(forms))
  test(`what an account cannot read is taken out, and it is asked again, told by ${name}`, async (t) => {
    const pool = await startPool(t, { ...two, strictHistory: false })
    pool.sim.fail({ with: fault })
    const { text } = await pool.ask('s1', { body: history }).expect(200)
    assert.equal(saidIn(text), 'Hello from the simulator.')
    assert.deepEqual(pool.asked(), ['alice', 'alice'])
    assert.deepEqual(field(asked(pool)[1]?.json, 'input'), kept)
  })

const packings = { zstd: zstdOf, gzip: gzipSync } as const
for (const [encoding, pack] of Object.entries(packings))
  test(`a compressed body is repaired, too, and then sent as it is: ${encoding}`, async (t) => {
    const pool = await startPool(t, { ...two, strictHistory: false })
    pool.sim.fail({ with: forms['a 400 with the code']! })
    const body = pack(JSON.stringify(history))
    const headers = { 'session-id': 's1', 'content-encoding': encoding }
    const answer = await open(pool, { body, headers })
    assert.match(String((await drain(answer)).bytes), /response\.completed/)
    const [before, after] = asked(pool)
    assert.ok(before?.raw.equals(body))
    assert.deepEqual(
      [after?.encoding, after?.headers['content-length']],
      [undefined, String(after?.raw.length)],
    )
    assert.deepEqual(field(after?.json, 'input'), kept)
  })

/** A conversation of which only an encrypted summary is left. */
const compacted = {
  ...turn(),
  input: [{ type: 'compaction', id: 'cmp_1', encrypted_content: 'enc-alice-2' }, question('go on')],
}
const inSecondWindow = { 'x-codex-window-id': 's1:1' }

test('a summary that only its first account can read keeps the conversation there while it is merely cooling', async (t) => {
  const pool = await startPool(t, two)
  await pool.ask('s1').expect(200)
  pool.sim.fail({ account: 'alice', path: '/responses', with: faults.rateLimited(20) })
  const { headers } = await pool.ask('s1', { body: compacted, headers: inSecondWindow }).expect(503)
  assert.equal(headers['retry-after'], '20')
  assert.deepEqual(pool.asked(), ['alice', 'alice'])
  assert.equal(await pool.servedBy('s2'), 'bob')
})

test('once that account cannot serve at all, the client is told to make a new summary, and gets it', async (t) => {
  const pool = await startPool(t, two)
  await pool.ask('s1').expect(200)
  pool.sim.account('alice').exhaust()
  const told = await pool.ask('s1', { body: compacted, headers: inSecondWindow }).expect(200)
  assert.match(told.headers['content-type'] ?? '', /^text\/event-stream/)
  const [event] = eventsOf(told.text)
  assert.equal(field(event, 'type'), 'response.failed')
  assert.equal(field(event, 'response', 'error', 'code'), 'context_length_exceeded')
  assert.equal((await pool.account('bob')).state, 'ready')
  const anew = { ...compacted, input: [...compacted.input, { type: 'compaction_trigger' }] }
  await pool.ask('s1', { body: anew, headers: inSecondWindow }).expect(200)
  const sent = list(asked(pool).at(-1)?.json, 'input')
  assert.ok(!JSON.stringify(sent).includes('enc-alice'))
  assert.equal(field(sent.at(-1), 'type'), 'compaction_trigger')
})

test('that is done once: what comes then is the client’s', async (t) => {
  const pool = await startPool(t, { ...two, strictHistory: false })
  pool.sim.fail({ times: Infinity, with: forms['a 400 with the code']! })
  const { body } = await pool.ask('s1', { body: history }).expect(400)
  assert.equal(body.error.code, 'invalid_encrypted_content')
  assert.deepEqual(pool.asked(), ['alice', 'alice'])
})

test('a request in which there is nothing to take out is not sent again', async (t) => {
  const pool = await startPool(t, { ...two, strictHistory: false })
  pool.sim.fail({ with: forms['a 400 with the code']! })
  await pool.ask('s1').expect(400)
  assert.deepEqual(pool.asked(), ['alice'])
})

test('with attempts: 1 nothing is repaired', async (t) => {
  const pool = await startPool(t, { ...two, config: { ...inOrder, retry: { default: { attempts: 1 } } } })
  pool.sim.fail({ with: forms['a 400 with the code']! })
  await pool.ask('s1', { body: history }).expect(400)
  assert.deepEqual(pool.asked(), ['alice'])
})

test('previous_response_not_found reaches the client as it is: it then sends everything itself', async (t) => {
  const pool = await startPool(t, two)
  const refusal = {
    message: "Previous response with id 'resp_1' not found.",
    type: 'invalid_request_error',
    param: 'previous_response_id',
    code: 'previous_response_not_found',
  }
  pool.sim.fail({ with: error(refusal) })
  const { body } = await pool.ask('s1', { body: { previous_response_id: 'resp_1' } }).expect(400)
  assert.deepEqual(body, { error: refusal })
  assert.deepEqual(pool.asked(), ['alice'])
})

const geminiInOrder: UserConfig = {
  strategies: { 'in-order': (accounts) => accounts[0] },
  routes: [
    { path: '/v1internal:', provider: 'gemini', strategy: 'in-order' },
    { path: '/v1beta', provider: 'gemini-api-key', strategy: 'in-order' },
  ],
}
const contents = [
  { role: 'user', parts: [{ text: 'hi' }] },
  {
    role: 'model',
    parts: [
      { functionCall: { name: 'shell', args: {} }, thoughtSignature: 'signed-by-another' },
      { text: 'so' },
    ],
  },
  { role: 'user', parts: [{ text: 'go on' }] },
]
const corrupted: Fault = {
  status: 400,
  headers: { 'content-type': 'application/json' },
  body: { error: { code: 400, message: 'Corrupted thought signature.', status: 'INVALID_ARGUMENT' } },
}
const geminis = {
  'Code Assist': {
    path: '/v1internal:streamGenerateContent?alt=sse',
    body: { model: 'gemini-2.5-pro', project: 'codex-pool', request: { contents, session_id: 's1' } },
    contentsOf: (request: SimRequest | undefined) => list(request?.json, 'request', 'contents'),
  },
  'the Gemini API': {
    path: '/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse',
    body: { contents },
    contentsOf: (request: SimRequest | undefined) => list(request?.json, 'contents'),
  },
}
for (const [name, { path, body, contentsOf }] of Object.entries(geminis))
  test(`a thought signature that an account does not know is replaced, once: ${name}`, async (t) => {
    const pool = await startPool(t, {
      gemini: [{ id: 'g1' }, { id: 'g2' }],
      geminiApiKeys: [{ id: 'k1' }, { id: 'k2' }],
      config: geminiInOrder,
    })
    pool.sim.fail({ path: ':streamGenerateContent', with: corrupted })
    await pool.request.post(path).send(body).expect(200)
    const [before, after, ...more] = pool.sim.requests.filter(({ path }) =>
      path.endsWith(':streamGenerateContent'),
    )
    assert.deepEqual(more, [])
    assert.equal(after?.account, before?.account)
    const [parts] = [list(contentsOf(after)[1], 'parts')]
    assert.equal(text(parts[0], 'thoughtSignature'), 'skip_thought_signature_validator')
    assert.deepEqual(parts[1], { text: 'so' })
    assert.deepEqual(contentsOf(after)[0], contents[0])
  })

test('a Gemini conversation that moves goes on with another account', async (t) => {
  const pool = await startPool(t, {
    gemini: [{ id: 'g1' }, { id: 'g2' }],
    config: geminiInOrder,
    strictHistory: true,
  })
  const { path, body } = geminis['Code Assist']
  const ask = (...more: unknown[]) => {
    const request = { ...body.request, contents: [contents[0], ...more] }
    return pool.request
      .post(path)
      .send({ ...body, request })
      .expect(200)
  }
  pool.sim.reply(() => [{ call: 'shell', arguments: {} }])
  const [signed] = eventsOf((await ask()).text).flatMap((event) =>
    list(event, 'response', 'candidates', 0, 'content', 'parts'),
  )
  assert.ok(text(signed, 'thoughtSignature'))
  pool.sim.geminiAccount('g1').exhaust()
  await ask({ role: 'model', parts: [signed] }, contents[2])
  const last = pool.sim.requests.at(-1)
  assert.equal(last?.account, 'g2')
  assert.equal(
    text(last?.json, 'request', 'contents', 1, 'parts', 0, 'thoughtSignature'),
    'skip_thought_signature_validator',
  )
})
