import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, get, IncomingMessage, request as send, ServerResponse } from 'node:http'
import { Socket, type AddressInfo } from 'node:net'
import { test, type TestContext } from 'node:test'
import express from 'express'
import type { HeldAnswer } from '../../middleware/forward.js'
import { hold } from '../../middleware/judge.js'
import { KeepAlive } from '../../middleware/keep-alive.js'
import { faults } from '../../src/simulator/index.js'
import { inOrder, startPool, until, within } from '../kit/pool.js'
import { startTunnelProxy } from '../kit/proxies.js'
import { refusedBy } from '../kit/websocket.js'

async function listening(t: TestContext, handler: Parameters<typeof createServer>[1]): Promise<string> {
  const server = createServer(handler)
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** The times, in ms, of the timers that run out from now on. */
function timersThatRunOut(t: TestContext): number[] {
  const ended: number[] = []
  const real = globalThis.setTimeout
  t.mock.method(globalThis, 'setTimeout', (run: (...args: unknown[]) => void, ms = 0, ...args: unknown[]) => {
    const late = () => {
      ended.push(ms)
      run(...args)
    }
    return real(late, ms)
  })
  return ended
}

const refusals = {
  400: { status: 400, body: { error: { message: 'no such version' } } },
  401: faults.unauthorized(),
  403: { status: 403, body: { detail: 'Forbidden' } },
  404: { status: 404, body: { detail: 'Not Found' } },
  418: { status: 418, body: '' },
  429: faults.rateLimited(60),
}
for (const [status, fault] of Object.entries(refusals))
  test(`the list of models waits for nothing where an account answers ${status}`, async (t) => {
    const codex = ['alice', 'bob'].map((id) => ({ id, models: ['gpt-5.5'] }))
    const pool = await startPool(t, { codex })
    pool.sim.fail({ account: 'bob', path: '/codex/models', with: fault, times: Infinity })
    const ended = timersThatRunOut(t)
    await pool.request.get('/v1/models?client_version=0.169.0').expect(200)
    assert.deepEqual(
      ended.filter((ms) => ms >= 1_000),
      [],
    )
  })

/** Longer than any test; ms. */
const LONG_MS = 2 ** 31 - 1

/** An upstream's answer as it has come. */
const held = (response: IncomingMessage): HeldAnswer => ({
  status: 200,
  response,
  begun: [],
  ended: false,
  discard: () => {},
  done: () => {},
  onBroken: () => {},
})

test('an answer that has been read as a whole is held again at once, with all of its bytes', async (t) => {
  const url = await listening(t, (_request, response) => response.end('all of it'))
  const [response] = (await once(get(url), 'response')) as [IncomingMessage]
  const first = await hold(held(response), { maxBytes: 100, maxMs: LONG_MS })
  await until(() => response.closed)
  for (const answer of [first, { ...first, ended: false }]) {
    const again = await within(hold(answer, { maxBytes: 100, maxMs: LONG_MS }))
    assert.deepEqual([again.ended, String(Buffer.concat(again.begun))], [true, 'all of it'])
  }
})

test('an answer that has broken is held no longer, and is not whole', async (t) => {
  const url = await listening(t, (_request, response) => {
    response.write('half')
    response.once('drain', () => {})
    setImmediate(() => response.destroy())
  })
  const [response] = (await once(get(url), 'response')) as [IncomingMessage]
  response.on('error', () => {})
  await until(() => response.closed)
  assert.equal((await within(hold(held(response), { maxBytes: 100, maxMs: LONG_MS }))).ended, false)
})

test('nothing is written to a client that left before the answer was held back', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const response = new ServerResponse(new IncomingMessage(new Socket()))
  response.destroy()
  const written = t.mock.method(response, 'write')
  const keepAlive = new KeepAlive(response, { afterMs: 10, event: 'event' }, Date.now())
  keepAlive.start()
  t.mock.timers.tick(1_000)
  assert.equal(written.mock.callCount(), 0)
})

test('a body that middleware in front has read and dropped is an error, and no wait without end', async (t) => {
  const pool = await startPool(t, { codex: [{ id: 'alice' }] })
  const app = express()
  app.use((request, _response, next) => void request.resume().once('end', next), pool.gateway.middleware)
  const url = await listening(t, app)
  const init = { method: 'POST', body: '{"model":"gpt-5.5"}', signal: AbortSignal.timeout(20_000) }
  const response = await fetch(`${url}/v1/responses`, init)
  assert.equal(response.status, 500)
  assert.match(await response.text(), /"body_taken"/)
})

test('a client that leaves while middleware of the user’s own works is not waited for', async (t) => {
  let go = () => {}
  let begun = false
  const pool = await startPool(t, {
    codex: [{ id: 'alice' }],
    config: {
      ...inOrder,
      maxReplayTotalBytes: 20_000,
      use: [
        async (request, _response, next) => {
          if (request.url?.includes('leaves')) {
            begun = true
            await new Promise<void>((resolve) => (go = resolve))
          }
          next()
        },
      ],
    },
  })
  const leaving = send(`${pool.url}/v1/responses?leaves`, { method: 'POST' }).on('error', () => {})
  leaving.end(JSON.stringify({ prompt: 'x'.repeat(15_000) }))
  await until(() => begun)
  leaving.destroy()
  await until(async () =>
    /codexpool_requests_total\{status="499"\} 1/.test((await pool.request.get('/metrics')).text),
  )
  go()
  // Its bytes must not count any more: there is room for this one.
  await pool.ask('s1', { prompt: 'x'.repeat(15_000) }).expect(200)
  assert.equal(pool.sim.requests.length, 1)
})

test('a handshake over a proxy’s connection, which comes connected, counts as sent', async (t) => {
  const proxy = await startTunnelProxy(t)
  const pool = await startPool(t, {
    codex: [{ id: 'alice' }],
    config: {
      ...inOrder,
      retry: { default: { headersTimeoutMs: 100 } },
      providers: { codex: { type: 'codex', proxy: `http://${proxy.address}` } },
    },
  })
  pool.sim.fail({ with: 'hang' })
  assert.match((await refusedBy(pool, 's1')).body, /headers_timeout/)
})

test('an upgrade that the host app hands over after its client has left asks no account', async (t) => {
  const pool = await startPool(t, { codex: [{ id: 'alice' }] })
  const server = createServer()
  const handed = new Promise<void>((resolve) => {
    server.on('upgrade', (request, socket, head) => {
      socket.on('end', () => socket.destroy())
      socket.resume().once('close', () => {
        pool.gateway.upgrade(request, socket, head)
        resolve()
      })
    })
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.after(() => server.close())
  const { port } = server.address() as AddressInfo
  const wire = new Socket().connect(port, '127.0.0.1')
  wire.write(
    'GET /v1/responses HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n' +
      'sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-version: 13\r\n\r\n',
  )
  await once(server, 'upgrade')
  wire.destroy()
  await within(handed)
  await pool.ask('s1').expect(200)
  await pool.gateway.close()
  assert.equal(pool.sim.requests.length, 1)
})
