import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import type { RequestHandler } from 'express'
import type { ClientRequest } from '../../config/provider.js'
import type { Exchange } from '../../middleware/exchange.js'
import { faults } from '../../src/simulator/index.js'
import { codeOf, inOrder, startPool, turn, until, within, type TestPool } from '../kit/pool.js'
import { drain, open, send } from '../kit/stream.js'

const two = [{ id: 'alice' }, { id: 'bob' }]
const MB = 1024 * 1024

const inFlight = (pool: TestPool) =>
  pool.gateway.accounts().reduce((sum, account) => sum + account.inFlight, 0)

/** A turn that is about so long. */
function large(bytes: number): Buffer {
  return Buffer.from(JSON.stringify(turn({ prompt: randomBytes(bytes / 2).toString('hex') })))
}

const pieces = (body: Buffer, size = 65_536) =>
  Readable.from(
    (function* () {
      for (let at = 0; at < body.length; at += size) yield body.subarray(at, at + size)
    })(),
  )

const uploads: Record<string, (body: Buffer) => Buffer | Readable> = {
  'of a known length': (body) => body,
  chunked: (body) => pieces(body),
}
for (const [name, upload] of Object.entries(uploads))
  test(`a body of 5 MB is sent to the next account byte for byte: ${name}`, async (t) => {
    const pool = await startPool(t, { codex: two, config: inOrder })
    pool.sim.fail({ account: 'alice', with: 'reset' })
    const body = large(5 * MB)
    const answer = await open(pool, { body: upload(body) })
    assert.equal(answer.statusCode, 200)
    assert.equal((await drain(answer)).broken, false)
    assert.deepEqual(pool.asked(), ['alice', 'bob'])
    for (const { raw, headers } of pool.sim.requests) {
      assert.ok(raw.equals(body))
      assert.equal(headers['content-length'], String(body.length))
      assert.equal(headers['transfer-encoding'], undefined)
    }
  })

test('a compressed body is passed on as the bytes that came', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  pool.sim.fail({ account: 'alice', with: faults.serverError() })
  const body = gzipSync(JSON.stringify(turn()))
  const answer = await open(pool, { body, headers: { 'content-encoding': 'gzip', 'session-id': 's1' } })
  assert.equal(answer.statusCode, 200)
  await drain(answer)
  assert.deepEqual(pool.asked(), ['alice', 'bob'])
  for (const { raw, encoding } of pool.sim.requests) assert.ok(raw.equals(body) && encoding === 'gzip')
})

for (const [name, upload] of Object.entries(uploads)) {
  test(`a body too large to keep is streamed to one account: ${name}`, async (t) => {
    const pool = await startPool(t, { codex: two, config: { ...inOrder, maxReplayBytes: MB } })
    const body = large(5 * MB)
    const answer = await open(pool, { body: upload(body), headers: { 'session-id': 's1' } })
    assert.equal(answer.statusCode, 200)
    assert.equal((await drain(answer)).broken, false)
    assert.deepEqual(pool.asked(), ['alice'])
    assert.ok(pool.sim.requests[0]?.raw.equals(body))
  })

  test(`and is not asked for twice, for it is gone: ${name}`, async (t) => {
    const pool = await startPool(t, { codex: two, config: { ...inOrder, maxReplayBytes: MB } })
    pool.sim.fail({ account: 'alice', with: faults.serverError(503) })
    const answer = await open(pool, { body: upload(large(2 * MB)) })
    const { bytes } = await drain(answer)
    assert.deepEqual([answer.statusCode, codeOf(JSON.parse(String(bytes)))], [503, 'upstream_unavailable'])
    assert.deepEqual(pool.asked(), ['alice'])
  })
}

test('a large body starts on its way before it has wholly arrived', async (t) => {
  const pool = await startPool(t, { codex: two, config: { ...inOrder, maxReplayBytes: 1000 } })
  const body = new PassThrough()
  body.write(large(4000))
  const request = send(pool, { body })
  await until(() => inFlight(pool) === 1)
  request.destroy()
  await until(() => inFlight(pool) === 0)
})

const limits: Record<string, { body: Buffer | Readable; maxBodyBytes: number }> = {
  'said to be too large': { body: Buffer.alloc(2000), maxBodyBytes: 1999 },
  'too large in one piece': { body: pieces(Buffer.alloc(2000)), maxBodyBytes: 1999 },
  'too large in the end': { body: pieces(Buffer.alloc(200_000), 10_000), maxBodyBytes: 199_999 },
}
for (const [name, { body, maxBodyBytes }] of Object.entries(limits))
  test(`a body that is ${name} is answered 413, and nobody is asked`, async (t) => {
    const pool = await startPool(t, { codex: two, config: { maxBodyBytes } })
    const answer = await open(pool, { body })
    const { bytes } = await drain(answer)
    assert.equal(answer.statusCode, 413)
    assert.equal(codeOf(JSON.parse(String(bytes))), 'body_too_large')
    assert.deepEqual(pool.asked(), [])
  })

