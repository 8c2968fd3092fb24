import assert from 'node:assert/strict'
import { once } from 'node:events'
import http, { type IncomingMessage, type Server } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { test, type TestContext } from 'node:test'
import { createGunzip } from 'node:zlib'
import express5 from 'express'
import { clientHeaders, startPool, turn } from '../kit/pool.js'
import { EVENT_STREAM, frame, OUTPUT, intercept } from '../kit/stream.js'

/** The parts of Express that are the same in 4 and 5; its types are those of one version only. */
type Express = typeof express5
const require = createRequire(import.meta.url)
const versions: Record<string, Express> = { 4: require('express4') as Express, 5: express5 }
const pack = (name: string) => require(name) as (options?: object) => express5.RequestHandler

/** A host app under whose `/ai` a gateway lies, behind the middleware that is given. */
async function hostApp(t: TestContext, express: Express, ...front: express5.RequestHandler[]) {
  const pool = await startPool(t, { codex: [{ id: 'alice' }] })
  const app = express()
  if (front.length > 0) app.use(...front)
  app.use('/ai', pool.gateway.middleware)
  app.get('/own', (_request, response) => void response.send("the host's own"))
  const server: Server = app.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return { pool, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

async function post(url: string, type: string, body: string, headers: object = {}): Promise<IncomingMessage> {
  const length = Buffer.byteLength(body)
  const all = { ...clientHeaders(), 'content-type': type, 'content-length': length, ...headers }
  const request = http.request(url, { method: 'POST', agent: false, headers: all })
  request.end(body)
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  return response
}

for (const [version, express] of Object.entries(versions)) {
  test(`Express ${version}: compression() in front holds no event back`, async (t) => {
    const { pool, url } = await hostApp(t, express, pack('compression')())
    const taken = intercept(pool.sim)
    const answered = post(`${url}/ai/v1/responses`, 'application/json', JSON.stringify(turn()), {
      'accept-encoding': 'gzip',
    })
    const { response: upstream } = await taken
    upstream.writeHead(200, EVENT_STREAM)
    upstream.write(OUTPUT)
    const answer = await answered
    assert.equal(answer.headers['content-encoding'], 'gzip')
    const events = answer.pipe(createGunzip()).setEncoding('utf8')
    assert.equal((await once(events, 'data'))[0], OUTPUT)
    const next = frame('response.output_text.delta', { delta: 'more' })
    upstream.write(next)
    assert.equal((await once(events, 'data'))[0], next)
    upstream.end()
    assert.equal(await text(events), '')
  })

  test(`Express ${version}: cookies, policies and headers of the host stay its own`, async (t) => {
    const session = pack('cookie-session')({ name: 'host', keys: ['k'] })
    const { url } = await hostApp(
      t,
      express,
      pack('helmet')(),
      pack('cors')({ origin: true }),
      session,
      (request, response, next) => {
        Object.assign(request, { session: { user: 1 } })
        response.append('set-cookie', 'first=1')
        response.append('set-cookie', 'second=2')
        response.type('text/plain')
        next()
      },
    )
    const response = await post(`${url}/ai/v1/responses`, 'application/json', JSON.stringify(turn()), {
      accept: 'text/event-stream',
    })
    await text(response)
    const cookies: string[] = response.headers['set-cookie'] ?? []
    for (const name of ['first=1', 'second=2', 'host='])
      assert.ok(
        cookies.some((cookie) => cookie.startsWith(name)),
        name,
      )
    assert.match(response.headers['content-type'] ?? '', /event-stream/)
    assert.match(String(response.headers['content-security-policy']), /script-src/, "helmet's own policy")
  })

  const body = JSON.stringify(turn({ prompt: 'parsed' }))
  const parsers: Record<string, [type: string, parser: express5.RequestHandler]> = {
    json: ['application/json', express.json()],
    text: ['application/json', express.text({ type: '*/*' })],
    raw: ['application/json', express.raw({ type: '*/*' })],
  }
  for (const [name, [type, parser]] of Object.entries(parsers))
    test(`Express ${version}: a body that express.${name}() has read goes out as it was`, async (t) => {
      const { pool, url } = await hostApp(t, express, parser)
      const response = await post(`${url}/ai/v1/responses`, type, body)
      assert.match(await text(response), /response\.completed/)
      assert.deepEqual(pool.sim.requests.at(-1)?.json, JSON.parse(body) as unknown)
    })

  for (const extended of [true, false])
    test(`Express ${version}: a form that express.urlencoded({ extended: ${extended} }) has read goes out as a form`, async (t) => {
      const upstream = http.createServer(
        (request, response) => void text(request).then((form) => response.end(form)),
      )
      await once(upstream.listen(0, '127.0.0.1'), 'listening')
      t.after(() => upstream.close())
      const pool = await startPool(t, {
        config: {
          providers: {
            forms: {
              type: 'custom',
              upstream: `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`,
              credentials: 'alice.json',
              authorize: () => ({ 'x-key': 'k' }),
            },
          },
          routes: [{ path: '/forms', provider: 'forms' }],
        },
        codex: [{ id: 'alice' }],
      })
      const app = express().use(express.urlencoded({ extended }), pool.gateway.middleware)
      const server = app.listen(0, '127.0.0.1')
      await once(server, 'listening')
      t.after(() => server.close())
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/forms/x`
      const form = 'a=1&b=2&b=3&name=J%C3%BCrgen+%26'
      const answer = new URLSearchParams(
        await text(await post(url, 'application/x-www-form-urlencoded', form)),
      )
      assert.deepEqual([...answer].sort(), [...new URLSearchParams(form)].sort())
    })
}
