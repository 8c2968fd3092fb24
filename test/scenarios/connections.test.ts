import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { text } from 'node:stream/consumers'
import { test, type TestContext } from 'node:test'
import { startServer } from '../../src/index.js'
import { startPool, until, within } from '../kit/pool.js'

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
