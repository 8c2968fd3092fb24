import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { faults, field } from '../src/simulator/index.js'
import { inOrder, startPool } from './kit.js'
import { create, dial, isTurn, prewarm, refusedBy, saidBy, type TestSocket } from './websocket-kit.js'

const two = [{ id: 'alice' }, { id: 'bob' }]

/** Connections of this process, both ends of each, and those of the gateway to its upstreams. */
const connections = () => process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length

async function until(reached: () => boolean): Promise<void> {
  while (!reached()) await pause(10)
}

test('a thousand WebSockets work side by side, and none is left behind', { timeout: 120_000 }, async (t) => {
  const free = { percentPerRequest: 0 }
  const pool = await startPool(t, { codex: two.map(({ id }) => ({ id, primary: free, secondary: free })) })
  const before = connections()
  const sockets: TestSocket[] = []
  for (let wave = 0; wave < 10; wave++) {
    const names = Array.from({ length: 100 }, (_, n) => `s${wave}-${n}`)
    sockets.push(...(await Promise.all(names.map((name) => dial(pool, name)))))
  }
  assert.ok(connections() >= before + 4000, 'client, gateway twice, upstream')
  const answers = await Promise.all(sockets.map((socket, n) => socket.ask(n % 10 ? prewarm() : create())))
  assert.ok(answers.every((frames) => field(frames.at(-1), 'type') === 'response.completed'))
  for (const { raw } of sockets.slice(0, 300)) raw.close(1000)
  for (const { raw } of sockets.slice(300, 600)) raw.terminate()
  await Promise.all(sockets.slice(0, 600).map(({ closed }) => closed))
  await pool.sim.down()
  await Promise.all(sockets.map(({ closed }) => closed))
  await until(() => connections() <= before)
  const accounts = await Promise.all([pool.account('alice'), pool.account('bob')])
  assert.deepEqual(
    accounts.map(({ inFlight }) => inFlight),
    [0, 0],
  )
  assert.equal(
    accounts.reduce((sum, { usage }) => sum + (usage?.last24h.requests ?? 0), 0),
    100,
  )
})

test('whatever goes wrong, no connection is left behind', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  const before = connections()
  pool.sim.fail({ account: 'alice', path: '/codex/responses', with: faults.serverError() })
  pool.sim.fail({ account: 'bob', path: '/codex/responses', with: 'reset' })
  await refusedBy(pool, 's1')
  for (const fault of [faults.cut(3), faults.close(1011, 'x', 3), 'lost' as const, 'reset' as const]) {
    pool.sim.fail({ frame: isTurn, with: fault })
    const socket = await dial(pool, 's1')
    socket.send(create())
    await socket.closed
  }
  const leaving = await dial(pool, 's1')
  pool.sim.fail({ frame: isTurn, with: faults.slow(5) })
  leaving.send(create())
  await leaving.next()
  leaving.raw.terminate()
  await refusedBy(pool, 's1', { path: '/nowhere' })
  await pool.sim.down()
  await refusedBy(pool, 's1')
  await until(() => connections() <= before)
})

test('on shutdown idle WebSockets are sent away at once, and the others when their response has ended', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  pool.sim.fail({ frame: isTurn, with: faults.slow(10) })
  const idle = await dial(pool, 's1')
  await idle.ask(prewarm())
  const busy = await dial(pool, 's2')
  busy.send(create())
  const frames = [await busy.next()]
  const stopped = pool.server.stop(20_000)
  assert.deepEqual(await idle.closed, { code: 1012, reason: 'restart' })
  while (field(frames.at(-1), 'type') !== 'response.completed') frames.push(await busy.next())
  assert.equal(saidBy(frames), 'Hello from the simulator.')
  assert.deepEqual(await busy.closed, { code: 1012, reason: 'restart' })
  await stopped
})

test('a handshake that is under way when the shutdown begins is sent away as well', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  pool.sim.fail({ path: '/codex/responses', with: { pauseMs: 50 } })
  const arrived = pool.sim.next()
  const dialled = dial(pool, 's1')
  await arrived
  const stopped = pool.server.stop(20_000)
  assert.equal((await (await dialled).closed).code, 1012)
  await stopped
})

test('what does not end in time is cut', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  pool.sim.fail({ frame: isTurn, with: faults.stall(3) })
  const socket = await dial(pool, 's1')
  socket.send(create())
  await socket.next()
  await pool.server.stop(0)
  await pool.gateway.close()
  assert.equal((await socket.closed).code, 1006)
})

test('a reload leaves open WebSockets alone', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  const socket = await dial(pool, 's1')
  await pool.gateway.reload()
  assert.equal(saidBy(await socket.ask(create())), 'Hello from the simulator.')
})
