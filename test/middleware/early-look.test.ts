import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { test, type TestContext } from 'node:test'
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib'
import { geminiFaults } from '../../src/simulator/index.js'
import { inOrder, startPool, turn, type PoolOptions } from '../kit/pool.js'
import { drain, EVENT_STREAM, frame, open, OUTPUT, intercept } from '../kit/stream.js'

const codex: PoolOptions = { codex: [{ id: 'alice' }, { id: 'bob' }], config: inOrder }
const CREATED = frame('response.created', { response: { id: 'r1' } })
const PROGRESS = frame('response.in_progress', { response: { id: 'r1' } })
const LIMIT = frame('response.failed', {
  response: { error: { code: 'usage_limit_reached', message: 'no' } },
})

/** No time passes: what arrives all the same has not waited for a timer. Call it before {@link startPool}. */
function stopTimers(t: TestContext): void {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  // Before the pool is stopped, which takes its time.
  t.after(() => t.mock.timers.reset())
}

const soon = { timeout: 20_000 }

test('an answer is not held back: its head and first output arrive before anything else', soon, async (t) => {
  stopTimers(t)
  const pool = await startPool(t, codex)
  const taken = intercept(pool.sim)
  const opened = open(pool)
  const { response } = await taken
  response.writeHead(200, EVENT_STREAM).write(CREATED + PROGRESS + OUTPUT)
  const answer = await opened
  assert.equal(String((await once(answer, 'data'))[0]), CREATED + PROGRESS + OUTPUT)
  response.end()
  await drain(answer)
})

test('what came before the first output arrives with it, in whatever pieces it came', async (t) => {
  const pool = await startPool(t, codex)
  const taken = intercept(pool.sim)
  const opened = open(pool)
  const { response } = await taken
  response.writeHead(200, EVENT_STREAM).flushHeaders()
  for (const letter of CREATED + OUTPUT)
    await new Promise<void>((sent) => response.write(letter, () => setImmediate(sent)))
  const answer = await opened
  response.end(frame('response.completed'))
  assert.equal(String((await drain(answer)).bytes), CREATED + OUTPUT + frame('response.completed'))
})

test('a refusal in the first events is not seen, whatever has come before it', async (t) => {
  const pool = await startPool(t, codex)
  const taken = intercept(pool.sim)
  const opened = open(pool)
  const { response } = await taken
  response.writeHead(200, EVENT_STREAM).write(`: a comment\n\n${CREATED}`)
  response.write('event: keepalive\ndata: {"type":"keepalive"}\n\ndata: no JSON\n\n')
  response.end(LIMIT)
  assert.match(String((await drain(await opened)).bytes), /response\.completed/)
  assert.deepEqual(pool.asked(), ['alice', 'bob'])
})

const slow = frame('error', { error: { code: 'server_is_overloaded', message: 'Server is overloaded.' } })
const preludes: Record<string, string> = {
  'of two events of 40 KiB': frame('response.created', {
    response: { instructions: 'x'.repeat(40_000) },
  }).repeat(2),
  'of 256 KiB': frame('response.created', { response: { instructions: 'x'.repeat(256 * 1024) } }),
  'of rate limits, metadata and keep-alives':
    frame('codex.rate_limits', { rate_limits: {} }) +
    frame('response.metadata') +
    frame('keepalive') +
    ': ping\n\n',
}
for (const [name, prelude] of Object.entries(preludes))
  test(`a failure after a prelude ${name} moves the turn, however long it takes`, soon, async (t) => {
    stopTimers(t)
    const pool = await startPool(t, codex)
    const taken = intercept(pool.sim)
    const opened = open(pool)
    const { response } = await taken
    response.writeHead(200, EVENT_STREAM).write(CREATED + prelude)
    // Longer than any wait of the gateway but the idle timeout of 600 s and the keep-alive.
    t.mock.timers.tick(60_000)
    response.end(slow)
    assert.match(String((await drain(await opened)).bytes), /response\.completed/)
    assert.deepEqual(pool.asked(), ['alice', 'bob'])
  })

