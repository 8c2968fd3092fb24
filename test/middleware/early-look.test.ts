import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test, type TestContext } from 'node:test'
import { geminiFaults } from '../../src/simulator/index.js'
import { inOrder, startPool, type PoolOptions } from '../kit/pool.js'
import { drain, EVENT_STREAM, frame, open, OUTPUT, takeOver } from '../kit/stream.js'

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
  const taken = takeOver(pool.sim)
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
  const taken = takeOver(pool.sim)
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
  const taken = takeOver(pool.sim)
  const opened = open(pool)
  const { response } = await taken
  response.writeHead(200, EVENT_STREAM).write(`: a comment\n\n${CREATED}`)
  response.write('event: keepalive\ndata: {"type":"keepalive"}\n\ndata: no JSON\n\n')
  response.end(LIMIT)
  assert.match(String((await drain(await opened)).bytes), /response\.completed/)
  assert.deepEqual(pool.asked(), ['alice', 'bob'])
})

test('nothing is held for longer than 2 seconds: then the head and what has come are on their way', async (t) => {
  const pool = await startPool(t, codex)
  const taken = takeOver(pool.sim)
  const opened = open(pool)
  const { response } = await taken
  response.writeHead(200, EVENT_STREAM).write(CREATED)
  const answer = await opened
  assert.equal(String((await once(answer, 'data'))[0]), CREATED)
  response.end(LIMIT)
  assert.equal(String((await drain(answer)).bytes), LIMIT)
  assert.deepEqual(pool.asked(), ['alice'], 'the answer has begun: nobody else is asked')
})

test('nor more than 64 KiB', async (t) => {
  const pool = await startPool(t, codex)
  const taken = takeOver(pool.sim)
  const opened = open(pool)
  const { response } = await taken
  const large = frame('response.created', { response: { id: 'r1', instructions: 'x'.repeat(64 * 1024) } })
  response.writeHead(200, EVENT_STREAM).write(large)
  const answer = await opened
  response.end(LIMIT)
  assert.equal(String((await drain(answer)).bytes), large + LIMIT)
  assert.deepEqual(pool.asked(), ['alice'])
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

const unwatched: Record<string, Record<string, string>> = {
  'that is no stream of events': { 'content-type': 'application/json' },
  'that is compressed': { ...EVENT_STREAM, 'content-encoding': 'gzip' },
}
for (const [name, headers] of Object.entries(unwatched))
  test(`the head of an answer ${name} arrives at once`, soon, async (t) => {
    stopTimers(t)
    const pool = await startPool(t, codex)
    const taken = takeOver(pool.sim)
    const opened = open(pool)
    const { response } = await taken
    response.writeHead(200, headers).flushHeaders()
    const answer = await opened
    assert.equal(answer.statusCode, 200)
    response.end()
    await drain(answer)
  })

test(
  'the head of a stream that is asked for with GET arrives at once: it may be silent for long',
  soon,
  async (t) => {
    stopTimers(t)
    const pool = await startPool(t, codex)
    const taken = takeOver(pool.sim, '/wham/tasks/events')
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
