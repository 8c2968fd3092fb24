import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import type { WebSocket } from 'ws'
import type { UserConfig } from '../../../src/index.js'
import { type EchoConnection, EchoUpstream } from '../../kit/echo-upstream.js'
import { startPool } from '../../kit/pool.js'
import { connect, type TestSocket } from '../../kit/websocket.js'

const MB = 1_000_000
const message = Buffer.alloc(100_000, 'x')
/** What the gateway may hold, and the network on both sides of it (together 4 MB were measured). */
const BOUND = 20 * MB
const OFFERED = 40 * MB

interface Pair {
  client: TestSocket
  upstream: EchoConnection
}

/** Opens both ends of a WebSocket through one gateway; one at a time. */
async function pairs(t: TestContext): Promise<() => Promise<Pair>> {
  const echo = await EchoUpstream.start(t, { echo: false })
  const config: UserConfig = {
    providers: { echo: { type: 'custom', upstream: echo.url, authorize: () => ({}) } },
    routes: [{ path: '/echo', provider: 'echo' }],
  }
  const prepare = ({ poolDir }: { poolDir: string }) => writeFile(join(poolDir, 'echo_a.json'), '{}')
  const pool = await startPool(t, { config, prepare })
  let turn: Promise<unknown> = Promise.resolve()
  return function openPair() {
    const opened = turn.then(async () => {
      const upstream = echo.next()
      return { client: await connect(`${pool.url}/echo`), upstream: await upstream }
    })
    turn = opened
    return opened
  }
}

const openPair = async (t: TestContext): Promise<Pair> => (await pairs(t))()

/** Sends until nothing more is taken; gives the bytes that were. */
async function pushUntilStalled(from: WebSocket, offered = OFFERED): Promise<number> {
  let taken = 0
  for (let sent = 0; sent < offered; sent += message.length)
    from.send(message, (error) => (taken += error ? 0 : message.length))
  for (let before = -1; taken > before;) {
    before = taken
    await pause(150)
  }
  return taken
}

function count(socket: WebSocket): { bytes: number } {
  const counted = { bytes: 0 }
  socket.on('message', (data: Buffer) => (counted.bytes += data.length))
  return counted
}

async function untilAll(counted: { bytes: number }): Promise<void> {
  while (counted.bytes < OFFERED) await pause(10)
}

test('a client that does not read stops the upstream, and gets everything when it reads on', async (t) => {
  const { client, upstream } = await openPair(t)
  client.raw.pause()
  const taken = await pushUntilStalled(upstream.socket)
  assert.ok(taken < BOUND, `${taken} bytes were taken from the upstream`)
  const counted = count(client.raw)
  client.raw.resume()
  await untilAll(counted)
  assert.equal(counted.bytes, OFFERED)
})

test('an upstream that does not read stops the client, and gets everything when it reads on', async (t) => {
  const { client, upstream } = await openPair(t)
  upstream.socket.pause()
  const taken = await pushUntilStalled(client.raw)
  assert.ok(taken < BOUND, `${taken} bytes were taken from the client`)
  const counted = count(upstream.socket)
  upstream.socket.resume()
  await untilAll(counted)
  assert.equal(counted.bytes, OFFERED)
})

test('a stalled WebSocket holds up no other', async (t) => {
  const { client, upstream } = await openPair(t)
  client.raw.pause()
  await pushUntilStalled(upstream.socket)
  const back = new Promise((resolve) =>
    upstream.socket.once('message', (data: Buffer) => resolve(String(data))),
  )
  client.raw.send('the other way')
  assert.equal(await back, 'the other way')
})

test('what the upstream sent before it broke off reaches a slow reader, however much it is', async (t) => {
  const open = await pairs(t)
  const sizes = [0.5, 1, 2, 2.5, 3, 3.5, 4, 5]
  await Promise.all(
    sizes.map(async (size) => {
      const { client, upstream } = await open()
      client.raw.pause()
      const taken = await pushUntilStalled(upstream.socket, size * MB)
      upstream.socket.terminate()
      await upstream.closed
      // Time for the gateway to hear of it before the client reads on.
      await pause(100)
      const counted = count(client.raw)
      client.raw.resume()
      assert.equal((await client.closed).code, 1006)
      assert.ok(counted.bytes >= taken, `${counted.bytes} of ${taken} bytes came`)
    }),
  )
})

test('an end on either side ends a WebSocket whose other side does not read', async (t) => {
  const one = await openPair(t)
  one.client.raw.pause()
  await pushUntilStalled(one.upstream.socket)
  one.client.raw.terminate()
  await one.upstream.closed
})
