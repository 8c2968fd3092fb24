import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import net from 'node:net'
import { test, type TestContext } from 'node:test'
import express, { type Express, type RequestHandler } from 'express'
import { createGateway } from '../../src/index.js'
import { faults } from '../../src/simulator/index.js'
import { codeOf, inOrder, saidIn, startPool, type PoolOptions, type TestPool } from '../kit/pool.js'

const two = [{ id: 'alice' }, { id: 'bob' }]

interface Hosted {
  readonly pool: TestPool
  readonly app: Express
  /** Listens with what has been mounted, and asks through it from then on. */
  listen: () => Promise<TestPool>
}

/** An app of somebody else's that is to have a gateway in it. */
async function host(t: TestContext, options: PoolOptions = {}, app = express()): Promise<Hosted> {
  const pool = await startPool(t, { codex: two, ...options })
  const listen = async () => {
    const server = app.listen(0, '127.0.0.1')
    t.after(() => server.close())
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    return Object.assign(Object.create(pool) as TestPool, { server: { url: `http://127.0.0.1:${port}` } })
  }
  return { pool, app, listen }
}

test('under a path of its own it serves everything that it serves alone', async (t) => {
  const { pool, app, listen } = await host(t)
  app.use('/ai', pool.gateway.admin, pool.gateway.middleware)
  const hosted = await listen()
  assert.equal(await hosted.servedBy('s1', { path: '/ai/v1/responses' }), 'alice')
  await hosted.request.get('/ai/backend-api/wham/settings/user').expect(200)
  assert.deepEqual(
    pool.sim.requests.map(({ path }) => path),
    ['/backend-api/codex/responses', '/backend-api/wham/settings/user'],
  )
  await hosted.request.get('/ai/healthz').expect(200)
  await hosted.request.get('/ai/admin/accounts').expect(200)
  assert.match((await hosted.request.get('/ai/metrics')).text, /requests_total\{status="200"\} 2/)
  const { status, body } = await hosted.request.get('/ai/nothing')
  assert.deepEqual([status, codeOf(body)], [404, 'no_route'])
  const key = await hosted.ask('s1', { path: '/ai/k/some-key/v1/responses' })
  assert.equal(key.status, 200)
})

test("routes of the app before, beside and after it stay the app's own", async (t) => {
  const { pool, app, listen } = await host(t)
  const answer =
    (text: string): RequestHandler =>
    (_request, response) =>
      void response.send(text)
  app.get('/ai/v1/mine', answer('before'))
  app.get('/healthz', answer("the app's health"))
  app.use('/ai', pool.gateway.middleware)
  app.get('/v1/models', answer('beside'))
  app.use(answer('after'))
  const hosted = await listen()
  for (const [path, text] of Object.entries({
    '/ai/v1/mine': 'before',
    '/healthz': "the app's health",
    '/v1/models': 'beside',
    '/aix': 'after',
    '/': 'after',
  }))
    assert.equal((await hosted.request.get(path)).text, text)
  await hosted.request.get('/ai/v1/models').expect(200)
})

test('at the root it takes its routes, and leaves everything else to the app', async (t) => {
  const { pool, app, listen } = await host(t)
  app.use(pool.gateway.middleware)
  app.use((request, response) => void response.send(`the app: ${request.url}`))
  const hosted = await listen()
  assert.equal(await hosted.servedBy('s1'), 'alice')
  for (const path of ['/', '/v2/models', '/admin', '/k/x/page'])
    assert.equal((await hosted.request.get(path)).text, `the app: ${path}`)
  // Whom it would turn away is its own affair only where the path is its own.
  assert.equal((await hosted.request.get('/page').set('host', 'app.example')).text, 'the app: /page')
  await hosted.request.get('/v1/models').set('host', 'app.example').expect(403)
})

