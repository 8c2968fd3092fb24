import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { test } from 'node:test'
import zlib, { brotliDecompressSync, gunzipSync } from 'node:zlib'
import type { FrameFault } from '../../src/simulator/index.js'
import { field } from '../../src/simulator/index.js'
import { inOrder, startPool, type PoolOptions, type TestPool } from '../kit/pool.js'
import { drain, EVENT_STREAM, frame, intercept, open, OUTPUT } from '../kit/stream.js'
import { create, dial, isTurn, prewarm } from '../kit/websocket.js'
import { zstdOf } from '../kit/zstd.js'

const codex: PoolOptions = { codex: [{ id: 'alice' }, { id: 'bob' }], config: inOrder }
const BEGUN = frame('response.created', { response: { id: 'r1', error: null } }) + OUTPUT

/** What happens to an account, and whether the client may hear of it. */
interface Late {
  readonly failure: object | string
  readonly state: 'ready' | 'cooling' | 'exhausted' | 'needs-login'
  readonly isPrivate: boolean
  readonly next: 'alice' | 'bob'
}
const login = (failure: object | string): Late => ({
  failure,
  state: 'ready',
  isPrivate: true,
  next: 'alice',
})
const rights = (failure: object): Late => ({ ...login(failure), next: 'bob' })
/** A key cannot be refreshed. */
const key = (failure: object): Late => ({ ...login(failure), state: 'cooling' })
const over = (failure: object): Late => ({ failure, state: 'needs-login', isPrivate: true, next: 'bob' })
const limit = (failure: object | string): Late => ({
  failure,
  state: 'exhausted',
  isPrivate: false,
  next: 'bob',
})
const rate = (failure: object): Late => ({ failure, state: 'cooling', isPrivate: false, next: 'bob' })
const own = (failure: object): Late => ({ failure, state: 'ready', isPrivate: false, next: 'alice' })

const failures: Record<string, Late> = {
  'a 401': login({ type: 'error', status: 401, error: { message: 'Unauthorized' } }),
  'a 401 as a text of digits': login({ type: 'error', status: '401', error: { message: 'x' } }),
  'a 401, flat': login({ status_code: 401, code: 'token_expired', message: 'expired' }),
  'a 401 without a type': login({ detail: 'Unauthorized' }),
  'a 401 without a type, in a list': login({ detail: [{ msg: 'Unauthorized' }] }),
  'a 401 by its gRPC name': login({ code: 16, status: 'UNAUTHENTICATED', message: 'x' }),
  'a 401 behind other fields': login({ sequence_number: 9, type: 'error', code: 'invalid_token' }),
  'a 401 of an unknown type': login({ type: 'response.error', code: 'unauthorized', message: 'x' }),
  'a 401 in the words of a failure': login({
    type: 'response.failed',
    response: { error: { message: 'Your authentication token has expired. Please try signing in again.' } },
  }),
  'a 401 in JSON in a text': login({ type: 'error', message: '{"error":{"code":"invalid_api_key"}}' }),
  'a 403': rights({ type: 'error', status: 403, error: { message: 'Forbidden' } }),
  'a 403 without a type': rights({ detail: 'Forbidden' }),
  'a 403 by its code': rights({ type: 'response.failed', response: { error: { code: 'access_denied' } } }),
  'a 403 for a thing of another account': login({
    type: 'error',
    status: 403,
    error: { code: 'file_not_found', message: 'no' },
  }),
  'a login that is over': over({ error: { code: 'account_deactivated', message: 'gone' } }),
  'a login that is over, as the reason of an early end': over({
    type: 'response.incomplete',
    response: { incomplete_details: { reason: 'token_revoked' } },
  }),
  'a usage limit under 403': {
    ...limit({ type: 'error', status: 403, error: { type: 'usage_limit_reached' } }),
    isPrivate: true,
  },
  'a usage limit': limit({ type: 'response.failed', response: { error: { code: 'usage_limit_reached' } } }),
  'a usage limit without a type': limit({ detail: { code: 'usage_limit_reached' } }),
  'a usage limit as the reason of an early end': limit({
    type: 'response.incomplete',
    response: { incomplete_details: { reason: 'usage_limit_reached' } },
  }),
  'a limit of one model': {
    ...own({
      type: 'error',
      status: 429,
      error: { type: 'usage_limit_reached' },
      headers: { 'X-Codex-Active-Limit': 'codex_spark' },
    }),
    next: 'bob',
  },
  'a usage limit in a list of errors': limit({
    errors: [{ code: 'insufficient_quota' }],
    message: 'x',
    code: 'x',
  }),
  'a rate limit': rate({ type: 'error', status: 429, error: { message: 'again in 60s' }, retry_after: 60 }),
  'an early end of the request’s own': own({
    type: 'response.incomplete',
    response: { incomplete_details: { reason: 'max_output_tokens' } },
  }),
  'a text that quotes an error': own({
    type: 'response.output_text.delta',
    delta: '{"type":"error","status":401,"error":{"code":"unauthorized"}}',
  }),
}

