import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { test, type TestContext } from 'node:test'
import express from 'express'
import type { UserConfig } from '../../src/index.js'
import { faults } from '../../src/simulator/index.js'
import { inOrder, startPool, type PoolOptions, type TestPool, within } from '../kit/pool.js'

const SIZE = 5 * 1024 * 1024
const UPLOAD = Buffer.alloc(SIZE, 'x')

interface Sent {
  readonly socket: Socket
  /** All that comes back until the connection ends, or the answer is whole. */
  readonly answer: Promise<string>
}

/** Sends a request as simple clients do: nothing is read before all has been written. */
async function send(url: string, head: string, body: Buffer, chunked: boolean): Promise<Sent> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  let text = ''
  const answer = new Promise<string>((resolve, reject) => {
    socket.on('error', reject)
    socket.on('data', (chunk) => {
      text += String(chunk)
      if (text.endsWith('}')) resolve(text)
    })
    socket.on('close', () => resolve(text))
  })
  answer.catch(() => {})
  socket.pause()
  const length = chunked ? 'transfer-encoding: chunked' : `content-length: ${body.length}`
  socket.write(`${head}\r\nhost: localhost\r\ncontent-type: application/json\r\n${length}\r\n\r\n`)
  if (chunked) socket.write(`${body.length.toString(16)}\r\n`)
  await new Promise<void>((resolve, reject) =>
    socket.write(body, (error) => (error ? reject(error) : resolve())),
  )
  if (chunked) socket.write('\r\n0\r\n\r\n')
  socket.resume()
  return { socket, answer }
}

const one: PoolOptions = { codex: [{ id: 'alice' }] }
const keys: UserConfig = { access: { keys: { laptop: 'key-of-the-laptop-0123456789' } } }

interface Refused {
  readonly head?: string
  readonly options: PoolOptions
  readonly status: number
  readonly prepare?: (pool: TestPool) => unknown
  /** Whether the connection ends after the answer. @default false */
  readonly closes?: boolean
}

const refusals: Record<string, Refused> = {
  'without an access key': { options: { ...one, config: keys }, status: 403, closes: true },
  'to a path that no route covers': { head: 'POST /nowhere HTTP/1.1', options: one, status: 404 },
  'with a path of dots': { head: 'POST /v1/../x HTTP/1.1', options: one, status: 400 },
  'to a path that is not passed on': { head: 'POST /backend-api/other HTTP/1.1', options: one, status: 403 },
  'that is larger than maxBodyBytes': {
    options: { ...one, config: { maxBodyBytes: 100_000, maxReplayBytes: 50_000 } },
    status: 413,
  },
  'to a pool without accounts': { options: { config: { maxReplayBytes: 50_000 } }, status: 400 },
  'to a pool that is cooling': {
    options: { ...one, config: { ...inOrder, maxReplayBytes: 50_000 } },
    status: 503,
    prepare: async (pool) => {
      pool.sim.fail({ with: faults.rateLimited(60) })
      await pool.ask('s1')
    },
  },
  'to the admin endpoints': {
    head: 'POST /admin/accounts/alice/disable HTTP/1.1',
    options: one,
    status: 403,
  },
}
for (const [
  name,
  { head = 'POST /v1/responses HTTP/1.1', options, status, prepare, closes = false },
] of Object.entries(refusals))
  for (const chunked of [false, true])
    test(`an upload of 5 MB ${name} gets its answer${chunked ? ', sent in chunks' : ''}`, async (t) => {
      const pool = await startPool(t, options)
      await prepare?.(pool)
      const { socket, answer } = await send(pool.url, head, UPLOAD, chunked)
      t.after(() => socket.destroy())
      assert.match(await within(answer), new RegExp(`^HTTP/1\\.1 ${status} [^]*"error"`))
      if (closes) await within(once(socket, 'close'))
      else await asksAgain(socket)
    })

/** The connection goes on with the next request. */
async function asksAgain(socket: Socket): Promise<void> {
  socket.write('GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n')
  const [chunk] = (await within(once(socket, 'data'))) as [Buffer]
  assert.match(String(chunk), /^HTTP\/1\.1 200 /)
}

test('an upload of 5 MB that a gateway in another app refuses gets its answer', async (t) => {
  const pool = await startPool(t, { ...one, config: keys })
  const server = express().use('/ai', pool.gateway.middleware).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const { port } = server.address() as { port: number }
  const { answer } = await send(`http://127.0.0.1:${port}`, 'POST /ai/v1/responses HTTP/1.1', UPLOAD, false)
  assert.match(await within(answer), /^HTTP\/1\.1 403 [^]*"key_required"/)
})

test('an upload that the upstream refuses before its end gets that answer', async (t) => {
  const pool = await startPool(t, { ...one, config: { ...inOrder, maxReplayBytes: 50_000 } })
  pool.sim.fail({ with: { status: 413, body: { error: { message: 'too large' } } } })
  const { socket, answer } = await send(pool.url, 'POST /v1/responses HTTP/1.1', UPLOAD, false)
  t.after(() => socket.destroy())
  assert.match(await within(answer), /^HTTP\/1\.1 413 /)
})

test('an upload without end is cut off after its answer', async (t) => {
  const pool = await startPool(t, { ...one, config: keys })
  const { hostname, port } = new URL(pool.url)
  const socket = connect(Number(port), hostname)
  let written = 0
  const cut = new Promise<void>((resolve) => socket.on('close', () => resolve()).on('error', () => {}))
  socket.write('POST /v1/responses HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n')
  const chunk = Buffer.from(`${SIZE.toString(16)}\r\n${'x'.repeat(SIZE)}\r\n`)
  const more = () => {
    written += SIZE
    if (!socket.destroyed) socket.write(chunk, (error) => (error ? undefined : more()))
  }
  more()
  socket.resume()
  await within(cut)
  assert.ok(written < 40 * SIZE, `${written} bytes were taken`)
})

test('a client that announces more than is read on is told to stop', async (t: TestContext) => {
  const pool = await startPool(t, one)
  const { hostname, port } = new URL(pool.url)
  const socket = connect(Number(port), hostname)
  socket.write('POST /nowhere HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999999\r\n\r\nx')
  t.after(() => socket.destroy())
  const [head] = (await within(once(socket, 'data'))) as [Buffer]
  assert.match(String(head), /^HTTP\/1\.1 404 [^]*connection: close/i)
})
