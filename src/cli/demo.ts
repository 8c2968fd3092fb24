import { rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createGateway } from '../create-gateway.js'
import { startSimulator } from '../simulator/index.js'
import { tableOf } from './accounts.js'
import { clientLines } from './clients.js'
import { demoTraffic } from './demo-traffic.js'
import { listen } from './serve.js'
import type { CommonOptions } from './options.js'
import { print } from './print.js'

/** `codex-pool --demo`: the gateway on the simulator, with made-up accounts, so that the main job can be seen. */
export async function demo(options: CommonOptions): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'codex-pool-demo-'))
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
  const simulator = await startSimulator({
    codex: [
      { id: 'alice', plan: 'pro' },
      { id: 'bob', plan: 'plus' },
      { id: 'carol', plan: 'plus' },
      { id: 'dave', plan: 'team' },
    ],
    gemini: [{ id: 'grace' }, { id: 'henry' }],
    geminiApiKeys: [{ id: 'iris' }],
    remember: 100,
  })
  await simulator.writePool(folder)
  const gateway = await createGateway(
    { listen: '127.0.0.1:8989', poolDir: folder, database: false, log: { level: 'warn' } },
    { env: simulator.environment, ...(options.listen && { flags: { listen: options.listen } }) },
  )
  const server = await listen(gateway)
  await demoTraffic(server.url, gateway, simulator)
  print(`\n${tableOf(gateway.accounts())}`)
  print(clientLines(server.url, gateway.config.access))
  print('It stays up: point a client here and try it. No real upstream is asked.')
  print(
    'With your own accounts: stop it (Ctrl-C), copy your auth.json files into ./pool, and run codex-pool.',
  )
}