test('a body as large as may be passes', async (t) => {
  const body = JSON.stringify(turn())
  const pool = await startPool(t, { codex: two, config: { maxBodyBytes: body.length } })
  assert.equal((await open(pool, { body })).statusCode, 200)
  assert.equal((await open(pool, { body: pieces(Buffer.from(body), 10) })).statusCode, 200)
})

test('bodies of all requests together are kept up to a limit; beyond it they are streamed', async (t) => {
  const config = { ...inOrder, maxReplayBytes: 2 * MB, maxReplayTotalBytes: 2 * MB }
  const pool = await startPool(t, { codex: two, config })
  pool.sim.fail({ path: '/codex/responses', with: faults.stall(6) })
  const body = large(1.5 * MB)
  const first = await open(pool, { body })
  pool.sim.fail({ with: faults.serverError(500) })
  const second = await open(pool, { body })
  assert.equal(second.statusCode, 502, 'streamed, so not sent to a second account')
  const over = once(pool.gateway.events, 'request')
  first.destroy()
  await over
  pool.sim.fail({ with: faults.serverError(500) })
  const third = await open(pool, { body })
  assert.equal(third.statusCode, 200, 'the first one has left, and its room is free again')
})

test('an upload that turns out too large on its way ends there with 413, and at nobody’s cost', async (t) => {
  const pool = await startPool(t, { codex: two, config: { maxReplayBytes: 1000, maxBodyBytes: 100_000 } })
  const answer = await open(pool, { body: pieces(Buffer.alloc(1_000_000), 10_000) })
  const { bytes } = await drain(answer)
  assert.deepEqual([answer.statusCode, codeOf(JSON.parse(String(bytes)))], [413, 'body_too_large'])
  for (const { state } of pool.gateway.accounts()) assert.equal(state, 'ready')
  assert.ok(pool.sim.requests.length <= 1)
  assert.ok((pool.sim.requests[0]?.raw.length ?? 0) <= 100_000)
  await until(() => inFlight(pool) === 0)
})

test('an upload that turns out too large before anybody has been found for it is answered 413', async (t) => {
  const slow = {
    type: 'custom' as const,
    upstream: '',
    credentials: 'slow.json',
    authorize: async ({ request }: { request: ClientRequest }) => {
      await until(() => (request as Exchange).overflow)
      return {}
    },
  }
  const pool = await startPool(t, {
    config: {
      maxReplayBytes: 1000,
      maxBodyBytes: 20_000,
      providers: { slow },
      routes: [{ path: '/slow', provider: 'slow' }],
    },
    prepare: ({ sim, poolDir }) => {
      slow.upstream = sim.url
      return writeFile(join(poolDir, 'slow.json'), '{}', { mode: 0o600 })
    },
  })
  const body = pieces(Buffer.alloc(50_000), 10_000)
  assert.equal((await within(open(pool, { path: '/slow/responses', body }))).statusCode, 413)
  await until(() => inFlight(pool) === 0)
})

test('a client that leaves in the middle of its upload reaches nobody', async (t) => {
  let arrived = () => {}
  const arrival = new Promise<void>((resolve) => (arrived = resolve))
  const use: RequestHandler = (_request, _response, next) => {
    arrived()
    next()
  }
  const pool = await startPool(t, { codex: two, config: { use: [use] } })
  const body = new PassThrough()
  const over = once(pool.gateway.events, 'request')
  const request = send(pool, { body })
  body.write('{"model":')
  await arrival
  request.destroy()
  const [{ status, attempts }] = await over
  assert.deepEqual([status, attempts], [499, 0])
  assert.deepEqual(pool.asked(), [])
})

test('a request without a body has none upstream', async (t) => {
  const pool = await startPool(t, { codex: two })
  await pool.request.get('/v1/models').expect(200)
  const { headers, raw } = pool.sim.requests[0]!
  assert.deepEqual(
    [headers['content-length'], headers['transfer-encoding'], raw.length],
    [undefined, undefined, 0],
  )
})

test('a client that asks before it sends is told to go on', async (t) => {
  const pool = await startPool(t, { codex: two })
  const body = new PassThrough()
  const request = send(pool, { body, headers: { expect: '100-continue' } })
  await once(request, 'continue')
  body.end(JSON.stringify(turn()))
  const [answer] = await once(request, 'response')
  assert.equal(answer.statusCode, 200)
  assert.equal(pool.sim.requests[0]?.headers.expect, undefined)
})
