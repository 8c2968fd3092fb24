import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { faults } from '../../src/simulator/index.js'
import { inOrder, startPool, within } from '../kit/pool.js'
import { drain, EVENT_STREAM, frame, open, OUTPUT, send, intercept } from '../kit/stream.js'

const two = [{ id: 'alice' }, { id: 'bob' }]
const impatient = (idleTimeoutMs: number) => ({ ...inOrder, retry: { default: { idleTimeoutMs } } })

test('each event arrives before the next one is sent', async (t) => {
  const pool = await startPool(t, { codex: two })
  const taken = intercept(pool.sim)
  const opened = open(pool)
  const { response } = await taken
  response.writeHead(200, EVENT_STREAM)
  response.write(OUTPUT)
  const answer = await opened
  assert.equal(String((await once(answer, 'data'))[0]), OUTPUT)
  for (let i = 0; i < 5; i++) {
    const next = frame('response.output_text.delta', { delta: String(i) })
    response.write(next)
    assert.equal(String((await once(answer, 'data'))[0]), next)
  }
  response.end()
  assert.deepEqual(await drain(answer), { bytes: Buffer.alloc(0), broken: false })
})

test('the head arrives before any body, for an answer that is no stream of events', async (t) => {
  const pool = await startPool(t, { codex: two })
  const taken = intercept(pool.sim, '/codex/files/1')
  const opened = open(pool, { method: 'GET', path: '/v1/files/1' })
  const { response } = await taken
  response.writeHead(200, { 'content-type': 'application/json', etag: '"e"' }).flushHeaders()
  const answer = await opened
  assert.equal(answer.headers.etag, '"e"')
  response.end('{}')
  assert.equal(String((await drain(answer)).bytes), '{}')
})

test('bytes come through as they are, in whatever pieces', async (t) => {
  const pool = await startPool(t, { codex: two })
  const bytes = randomBytes(300_000)
  for (const type of ['application/octet-stream', 'application/json', 'text/event-stream']) {
    const taken = intercept(pool.sim)
    const opened = open(pool)
    const { response } = await taken
    response.writeHead(200, { 'content-type': type })
    response.write(OUTPUT)
    for (let at = 0, size = 1; at < bytes.length; at += size, size = (size * 7) % 9973 || 1)
      response.write(bytes.subarray(at, at + size))
    response.end()
    const read = await drain(await opened)
    assert.ok(read.bytes.equals(Buffer.concat([Buffer.from(OUTPUT), bytes])), type)
    assert.equal(read.broken, false)
  }
})

test('an answer that arrives as a whole, head and end in one piece, is passed on as a whole', async (t) => {
  const pool = await startPool(t, { codex: two })
  const failed = frame('response.failed', { response: { error: { code: 'invalid_prompt' } } })
  for (const text of [OUTPUT, OUTPUT + frame('response.completed'), failed, `: ping\n\n${OUTPUT}`]) {
    pool.sim.fail({ with: (_request, response) => void response.writeHead(200, EVENT_STREAM).end(text) })
    const { bytes, broken } = await drain(await open(pool))
    assert.deepEqual([String(bytes), broken], [text, false])
  }
  assert.equal(pool.asked().length, 4)
})

test('an answer that is compressed although we asked for none is passed on as it is', async (t) => {
  const pool = await startPool(t, { codex: two })
  pool.sim.fail({ with: faults.gzip() })
  const compressed = await open(pool)
  assert.equal(compressed.headers['content-encoding'], 'gzip')
  const { bytes } = await drain(compressed)
  assert.deepEqual([...bytes.subarray(0, 2)], [0x1f, 0x8b])
  const { text } = await pool.ask('s1').expect(200)
  assert.match(text, /response\.completed/)
})

const bodiless = { HEAD: 200, GET: 204, PUT: 304 }
for (const [method, status] of Object.entries(bodiless))
  test(`an answer without a body ends: ${method} ${status}`, async (t) => {
    const pool = await startPool(t, { codex: two })
    pool.sim.fail({ with: (_request, response) => void response.writeHead(status, { etag: '"e"' }).end() })
    const answer = await open(pool, { method, path: '/v1/files/1', body: '' })
    assert.deepEqual([answer.statusCode, answer.headers.etag], [status, '"e"'])
    assert.deepEqual(await drain(answer), { bytes: Buffer.alloc(0), broken: false })
  })