const events: Record<string, Late> = {
  ...failures,
  'a 401 that only the event’s name calls an error': login(
    'event: error\ndata: {"message":"Unauthorized"}\n\n',
  ),
  'a 401 in plain text': login('event: error\ndata: Unauthorized\n\n'),
  'a 401 in data of two lines': login('data: {"status":401,\ndata: "error":{"message":"x"}}\n\n'),
  'a 401 with CRLF': login('data: {"detail":"Unauthorized"}\r\n\r\n'),
  'a usage limit without a space and an empty line': limit('data:{"detail":{"code":"usage_limit_reached"}}'),
}

/** Compresses in two parts, of which each can be read before the next one comes. */
type Compress = (parts: readonly [string, string]) => Promise<Buffer[]>

async function flushed(stream: zlib.Gzip, [first, second]: readonly [string, string]): Promise<Buffer[]> {
  const chunks: Buffer[][] = [[], []]
  let at = 0
  stream.on('data', (chunk: Buffer) => chunks[at]!.push(chunk))
  stream.write(first)
  await new Promise<void>((done) => stream.flush(() => setImmediate(done)))
  at = 1
  stream.end(second)
  await once(stream, 'end')
  return chunks.map((parts) => Buffer.concat(parts))
}

const carriers: Record<string, Compress> = {
  plain: async (parts) => parts.map((part) => Buffer.from(part)),
  gzip: (parts) => flushed(zlib.createGzip(), parts),
  deflate: (parts) => flushed(zlib.createDeflate(), parts),
  br: (parts) => flushed(zlib.createBrotliCompress(), parts),
  zstd: async (parts) => parts.map(zstdOf),
}

async function answered(
  response: ServerResponse,
  chunks: readonly Buffer[],
  opened: Promise<IncomingMessage>,
) {
  response.write(chunks[0])
  const answer = await opened
  await once(answer, 'readable')
  response.end(chunks[1])
  return drain(answer)
}

async function outcome(pool: TestPool, { state, next }: Late): Promise<void> {
  const alice = await pool.account('alice')
  assert.deepEqual([alice.state, alice.inFlight], [state, 0])
  assert.equal(await pool.servedBy('another'), next)
}

/** All rows for a plain stream; of the others, which are decoded into the same, every fourth. */
function rowsFor<T>(carrier: string, rows: Record<string, T>): [string, T][] {
  return Object.entries(rows).filter((_, at) => carrier === 'plain' || at % 4 === 0)
}

for (const [carrier, compress] of Object.entries(carriers))
  for (const [name, late] of rowsFor(carrier, events))
    test(`${name} after output in a ${carrier} stream is ${late.isPrivate ? 'cut off' : 'heard'}`, async (t) => {
      const pool = await startPool(t, codex)
      const taken = intercept(pool.sim)
      const opened = open(pool)
      const { response } = await taken
      const encoding = carrier === 'plain' ? {} : { 'content-encoding': carrier }
      const text =
        typeof late.failure === 'string' ? late.failure : `data: ${JSON.stringify(late.failure)}\n\n`
      const chunks = await compress([BEGUN, text])
      response.writeHead(200, { ...EVENT_STREAM, ...encoding })
      const { bytes, broken } = await answered(response, chunks, opened)
      assert.deepEqual(
        [bytes.length, broken],
        [late.isPrivate ? chunks[0]!.length : Buffer.concat(chunks).length, late.isPrivate],
      )
      await outcome(pool, late)
    })