const parsers: Record<string, RequestHandler[]> = {
  'express.json()': [express.json({ limit: '10mb' })],
  'express.text()': [express.text({ type: '*/*', limit: '10mb' })],
  'express.raw()': [express.raw({ type: '*/*', limit: '10mb' })],
  'parsers for other bodies': [express.urlencoded(), express.json({ type: 'application/vnd.app+json' })],
}
for (const [name, parser] of Object.entries(parsers))
  test(`behind ${name} a request arrives, and can be sent again`, async (t) => {
    const { pool, app, listen } = await host(t, { config: inOrder })
    app.use(parser)
    app.use('/ai', pool.gateway.middleware)
    const hosted = await listen()
    pool.sim.fail({ account: 'alice', with: faults.serverError() })
    pool.sim.reply(({ prompt }) => `You said: ${prompt}`)
    const { text } = await hosted
      .ask('s1', { path: '/ai/v1/responses', prompt: 'é'.repeat(100_000) })
      .expect(200)
    assert.equal(saidIn(text), `You said: ${'é'.repeat(100_000)}`)
    assert.deepEqual(pool.asked(), ['alice', 'bob'])
    await hosted.request.get('/ai/v1/models').expect(200)
    await hosted.request.post('/ai/backend-api/wham/tasks').expect(200)
  })

type Mount = (app: Express, ours: RequestHandler, lib: typeof express) => unknown

/** Apps with and without a parser in front of the gateway, and whether the log tells of it. */
const orders: Record<string, readonly [told: boolean, mount: Mount]> = {
  'at the root': [true, (app, ours, lib) => app.use(lib.json()).use(ours)],
  'on its path': [true, (app, ours, lib) => app.use('/v1', lib.text()).use(ours)],
  'in a router around it': [true, (app, ours, lib) => app.use(lib.Router().use(lib.raw(), ours))],
  'in a router before it': [true, (app, ours, lib) => app.use('/v1', lib.Router().use(lib.json())).use(ours)],
  'behind it': [false, (app, ours, lib) => app.use(ours).use(lib.json())],
  'on another path': [false, (app, ours, lib) => app.use('/own', lib.json()).use(ours)],
  'of one route': [false, (app, ours, lib) => app.post('/own', lib.json()).use(ours)],
  'for forms': [false, (app, ours, lib) => app.use(lib.urlencoded()).use(ours)],
}
const require = createRequire(import.meta.url)
for (const [version, lib] of Object.entries({ 4: require('express4') as typeof express, 5: express }))
  for (const [name, [told, mount]] of Object.entries(orders))
    test(`Express ${version}: a parser ${name} is ${told ? 'told of at the first request, once' : 'not told of'}`, async (t) => {
      const { pool, app, listen } = await host(t, {}, lib())
      const warn = t.mock.method(pool.gateway.log, 'warn', () => {})
      mount(app, pool.gateway.middleware, lib)
      const hosted = await listen()
      await hosted.request.get('/v1/models').expect(200)
      await hosted.ask('s1').expect(200)
      const lines = warn.mock.calls.map(({ arguments: [message] }) => String(message))
      const about = lines.filter((line) => line.includes('Mount gateway.middleware before the parser'))
      assert.equal(about.length, told ? 1 : 0)
    })

test('a parser that is called by hand is told of at the first body that it lets through', async (t) => {
  const { pool, app, listen } = await host(t)
  const warn = t.mock.method(pool.gateway.log, 'warn', () => {})
  const parse = express.json()
  app.use((request, response, next) => parse(request, response, next)).use(pool.gateway.middleware)
  const hosted = await listen()
  await hosted.ask('s1', { prompt: 'x'.repeat(200_000) }).expect(413)
  assert.equal(warn.mock.callCount(), 0)
  await hosted.ask('s1').expect(200)
  await hosted.ask('s1').expect(200)
  assert.equal(warn.mock.callCount(), 1)
})

