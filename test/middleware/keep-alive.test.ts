import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { test, type TestContext } from 'node:test'
import { inOrder, startPool, type PoolOptions, type TestPool } from '../kit/pool.js'
import { drain, EVENT_STREAM, frame, open, type OpenOptions, OUTPUT, intercept } from '../kit/stream.js'

/** A third of the 300 s after which Codex gives a silent stream up. */
const AFTER_MS = 100_000
const KEEP_ALIVE = 'event: keepalive\ndata: {"type":"keepalive"}\n\n'
const CREATED = frame('response.created', { response: { id: 'r1' } })
const OVERLOADED = frame('error', {
  error: { code: 'server_is_overloaded', message: 'Server is overloaded.' },
})
const limited = (resetsAt: number) =>
  frame('response.failed', {
    response: { error: { code: 'usage_limit_reached', message: 'no', resets_at: resetsAt } },
  })

const codex: PoolOptions = { codex: [{ id: 'alice' }, { id: 'bob' }], config: inOrder }
const soon = { timeout: 20_000 }

interface LongHold {
  readonly pool: TestPool
  /** The upstream's side of the held answer. */
  readonly upstream: ServerResponse
  readonly answer: IncomingMessage
  /** Lets so much time pass. */
  readonly pass: (ms: number) => void
}

/** A turn whose answer by alice has been held back for so long that the head has gone out. */
async function longHold(
  t: TestContext,
  options: PoolOptions = codex,
  asked: OpenOptions = {},
): Promise<LongHold> {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  t.after(() => t.mock.timers.reset())
  const pool = await startPool(t, options)
  const taken = intercept(pool.sim)
  const opened = open(pool, asked)
  const { response } = await taken
  response.writeHead(200, { ...EVENT_STREAM, 'x-codex-turn-state': 'of alice' }).write(CREATED)
  const pass = (ms: number) => t.mock.timers.tick(ms)
  let answer: IncomingMessage | undefined
  void opened.then((it) => (answer = it))
  // The gateway starts its timer once the prelude has arrived, which no event tells.
  while (!answer) {
    pass(AFTER_MS)
    await new Promise((turn) => setImmediate(turn))
  }
  return { pool, upstream: response, answer, pass }
}

test('a client whose answer is held back for long gets the head and keep-alive events', soon, async (t) => {
  const { answer, upstream, pass } = await longHold(t)
  assert.equal(answer.statusCode, 200)
  assert.equal(answer.headers['content-type'], 'text/event-stream')
  assert.equal(answer.headers['x-codex-turn-state'], undefined, 'the answer may still be another account’s')
  assert.equal(String((await once(answer, 'data'))[0]), KEEP_ALIVE)
  pass(AFTER_MS)
  assert.equal(String((await once(answer, 'data'))[0]), KEEP_ALIVE)
  upstream.end(OUTPUT)
  assert.equal(String((await drain(answer)).bytes), CREATED + OUTPUT)
})

/** A chat of an SDK. */
const chat = (more: object): OpenOptions => ({
  path: '/v1/chat/completions',
  headers: { originator: 'an-sdk' },
  body: JSON.stringify({ model: 'gpt-5.5', messages: [{ role: 'user', content: 'hi' }], ...more }),
})