/** Answers alice with the begin of a stream and these parts, each a chunk of its own. */
async function answeredInParts(pool: TestPool, parts: readonly string[]) {
  const taken = intercept(pool.sim)
  const opened = open(pool)
  const { response } = await taken
  response.writeHead(200, EVENT_STREAM).write(BEGUN)
  const drained = drain(await opened)
  for (const part of parts) {
    response.write(part)
    await new Promise((done) => setTimeout(done, 20))
  }
  response.end()
  return drained
}

const pieces: Record<string, string[]> = {
  'an event without its empty line': ['data: {"detail":"Unauthorized"}'],
  'an event in pieces': ['data: {"deta', 'il":"Unauthorized"}\n', '\n'],
  'an event in pieces with CRLF': ['data: {"detail":"Unauthorized"}\r\n', '\r', '\n'],
}
for (const [name, parts] of Object.entries(pieces))
  test(`no byte of a 401 in ${name} after output reaches the client`, async (t) => {
    const pool = await startPool(t, codex)
    const { bytes, broken } = await answeredInParts(pool, parts)
    assert.deepEqual([bytes.length, broken], [BEGUN.length, true])
    await outcome(pool, login({}))
  })

test('output in pieces, with a last event that lacks its empty line, arrives whole', async (t) => {
  const pool = await startPool(t, codex)
  const parts = [OUTPUT.slice(0, 20), OUTPUT.slice(20), `data: {"x":"${'y'.repeat(40_000)}`, '"}']
  const { bytes, broken } = await answeredInParts(pool, parts)
  assert.deepEqual([bytes.length, broken], [(BEGUN + parts.join('')).length, false])
})

test('a refusal of the login behind output in one piece cuts that piece off', async (t) => {
  const pool = await startPool(t, codex)
  pool.sim.fail({
    with: (_request, response) =>
      void response.writeHead(200, EVENT_STREAM).end(`${BEGUN}data: {"detail":"Unauthorized"}\n\n`),
  })
  const answer = await open(pool).catch(() => undefined)
  if (answer) assert.equal(String((await drain(answer)).bytes), '')
})

for (const [name, late] of Object.entries(failures))
  test(`${name} after output in a WebSocket’s frame never names the account’s login or rights`, async (t) => {
    const pool = await startPool(t, codex)
    const socket = await dial(pool, 's1')
    await socket.ask(prewarm())
    const fault: FrameFault = {
      events: (all) => [...all.slice(0, 7), late.failure as object, ...all.slice(7)],
    }
    pool.sim.fail({ account: 'alice', frame: isTurn, with: fault })
    const frames = await socket.ask(create('hi'))
    const told = JSON.stringify(frames)
    const heard = told.includes(JSON.stringify(late.failure))
    assert.equal(heard, !late.isPrivate && late.next === 'alice', told)
    if (!heard) assert.equal(field(frames.at(-1), 'error', 'code'), 'websocket_connection_limit_reached')
    await outcome(pool, late)
  })