test('an answer whose prelude takes a minute is waited for, and asked of nobody else', soon, async (t) => {
  stopTimers(t)
  const pool = await startPool(t, codex)
  const taken = intercept(pool.sim)
  const opened = open(pool)
  const { response } = await taken
  response.writeHead(200, EVENT_STREAM).write(CREATED)
  response.write(PROGRESS)
  // A minute in steps, between which the gateway reads what has come.
  for (let step = 0; step < 60; step++) {
    await new Promise((turn) => setImmediate(turn))
    t.mock.timers.tick(1_000)
  }
  response.end(OUTPUT)
  assert.equal(String((await drain(await opened)).bytes), CREATED + PROGRESS + OUTPUT)
  assert.deepEqual(pool.asked(), ['alice'])
})

test('a prelude of more than 1 MiB is not held any longer', async (t) => {
  const pool = await startPool(t, codex)
  const taken = intercept(pool.sim)
  const opened = open(pool)
  const { response } = await taken
  const large = frame('response.created', { response: { id: 'r1', instructions: 'x'.repeat(1024 * 1024) } })
  response.writeHead(200, EVENT_STREAM).write(large)
  const answer = await opened
  response.end(LIMIT)
  assert.equal(String((await drain(answer)).bytes), large + LIMIT)
  assert.deepEqual(pool.asked(), ['alice'])
})

test('a stream that falls silent before its first output moves the turn', async (t) => {
  const pool = await startPool(t, {
    ...codex,
    config: { ...inOrder, retry: { default: { idleTimeoutMs: 50 } } },
  })
  pool.sim.fail({
    account: 'alice',
    with: (_request, response) => void response.writeHead(200, EVENT_STREAM).write(CREATED),
  })
  assert.equal(await pool.servedBy('s1'), 'bob')
  assert.equal((await pool.account('alice')).inFlight, 0)
})

const labels: Record<string, Record<string, string>> = {
  missing: {},
  wrong: { 'content-type': 'application/json' },
  capitalised: { 'content-type': 'Text/Event-Stream' },
  'with parameters': { 'content-type': 'text/event-stream;charset=utf-8; boundary=x' },
  'of bytes': { 'content-type': 'application/octet-stream' },
}
for (const [name, headers] of Object.entries(labels)) {
  test(`a refusal in the first event is found under a Content-Type that is ${name}`, async (t) => {
    const pool = await startPool(t, codex)
    pool.sim.fail({
      account: 'alice',
      with: (_request, response) => void response.writeHead(200, headers).end(CREATED + LIMIT),
    })
    assert.equal(await pool.servedBy('s1'), 'bob')
    assert.equal((await pool.account('alice')).state, 'exhausted')
  })

  test(`tokens are counted under a Content-Type that is ${name}`, async (t) => {
    const pool = await startPool(t, codex)
    const usage = { input_tokens: 11, output_tokens: 7, total_tokens: 18 }
    const done = frame('response.completed', { response: { id: 'r1', usage } })
    pool.sim.fail({
      with: (_request, response) => void response.writeHead(200, headers).end(CREATED + OUTPUT + done),
    })
    await drain(await open(pool))
    assert.equal((await pool.account('alice')).usage?.last24h.totalTokens, 18)
  })
}

const compressions: Record<string, (text: string) => Buffer> = {
  gzip: (text) => gzipSync(text),
  br: (text) => brotliCompressSync(text),
  deflate: (text) => deflateSync(text),
}
for (const [encoding, compress] of Object.entries(compressions))
  test(`a refusal in the first event of a compressed stream is not seen: ${encoding}`, async (t) => {
    const pool = await startPool(t, codex)
    const headers = { ...EVENT_STREAM, 'content-encoding': encoding }
    pool.sim.fail({
      account: 'alice',
      with: (_request, response) => void response.writeHead(200, headers).end(compress(CREATED + LIMIT)),
    })
    assert.equal(await pool.servedBy('s1'), 'bob')
  })

