import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { WebSocketServer } from 'ws'
import { createGateway } from '../../../src/index.js'
import { clientHeaders, inOrder, startPool } from '../../kit/pool.js'
import { CODEX_BETA, connect, create, saidBy } from '../../kit/websocket.js'

/** A gateway under `/ai` of an app that has WebSockets of its own. */
async function embedded(t: TestContext): Promise<string> {
  const pool = await startPool(t, { codex: [{ id: 'alice' }], config: inOrder })
  const config = {
    ...inOrder,
    poolDir: join(pool.dir, 'pool'),
    database: false as const,
    quotaPollMs: 0,
    log: { level: 'silent' as const },
  }
  const gateway = await createGateway(config, {
    mountPath: '/ai',
    env: { ...pool.sim.environment },
    cwd: pool.dir,
  })
  const own = new WebSocketServer({ noServer: true })
  const server = createServer((_request, response) => response.end())
  server.on('upgrade', gateway.upgrade)
  server.on('upgrade', (request, socket, head) => {
    if (!request.url?.startsWith('/chat')) return
    own.handleUpgrade(request, socket, head, (ws) => ws.send('the app’s own'))
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.after(async () => {
    await gateway.close()
    for (const client of own.clients) client.terminate()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

test('a gateway in another app serves WebSockets under its mount path', async (t) => {
  const url = await embedded(t)
  const socket = await connect(`${url}/ai/v1/responses`, { headers: { ...clientHeaders(), ...CODEX_BETA } })
  assert.equal(saidBy(await socket.ask(create())), 'Hello from the simulator.')
})

test('a gateway in another app leaves the WebSockets of that app alone', async (t) => {
  const url = await embedded(t)
  const socket = await connect(`${url}/chat`)
  assert.equal(await socket.next(), 'the app’s own')
})