const GEMINI = '/v1beta/models/gemini-x:streamGenerateContent'
const gemini: PoolOptions = {
  geminiApiKeys: [{ id: 'g1' }, { id: 'g2' }],
  config: {
    strategies: { 'in-order': (accounts) => accounts[0] },
    routes: [{ path: '/v1beta', provider: 'gemini-api-key', strategy: 'in-order' }],
  },
}
const question = JSON.stringify({ contents: [{ role: 'user', parts: [{ text: 'hi' }] }] })
const said = { candidates: [{ content: { parts: [{ text: 'x' }] } }] }
const lateOfGoogle: Record<string, Omit<Late, 'next'>> = {
  'a 401': key({ error: { code: 401, message: 'x', status: 'UNAUTHENTICATED' } }),
  'a 401 by its name': key({ error: { message: 'x', status: 'UNAUTHENTICATED' } }),
  'a 401 as a bare status': key({ code: 16, message: 'x' }),
  'a 401 wrapped in a response': key({ response: { error: { code: 401, message: 'x' } } }),
  'a 403': rights({ error: { code: 403, message: 'Permission denied' } }),
  'a 403 as a bare status': rights({ code: 7, message: 'x' }),
  'a key that is over': over({ error: { code: 400, message: 'API key expired.' } }),
  'a project without billing': {
    ...limit({ error: { code: 403, message: 'Enable billing.' } }),
    isPrivate: true,
  },
  'prepaid credits that are spent': limit({
    error: { code: 429, message: 'Your prepayment credits are depleted.' },
  }),
  'an overload': own({ error: { code: 503, message: 'The model is overloaded.' } }),
}
const forms: Record<string, [query: string, type: string, write: (failure: object) => [string, string]]> = {
  'stream of events': [
    '?alt=sse',
    'text/event-stream',
    (failure) => [`data: ${JSON.stringify(said)}\r\n\r\n`, `data: ${JSON.stringify(failure)}\r\n\r\n`],
  ],
  'stream as an array': [
    '',
    'application/json',
    (failure) => [
      `[${JSON.stringify(said, undefined, 2)}\n`,
      `,\r\n${JSON.stringify(failure, undefined, 2)}]`,
    ],
  ],
}
for (const [form, [query, type, write]] of Object.entries(forms))
  for (const [carrier, compress] of Object.entries(carriers))
    for (const [name, { failure, state, isPrivate }] of rowsFor(carrier, lateOfGoogle))
      test(`${name} after output in a ${carrier} ${form} of Gemini is ${isPrivate ? 'cut off' : 'heard'}`, async (t) => {
        const pool = await startPool(t, gemini)
        const taken = intercept(pool.sim, ':streamGenerateContent')
        const opened = open(pool, { path: GEMINI + query, body: question })
        const { response } = await taken
        const encoding = carrier === 'plain' ? {} : { 'content-encoding': carrier }
        const chunks = await compress(write(failure as object))
        response.writeHead(200, { 'content-type': type, ...encoding })
        const { bytes, broken } = await answered(response, chunks, opened)
        assert.deepEqual(
          [bytes.length, broken],
          [isPrivate ? chunks[0]!.length : Buffer.concat(chunks).length, isPrivate],
        )
        assert.equal((await pool.account('gemini_g1')).state, state)
      })

const random = (max: number) => Math.floor(Math.random() * max)

for (const [carrier, decode] of Object.entries({ gzip: gunzipSync, br: brotliDecompressSync }))
  test(`a ${carrier} stream in pieces of any size arrives whole, and its tokens are counted`, async (t) => {
    const pool = await startPool(t, codex)
    const usage = { input_tokens: 11, output_tokens: 7, total_tokens: 18 }
    const done = frame('response.completed', { response: { id: 'r1', usage } })
    const text = BEGUN + OUTPUT.repeat(2_000) + done
    const [first, second] = await carriers[carrier]!([BEGUN, text.slice(BEGUN.length)])
    const bytes = Buffer.concat([first!, second!])
    pool.sim.fail({
      with: async (_request, response) => {
        response.writeHead(200, { ...EVENT_STREAM, 'content-encoding': carrier })
        for (let at = 0, size; at < bytes.length; at += size) {
          size = 1 + random(40)
          await new Promise<void>((sent) => response.write(bytes.subarray(at, at + size), () => sent()))
        }
        response.end()
      },
    })
    const answer = await drain(await open(pool))
    assert.deepEqual([String(decode(answer.bytes)), answer.broken], [text, false])
    assert.equal((await pool.account('alice')).usage?.last24h.totalTokens, 18)
  })