const impostors: Record<string, [type: string, body: string]> = {
  'an HTML page': ['text/html; charset=utf-8', '<!doctype html><title>Please wait</title>'],
  'an HTML page under the type of a stream': ['text/event-stream', '\n<html></html>'],
  'plain JSON': ['application/json', '{"ok":true}'],
  'plain JSON under the type of a stream': ['text/event-stream', '{"ok":true}'],
  'plain text': ['text/plain', 'upstream connect error'],
  nothing: ['text/event-stream', ''],
}
for (const [name, [type, body]] of Object.entries(impostors)) {
  test(`a 200 with ${name} in answer to a streaming generation is no answer: another account is asked`, async (t) => {
    const pool = await startPool(t, codex)
    const fault = (_request: unknown, response: ServerResponse) =>
      void response.writeHead(200, { 'content-type': type }).end(body)
    pool.sim.fail({ account: 'alice', with: fault })
    assert.equal(await pool.servedBy('s1'), 'bob')
    pool.sim.fail({ times: 2, with: fault })
    await pool.ask('s2').expect(502)
  })
}

const wholes: Record<string, [object, state: string]> = {
  'an error': [{ error: { code: 'usage_limit_reached', message: 'no' } }, 'exhausted'],
  'an error with a type': [{ type: 'error', error: { type: 'rate_limit_exceeded' } }, 'cooling'],
  'an error as text': [{ error: 'Rate limit reached' }, 'cooling'],
  'a detail': [{ detail: 'The usage limit has been reached' }, 'exhausted'],
  'a list of errors': [{ errors: [{ code: 'insufficient_quota' }] }, 'exhausted'],
  'a status': [{ status: '429', message: 'Slow down' }, 'cooling'],
  'a response that failed': [
    { id: 'r', object: 'response', status: 'failed', error: { code: 'insufficient_quota', message: 'no' } },
    'exhausted',
  ],
}
for (const [name, [body, state]] of Object.entries(wholes))
  test(`a 200 with ${name} in answer to a generation that asks for no stream is a refusal`, async (t) => {
    const pool = await startPool(t, { codexApiKeys: [{ id: 'a' }, { id: 'b' }], config: inOrder })
    pool.sim.fail({
      account: 'a',
      with: (_request, response) =>
        void response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body)),
    })
    await pool.ask('s1', { body: { stream: false } }).expect(200)
    assert.equal(pool.sim.requests.at(-1)?.account, 'b')
    assert.equal((await pool.account('a')).state, state)
  })

test('a 200 with an HTML page in answer to a generation that asks for no stream is asked of another account', async (t) => {
  const pool = await startPool(t, { codexApiKeys: [{ id: 'a' }, { id: 'b' }], config: inOrder })
  pool.sim.fail({
    account: 'a',
    with: (_request, response) =>
      void response
        .writeHead(200, { 'content-type': 'text/html' })
        .end('<!doctype html><title>Sign in</title>'),
  })
  await pool.ask('s1', { body: { stream: false } }).expect(200)
  assert.equal(pool.sim.requests.at(-1)?.account, 'b')
})

test('a JSON answer that asks for no stream and breaks off is asked of another account', async (t) => {
  const pool = await startPool(t, { codexApiKeys: [{ id: 'a' }, { id: 'b' }], config: inOrder })
  pool.sim.fail({
    account: 'a',
    with: (_request, response) => {
      response.writeHead(200, { 'content-length': '100', 'content-type': 'application/json' })
      response.write('{"half":', () => response.destroy())
    },
  })
  await pool.ask('s1', { body: { stream: false } }).expect(200)
  assert.equal(pool.sim.requests.at(-1)?.account, 'b')
})

test('a JSON answer that asks for no stream, and quotes an error, is passed on as it is', async (t) => {
  const pool = await startPool(t, codex)
  const text =
    '{"id":"r","output":[{"text":"{\\"error\\":{\\"code\\":\\"usage_limit_reached\\"}}"}],"error":null}'
  pool.sim.fail({
    with: (_request, response) =>
      void response.writeHead(200, { 'content-type': 'application/json' }).end(text),
  })
  const answer = await open(pool, { body: JSON.stringify({ ...turn(), stream: false }) })
  assert.equal(String((await drain(answer)).bytes), text)
  assert.equal((await pool.account('alice')).state, 'ready')
})