test('a client of chat completions gets comments, and its chunks behind them', soon, async (t) => {
  const { answer, upstream, pass } = await longHold(t, codex, chat({ stream: true }))
  assert.equal(String((await once(answer, 'data'))[0]), ': keep-alive\n\n')
  pass(AFTER_MS)
  assert.equal(String((await once(answer, 'data'))[0]), ': keep-alive\n\n')
  upstream.end(OUTPUT + frame('response.completed', { response: { output: [] } }))
  assert.match(String((await drain(answer)).bytes), /^data: \{.*"content":"x".*data: \[DONE\]\n\n$/s)
})

test('a refusal after such a head is told in the shape of a chat', soon, async (t) => {
  const { answer, upstream, pool } = await longHold(t, codex, chat({ stream: true }))
  pool.sim.fail({ with: { status: 400, body: { detail: 'Unsupported parameter: x' } } })
  upstream.end(OVERLOADED)
  const { bytes } = await drain(answer)
  const [last = ''] = String(bytes).match(/data: .*\n\n$/) ?? []
  assert.match(last, /"error":\{"message":"Unsupported parameter: x".*"param":"x"/)
})

test(
  'a client that waits for JSON gets nothing before its answer, and then the right status',
  soon,
  async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    t.after(() => t.mock.timers.reset())
    const pool = await startPool(t, codex)
    const taken = intercept(pool.sim)
    const opened = open(pool, chat({}))
    const { response } = await taken
    await new Promise((sent) => response.writeHead(200, EVENT_STREAM).write(CREATED, sent))
    for (let passed = 0; passed < 3; passed++) {
      t.mock.timers.tick(AFTER_MS)
      await new Promise((turn) => setImmediate(turn))
    }
    response.end(
      OUTPUT + frame('response.failed', { response: { error: { code: 'server_error', message: 'no' } } }),
    )
    const answer = await opened
    assert.deepEqual([answer.statusCode, answer.headers['content-type']], [500, 'application/json'])
    await drain(answer)
  },
)

test('no keep-alive event comes between the events of an answer that has begun', soon, async (t) => {
  const { answer, upstream, pass } = await longHold(t)
  const chunks: Buffer[] = []
  answer.on('data', (chunk: Buffer) => chunks.push(chunk))
  const seen = () => String(Buffer.concat(chunks)).replaceAll(KEEP_ALIVE, '')
  upstream.write(OUTPUT)
  while (seen() !== CREATED + OUTPUT) await once(answer, 'data')
  chunks.length = 0
  pass(AFTER_MS * 3)
  upstream.end(frame('response.completed'))
  await once(answer, 'end')
  assert.equal(String(Buffer.concat(chunks)), frame('response.completed'))
})

test('a failure after the head of a long hold still moves the turn', soon, async (t) => {
  const { answer, upstream, pool } = await longHold(t)
  upstream.end(OVERLOADED)
  const { bytes, broken } = await drain(answer)
  assert.match(String(bytes), /^(event: keepalive\n.*\n\n)+event: response.created[^]*response\.completed/)
  assert.doesNotMatch(String(bytes), /overloaded/)
  assert.equal(broken, false)
  assert.deepEqual(pool.asked(), ['alice', 'bob'])
})

const failures: Record<string, { does: (upstream: ServerResponse) => void; code: RegExp; status: number }> = {
  'a limit': {
    does: (it) => it.end(limited(4_000_000_000)),
    code: /"code":"insufficient_quota"/,
    status: 429,
  },
  'an overload': {
    does: (it) => it.end(OVERLOADED),
    code: /"code":"rate_limit_exceeded".*try again in \d+s/,
    status: 502,
  },
  'a broken connection': {
    does: (it) => it.destroy(),
    code: /"code":"rate_limit_exceeded".*try again in \d+s/,
    status: 502,
  },
}
for (const [name, { does, code, status }] of Object.entries(failures))
  test(`${name} that no account can make up for is told in the form of the stream`, soon, async (t) => {
    const { answer, upstream, pool } = await longHold(t, { ...codex, codex: [{ id: 'alice' }] })
    const over = once(pool.gateway.events, 'request')
    does(upstream)
    const { bytes, broken } = await drain(answer)
    assert.equal(broken, false)
    const last = String(bytes).replaceAll(KEEP_ALIVE, '')
    assert.match(last, /^event: response\.failed\ndata: \{"type":"response\.failed",.*\}\n\n$/)
    assert.match(last, code)
    assert.equal((await over)[0].status, status, 'counted as what it is, whatever the head said')
  })

test(
  'a refusal of the request itself after such a head is told in the form of the stream',
  soon,
  async (t) => {
    const { answer, upstream, pool } = await longHold(t)
    pool.sim.fail({ account: 'bob', with: { status: 400, body: { error: { message: 'No such tool.' } } } })
    upstream.end(OVERLOADED)
    const { bytes } = await drain(answer)
    assert.match(String(bytes), /event: response\.failed\ndata: .*No such tool\./)
  },
)

test('a client that leaves during a long hold ends the request upstream', soon, async (t) => {
  const { answer, upstream, pool } = await longHold(t)
  const closed = once(upstream, 'close')
  answer.destroy()
  await closed
  assert.deepEqual(pool.asked(), ['alice'])
})
