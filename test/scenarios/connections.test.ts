import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { text } from 'node:stream/consumers'
import { test, type TestContext } from 'node:test'
import { startServer } from '../../src/index.js'
import { clientHeaders, startPool, turn, until, within } from '../kit/pool.js'
import { EVENT_STREAM, frame, intercept, OUTPUT } from '../kit/stream.js'

const key = 'key-of-the-laptop-0123456789'

/** A second server over the gateway of a pool, with limits of its own. */
async function served(t: TestContext, limits: { headMs: number; strangers: number }) {
  const pool = await startPool(t, { codex: [{ id: 'alice' }], config: { access: { keys: { laptop: key } } } })
  const server = await startServer(pool.gateway, limits)
  t.after(() => server.stop(0))
  return server
}

async function connection(url: string, bytes = ''): Promise<net.Socket> {
  const { hostname, port } = new URL(url)
  const socket = net.connect(Number(port), hostname)
  socket.on('error', () => {})
  await once(socket, 'connect')
  socket.write(bytes)
  return socket
}

test('a head that does not arrive in time is given up', async (t) => {
  const { url } = await served(t, { headMs: 60, strangers: 100 })
  for (const begun of ['GET /healthz HTTP/1.1\r\nhost: localh', 'GET /healthz HT'])
    assert.match(await text(await connection(url, begun)), /^HTTP\/1\.1 408 [^]*"head_timeout"/)
})

test('strangers that open connections and say nothing take no room from a client', async (t) => {
  const { url } = await served(t, { headMs: 60_000, strangers: 20 })
  const strangers = await Promise.all(Array.from({ length: 60 }, () => connection(url, 'GET / HTTP/1.1\r\n')))
  t.after(() => strangers.forEach((socket) => socket.destroy()))
  for (const socket of strangers) socket.resume()
  await until(() => strangers.filter(({ destroyed }) => !destroyed).length === 20)
  const answer = await fetch(`${url}/k/${key}/v1/models`)
  assert.equal(answer.status, 200)
})

test('while hundreds of strangers connect, send half a request or a whole one, a client with a key is served', async (t) => {
  const pool = await startPool(t, { codex: [{ id: 'alice' }], config: { access: { keys: { laptop: key } } } })
  const server = await startServer(pool.gateway, { headMs: 60_000, strangers: 30 })
  t.after(() => server.stop(0))
  const headers = { ...clientHeaders(), 'content-type': 'application/json', authorization: `Bearer ${key}` }
  const post = { method: 'POST', headers, body: JSON.stringify(turn()) }
  const taken = intercept(pool.sim)
  const running = fetch(`${server.url}/v1/responses`, post)
  const { response: upstream } = await taken
  upstream.writeHead(200, EVENT_STREAM).write(OUTPUT)
  const stream = (await running).body!.pipeThrough(new TextDecoderStream()).getReader()
  assert.equal((await stream.read()).value, OUTPUT)

  const said = ['', 'GET /v1/models HTT', 'GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n', '\0\0\r\n\r\n']
  const strangers: net.Socket[] = []
  t.after(() => strangers.forEach((socket) => socket.destroy()))
  for (let wave = 0; wave < 6; wave++) {
    const opened = Array.from({ length: 50 }, (_, at) => connection(server.url, said[at % said.length]))
    strangers.push(...(await Promise.all(opened)))
    assert.equal((await fetch(`${server.url}/v1/models`, { headers })).status, 200)
  }
  for (const socket of strangers) socket.resume()
  await until(() => strangers.filter(({ destroyed }) => !destroyed).length <= 30)
  upstream.end(frame('response.completed', { response: {} }))
  assert.match((await stream.read()).value ?? '', /response\.completed/)
})

test('a stranger keeps no connection open by what it may ask without a key, nor by a refused handshake', async (t) => {
  const { url } = await served(t, { headMs: 60_000, strangers: 20 })
  for (const path of ['/healthz', '/metrics', '/nothing']) {
    const request = `GET ${path} HTTP/1.1\r\nhost: localhost\r\n\r\n`
    assert.match(await text(await connection(url, request)), /^HTTP\/1\.1 \d+ [^]*connection: close/i)
  }
  const { hostname, port } = new URL(url)
  const halfOpen = net.connect({ host: hostname, port: Number(port), allowHalfOpen: true })
  const gone = new Promise((resolve) => halfOpen.on('error', () => {}).once('close', resolve))
  const offer = 'connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13'
  halfOpen.write(
    `GET /v1/responses HTTP/1.1\r\nhost: localhost\r\n${offer}\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n`,
  )
  halfOpen.resume()
  const poke = setInterval(() => halfOpen.write('x'), 100)
  t.after(() => clearInterval(poke))
  await within(gone)
})

test('a request that is turned away keeps no connection open', async (t) => {
  const { url } = await served(t, { headMs: 60_000, strangers: 20 })
  const request = 'GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n'
  assert.match(await text(await connection(url, request)), /^HTTP\/1\.1 403 [^]*connection: close/i)
})

test('half a head does not hold up a stop', async (t) => {
  const server = await served(t, { headMs: 60_000, strangers: 20 })
  const socket = await connection(server.url, 'POST /v1/responses HTTP/1.1\r\nhost: loc')
  const closed = new Promise((resolve) => socket.resume().once('close', resolve))
  await server.stop(60_000)
  await closed
})