const limit = JSON.parse(LIMIT.slice(LIMIT.indexOf('{'))) as object
const [first, second] = halves(limit)
const forms: Record<string, string | Buffer> = {
  'without a space after the colon': `data:${JSON.stringify(limit)}\n\n`,
  'with CRLF': LIMIT.replaceAll('\n', '\r\n'),
  'behind a byte order mark': `\ufeff${LIMIT}`,
  'with an id and a time to reconnect': `id: 1\nretry: 100\n${LIMIT}`,
  'behind a comment in the same event': `: ping\n${LIMIT}`,
  'in data of several lines': `data: ${first}\ndata: ${second}\n\n`,
}
for (const [name, text] of Object.entries(forms))
  test(`a refusal in the first event is found in every form of an event: ${name}`, async (t) => {
    const pool = await startPool(t, codex)
    pool.sim.fail({
      account: 'alice',
      with: (_request, response) => void response.writeHead(200, EVENT_STREAM).end(text),
    })
    assert.equal(await pool.servedBy('s1'), 'bob')
    assert.equal((await pool.account('alice')).state, 'exhausted')
  })

/** The JSON of an object, broken into two lines. */
function halves(value: object): string[] {
  const json = JSON.stringify(value)
  const at = json.indexOf(',') + 1
  return [json.slice(0, at), json.slice(at)]
}

test(
  'the head of a stream that is asked for with GET arrives at once: it may be silent for long',
  soon,
  async (t) => {
    stopTimers(t)
    const pool = await startPool(t, codex)
    const taken = intercept(pool.sim, '/wham/tasks/events')
    const opened = open(pool, { method: 'GET', path: '/backend-api/wham/tasks/events' })
    const { response } = await taken
    response.writeHead(200, EVENT_STREAM).flushHeaders()
    const answer = await opened
    response.end(LIMIT)
    assert.equal(String((await drain(answer)).bytes), LIMIT)
  },
)

const GEMINI = '/v1internal:streamGenerateContent?alt=sse'
const gemini: PoolOptions = {
  gemini: [{ id: 'g1' }, { id: 'g2' }],
  config: {
    strategies: { 'in-order': (accounts) => accounts[0] },
    routes: [{ path: '/v1internal:', provider: 'gemini', strategy: 'in-order' }],
  },
}
const question = JSON.stringify({
  model: 'gemini-2.5-pro',
  project: 'codex-pool',
  request: { contents: [{ role: 'user', parts: [{ text: 'hi' }] }], session_id: 's1' },
})
const google = (event: object): string => `data: ${JSON.stringify(event)}\r\n\r\n`

test('a prompt that Gemini blocks is answered, and asked of nobody else', async (t) => {
  const pool = await startPool(t, gemini)
  const blocked = google({ response: { promptFeedback: { blockReason: 'SAFETY' } } })
  pool.sim.fail({
    path: ':streamGenerateContent',
    with: (_request, response) => void response.writeHead(200, EVENT_STREAM).end(blocked),
  })
  const answer = await open(pool, { path: GEMINI, body: question })
  assert.equal(String((await drain(answer)).bytes), blocked)
})

test('a limit that Gemini tells after its first output changes nothing for the client', async (t) => {
  const pool = await startPool(t, gemini)
  const output = google({ response: { candidates: [{ content: { parts: [{ text: 'x' }] } }] } })
  const limit = google(geminiFaults.rateLimited().body as object)
  pool.sim.fail({
    path: ':streamGenerateContent',
    with: (_request, response) => void response.writeHead(200, EVENT_STREAM).end(output + limit),
  })
  const answer = await open(pool, { path: GEMINI, body: question })
  assert.equal(String((await drain(answer)).bytes), output + limit)
})

const late: Record<string, [failure: string, state: string]> = {
  'a usage limit': [LIMIT, 'exhausted'],
  'a rate limit': [
    frame('response.failed', {
      response: { error: { code: 'rate_limit_exceeded', message: 'try again in 60s' } },
    }),
    'cooling',
  ],
}
for (const [name, [failure, state]] of Object.entries(late))
  test(`${name} that is told after output reaches the client, and the next conversation goes elsewhere`, async (t) => {
    const pool = await startPool(t, codex)
    pool.sim.fail({
      with: (_request, response) =>
        void response.writeHead(200, EVENT_STREAM).end(CREATED + OUTPUT + failure),
    })
    const { bytes } = await drain(await open(pool))
    assert.equal(String(bytes), CREATED + OUTPUT + failure)
    assert.equal((await pool.account('alice')).state, state)
    assert.equal(await pool.servedBy('s2'), 'bob')
  })

