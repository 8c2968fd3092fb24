import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { faults, field } from '../../../src/simulator/index.js'
import { inOrder, startPool } from '../../kit/pool.js'
import { create, dial, isTurn, prewarm, refusedBy, type TestSocket, typesOf } from '../../kit/websocket.js'

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

test('whatever goes wrong, no connection is left behind', { timeout: 60_000 }, async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  const before = connections()
  pool.sim.fail({ account: 'alice', path: '/codex/responses', with: faults.serverError() })
  pool.sim.fail({ account: 'bob', path: '/codex/responses', with: 'reset' })
  await refusedBy(pool, 's1')
  for (const fault of [faults.cut(7), faults.close(1011, 'x', 7)]) {
    pool.sim.fail({ frame: isTurn, with: fault })
    const socket = await dial(pool, 's1')
    socket.send(create())
    await socket.closed
  }
  // Before the client has seen anything, its turn moves to a connection of another account.
  pool.sim.fail({ frame: isTurn, with: faults.close(1011, 'x', 3) })
  const moving = await dial(pool, 's1')
  assert.equal(typesOf(await moving.ask(create())).at(-1), 'response.completed')
  moving.raw.close()
  await moving.closed
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