test('a client that does not read holds the upstream back, and is not cut off for its own silence', async (t) => {
  const pool = await startPool(t, { codex: two, config: impatient(500) })
  const taken = intercept(pool.sim)
  const opened = open(pool)
  const { response } = await taken
  response.writeHead(200, EVENT_STREAM).write(OUTPUT)
  const answer = await opened
  const total = 48
  const pour = pourMegabytes(response, total)
  await pour.stuck()
  assert.ok(pour.written < total / 2, `${pour.written} MB were taken for a client that read nothing`)
  await delay(600)
  const { bytes, broken } = await drain(answer)
  assert.equal(bytes.length, OUTPUT.length + total * 1024 * 1024)
  assert.equal(broken, false)
})

/** Writes as fast as it is taken, and ends. `stuck` resolves once nothing has been taken for a while. */
function pourMegabytes(response: ServerResponse, total: number) {
  const megabyte = Buffer.alloc(1024 * 1024, 'x')
  const pour = {
    written: 0,
    async stuck() {
      for (let before = -1; before !== pour.written && pour.written < total; await delay(150))
        before = pour.written
    },
  }
  void (async () => {
    for (; pour.written < total; pour.written++) if (!response.write(megabyte)) await once(response, 'drain')
    response.end()
  })()
  return pour
}

const phases = {
  'before an answer': 'hang',
  'in the middle of a stream': faults.stall(6),
  'while the first events are held': faults.stall(1),
} as const
for (const [phase, fault] of Object.entries(phases))
  test(`a client that leaves ends the upstream request, and nobody is blamed: ${phase}`, async (t) => {
    const pool = await startPool(t, { codex: two, config: inOrder })
    pool.sim.fail({ with: fault })
    const arrived = pool.sim.next()
    const request = send(pool)
    const upstream = await arrived
    if (phase === 'in the middle of a stream') await once(request, 'response')
    const over = once(pool.gateway.events, 'request')
    request.destroy()
    await within(upstream.closed)
    assert.equal(upstream.clientLeft, true)
    await over
    assert.deepEqual(pool.asked(), ['alice'], 'nobody else is asked')
    const { state, inFlight, cooldowns } = await pool.account('alice')
    assert.deepEqual([state, inFlight, cooldowns], ['ready', 0, []])
  })

test('a stream that breaks after its first output is broken for the client too, and not asked for again', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  const taken = intercept(pool.sim)
  const opened = open(pool)
  const { response } = await taken
  response.writeHead(200, EVENT_STREAM).write(OUTPUT)
  const answer = await opened
  await once(answer, 'readable')
  response.destroy()
  assert.deepEqual(await drain(answer), { bytes: Buffer.from(OUTPUT), broken: true })
  assert.deepEqual(pool.asked(), ['alice'])
  assert.equal((await pool.account('alice')).inFlight, 0)
})

test('a stream that the upstream ends early ends early for the client too', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  pool.sim.fail({ with: faults.end(6) })
  const { bytes, broken } = await drain(await open(pool))
  assert.equal(broken, false)
  assert.equal(String(bytes).split('\n\n').length, 7)
  assert.deepEqual(pool.asked(), ['alice'])
})

test('an answer shorter than it was announced is broken for the client too', async (t) => {
  const pool = await startPool(t, { codex: two })
  pool.sim.fail({
    with: (_request, response) => {
      response.writeHead(200, { 'content-length': '100', 'content-type': 'application/json' })
      response.write('{"half":', () => response.destroy())
    },
  })
  const { bytes, broken } = await drain(await open(pool, { method: 'GET', path: '/v1/files/1/content' }))
  assert.deepEqual([String(bytes), broken], ['{"half":', true])
})

test('a stream may last longer than every timeout, as long as it is not silent', async (t) => {
  const retry = { default: { idleTimeoutMs: 400, headersTimeoutMs: 400, connectTimeoutMs: 400 } }
  const pool = await startPool(t, { codex: two, config: { retry } })
  pool.sim.fail({ with: faults.slow(50) })
  const { text } = await pool.ask('s1').expect(200)
  assert.match(text, /response\.completed/)
})

test('silence ends a stream, as broken', async (t) => {
  const pool = await startPool(t, { codex: two, config: impatient(100) })
  pool.sim.fail({ with: faults.stall(6) })
  const arrived = pool.sim.next()
  const answer = await open(pool)
  assert.equal((await drain(answer)).broken, true)
  await (
    await arrived
  ).closed
  assert.deepEqual(pool.asked(), ['alice'])
})