test('a text that quotes an error is no error', async (t) => {
  const pool = await startPool(t, codex)
  const quote = frame('response.output_text.delta', {
    delta: '{"type":"response.failed","error":{"code":"usage_limit_reached"}}',
  })
  pool.sim.fail({
    with: (_request, response) => void response.writeHead(200, EVENT_STREAM).end(CREATED + OUTPUT + quote),
  })
  await drain(await open(pool))
  assert.equal((await pool.account('alice')).state, 'ready')
})

const anArray = '/v1internal:streamGenerateContent'
const element = (text: string, more: object = {}) => ({
  response: { candidates: [{ content: { parts: [{ text }] } }], ...more },
})
const asArray = (...elements: object[]) =>
  `[${elements.map((one) => JSON.stringify(one, undefined, 2)).join('\n,\r\n')}]`

test('a stream of Gemini as an array is counted, and passed on as it is', async (t) => {
  const pool = await startPool(t, gemini)
  const usageMetadata = { promptTokenCount: 3, candidatesTokenCount: 4, totalTokenCount: 7 }
  const body = asArray(element('a "quote" \\ and ] a bracket'), element('b', { usageMetadata }))
  pool.sim.fail({
    path: ':streamGenerateContent',
    with: (_request, response) =>
      void response.writeHead(200, { 'content-type': 'application/json' }).end(body),
  })
  const answer = await open(pool, { path: anArray, body: question })
  assert.equal(String((await drain(answer)).bytes), body)
  assert.equal((await pool.account('gemini_g1')).usage?.last24h.totalTokens, 7)
})

test('a refusal as the first element of such an array moves the turn', async (t) => {
  const pool = await startPool(t, gemini)
  const limit = asArray(geminiFaults.rateLimited().body as object)
  let asked = 0
  pool.sim.fail({
    path: ':streamGenerateContent',
    with: (_request, response) => {
      asked++
      void response.writeHead(200, { 'content-type': 'application/json' }).end(limit)
    },
  })
  await drain(await open(pool, { path: anArray, body: question }))
  assert.equal(asked, 1)
  assert.equal((await pool.account('gemini_g1')).cooldowns[0]?.kind, 'cooling')
})

const usageOnly = google({ response: { usageMetadata: { promptTokenCount: 3 } } })
const emptyStream = {
  path: ':streamGenerateContent',
  with: (_request: unknown, response: ServerResponse) =>
    void response.writeHead(200, EVENT_STREAM).end(usageOnly),
}

test('an empty stream is asked of a second account', async (t) => {
  const pool = await startPool(t, gemini)
  pool.sim.fail(emptyStream)
  const answer = await open(pool, { path: GEMINI, body: question })
  assert.match(String((await drain(answer)).bytes), /candidates/)
})

for (const accounts of [1, 2])
  test(`an empty stream from every account is handed over as it came: ${accounts} accounts`, async (t) => {
    const pool = await startPool(t, { ...gemini, gemini: gemini.gemini!.slice(0, accounts) })
    pool.sim.fail({ ...emptyStream, times: accounts })
    const answer = await open(pool, { path: GEMINI, body: question })
    assert.deepEqual([answer.statusCode, String((await drain(answer)).bytes)], [200, usageOnly])
    for (const { state, inFlight } of pool.gateway.accounts())
      assert.deepEqual([state, inFlight], ['ready', 0])
  })

const logins: Record<string, object> = {
  '401': { status: 401, error: { message: 'Unauthorized' } },
  '403': { status: 403, error: { message: 'Forbidden', code: 'forbidden' } },
  '401, flat': { status_code: 401, code: 'token_expired', message: 'expired' },
  'an account that is gone': { error: { code: 'account_deactivated', message: 'gone' } },
}
for (const [name, failure] of Object.entries(logins))
  test(`a refusal of the account’s login after output never reaches the client: ${name}`, async (t) => {
    const pool = await startPool(t, codex)
    const taken = intercept(pool.sim)
    const opened = open(pool)
    const { response } = await taken
    response.writeHead(200, EVENT_STREAM).write(CREATED + OUTPUT)
    const answer = await opened
    await once(answer, 'readable')
    response.end(frame('error', failure))
    const { bytes, broken } = await drain(answer)
    assert.deepEqual([String(bytes), broken], [CREATED + OUTPUT, true])
    assert.equal((await pool.account('alice')).inFlight, 0)
  })