test('behind express.json() a compressed body, which it has decoded, arrives decoded', async (t) => {
  const { gzipSync } = await import('node:zlib')
  const { pool, app, listen } = await host(t)
  app.use(express.json(), pool.gateway.middleware)
  const hosted = await listen()
  // With all that the upstream insists on, nothing is added.
  const needs = { store: false, instructions: 'x', include: ['reasoning.encrypted_content'] }
  const turn = { model: 'gpt-5.5', stream: true, input: [], ...needs }
  const response = await fetch(`${hosted.url}/v1/responses`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'content-encoding': 'gzip' },
    body: gzipSync(JSON.stringify(turn)),
  })
  assert.equal(response.status, 200)
  await response.text()
  assert.deepEqual(pool.sim.requests[0]?.json, turn)
  assert.equal(pool.sim.requests[0]?.encoding, undefined)
})

test('two gateways live in one process, each with its own accounts', async (t) => {
  const first = await host(t, { codex: [{ id: 'alice' }] })
  const second = await startPool(t, { codex: [{ id: 'bob' }] })
  first.app.use('/one', first.pool.gateway.middleware)
  first.app.use('/two', second.gateway.middleware)
  const hosted = await first.listen()
  await hosted.ask('s1', { path: '/one/v1/responses' }).expect(200)
  await hosted.ask('s1', { path: '/two/v1/responses' }).expect(200)
  assert.deepEqual([first.pool.asked(), second.asked()], [['alice'], ['bob']])
})

test('its upgrade listener leaves other paths to other listeners', async (t) => {
  const sim = await startPool(t, { codex: two })
  const { config } = sim.gateway
  const gateway = await createGateway(
    { poolDir: config.poolDir, database: false, watch: false, quotaPollMs: 0, log: { level: 'silent' } },
    { mountPath: '/ai', env: sim.sim.environment },
  )
  const app = express().use('/ai', gateway.middleware)
  const server = app.listen(0, '127.0.0.1')
  t.after(async () => {
    server.closeAllConnections()
    server.close()
    await gateway.close()
  })
  await once(server, 'listening')
  server.on('upgrade', gateway.upgrade)
  server.on('upgrade', (request, socket) => {
    if (!request.url?.startsWith('/ai/v1')) socket.end('HTTP/1.1 418 I am the app\r\n\r\n')
  })
  const { port } = server.address() as AddressInfo
  const upgrade = async (path: string) => {
    const socket = net.connect(port, '127.0.0.1')
    socket.write(
      `GET ${path} HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n`,
    )
    let answer = ''
    for await (const chunk of socket) answer += String(chunk)
    return answer.slice(9, 12)
  }
  assert.equal(await upgrade('/chat'), '418')
  assert.equal(await upgrade('/v1/responses'), '418')
  assert.equal(await upgrade('/aix/v1/responses'), '418')
  assert.equal(await upgrade('/ai/chat'), '418')
  assert.equal(await upgrade('/ai/v1/models'), '426')
})

test("middleware of the user's own runs before any account is asked", async (t) => {
  const seen: string[] = []
  const use: RequestHandler[] = [
    (request, _response, next) => {
      seen.push(`${request.method} ${request.path}`)
      next()
    },
    async (request, response, next) => {
      if (request.get('x-stop') === 'no') return next(new Error('thrown by the app'))
      if (request.get('x-stop') === undefined) return next()
      response.status(451).json({ stopped: request.get('x-stop') })
    },
    (request, _response, next) => {
      if (request.get('x-throw')) throw new Error('thrown by the app')
      next()
    },
  ]
  const pool = await startPool(t, { codex: two, config: { use } })
  await pool.ask('s1').expect(200)
  await pool.ask('s1', { headers: { 'x-stop': 'me' } }).expect(451, { stopped: 'me' })
  for (const headers of [{ 'x-stop': 'no' }, { 'x-throw': 'yes' }] as Record<string, string>[]) {
    const { status, body, text } = await pool.ask('s1', { headers })
    assert.deepEqual([status, codeOf(body)], [500, 'internal_error'])
    assert.doesNotMatch(text, /thrown by the app/)
  }
  assert.deepEqual(seen, Array(4).fill('POST /v1/responses'))
  assert.equal(pool.asked().length, 1)
})

