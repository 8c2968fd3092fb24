import assert from 'node:assert/strict'
import { test } from 'node:test'
import { faults, field } from '../../../src/simulator/index.js'
import { inOrder, startPool } from '../../kit/pool.js'
import { create, dial, isTurn, prewarm, saidBy } from '../../kit/websocket.js'

const two = [{ id: 'alice' }, { id: 'bob' }]

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
  pool.sim.fail({ frame: isTurn, with: faults.stall(7) })
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