test('it tells the app what happens', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  pool.sim.account('alice').exhaust()
  const told: string[] = []
  pool.gateway.on('attempt', ({ account, status, outcome }) =>
    told.push(`attempt ${account} ${status} ${outcome}`),
  )
  pool.gateway.on('cooldown', ({ account, kind }) => told.push(`cooldown ${account} ${kind}`))
  const over = once(pool.gateway.events, 'request')
  await pool.ask('s1').expect(200)
  const [{ account, attempts, status, method, path }] = await over
  assert.deepEqual([account, attempts, status, method, path], ['codex/bob', 2, 200, 'POST', '/v1/responses'])
  assert.deepEqual(told.sort(), [
    'attempt codex/alice 429 exhausted: usage_limit_reached: The usage limit has been reached',
    'attempt codex/bob 200 pass',
    'cooldown codex/alice exhausted',
  ])
})

test("an error of the app's own listener stops neither a request nor another listener, and is told", async (t) => {
  const pool = await startPool(t, { codex: two })
  t.mock.method(pool.gateway.log, 'error', () => {})
  pool.gateway.on('attempt', () => {
    throw new Error('no disk for this attempt')
  })
  pool.gateway.on('request', () => Promise.reject(new Error('no disk for this request')))
  pool.gateway.once('request', () => {
    // oxlint-disable-next-line no-throw-literal
    throw undefined
  })
  const over = once(pool.gateway.events, 'request')
  await pool.ask('s1').expect(200)
  await over
  await pool.ask('s1').expect(200)
  const { text } = await pool.request.get('/metrics')
  assert.match(text, /codexpool_listener_failures_total\{event="attempt"\} 2/)
  assert.match(text, /codexpool_listener_failures_total\{event="request"\} 3/)
  const { body } = await pool.request.get('/healthz')
  assert.match(
    JSON.stringify(body.recentErrors),
    /a listener of \\"attempt\\" failed: no disk for this attempt/,
  )
})

test('closing it twice is harmless, and ends what still runs', async (t) => {
  const pool = await startPool(t, { codex: two })
  pool.sim.fail({ with: 'hang' })
  const arrived = pool.sim.next()
  const asked = pool.ask('s1').then((response) => response)
  const upstream = await arrived
  await Promise.all([pool.gateway.close(), pool.gateway.close()])
  await upstream.closed
  for (const { status, body } of [await asked, await pool.ask('s2')])
    assert.deepEqual([status, codeOf(body)], [503, 'closed'])
  assert.deepEqual(pool.asked().length, 1)
})

test('a process that has closed its gateway ends by itself', async (t) => {
  const pool = await startPool(t, { codex: two })
  const script = `
    import express from 'express'
    import { createGateway, startServer } from ${JSON.stringify(new URL('../../src/index.js', import.meta.url).href)}
    const gateway = await createGateway({ poolDir: ${JSON.stringify(pool.gateway.config.poolDir)}, database: ${JSON.stringify(`${pool.dir}/child.db`)}, listen: '127.0.0.1:0' })
    const own = await startServer(gateway)
    const app = express().use('/ai', gateway.middleware).listen(0, '127.0.0.1')
    await new Promise((listening) => app.once('listening', listening))
    for (const url of [own.url, 'http://127.0.0.1:' + app.address().port + '/ai']) {
      const response = await fetch(url + '/v1/models', { headers: { connection: 'close' } })
      console.log(response.status)
      await response.text()
    }
    await own.stop(1000)
    app.close()
    await gateway.close()
  `
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    env: { ...process.env, ...pool.sim.environment, CODEX_HOME: pool.dir },
    cwd: new URL('.', import.meta.url),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += String(chunk)))
  const [code] = await once(child, 'close', { signal: AbortSignal.timeout(10_000) })
  assert.equal(code, 0, output)
  assert.match(output, /200\n200\n/)
})
