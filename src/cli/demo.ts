import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createGateway } from '../create-gateway.js'
import type { Gateway } from '../gateway.js'
import { faults, startSimulator, type Simulator } from '../simulator/index.js'
import { tableOf } from './accounts.js'
import { clientLines } from './clients.js'
import type { CommonOptions } from './main.js'
import { listen, print } from './serve.js'

/** `codex-pool --demo`: the gateway on the simulator, with made-up accounts, so that the main job can be seen. */
export async function demo(options: CommonOptions): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'codex-pool-demo-'))
  process.on('exit', () => void rm(folder, { recursive: true, force: true }))
  const simulator = await startSimulator({
    codex: [
      { id: 'alice', plan: 'pro' },
      { id: 'bob', plan: 'plus' },
      { id: 'carol', plan: 'plus' },
      { id: 'dave', plan: 'team' },
    ],
  })
  await simulator.writePool(folder)
  const gateway = await createGateway(
    { listen: '127.0.0.1:8989', poolDir: folder, database: false, log: { level: 'warn' } },
    { env: simulator.environment, ...(options.listen && { flags: { listen: options.listen } }) },
  )
  const server = await listen(gateway)
  await converse(server.url, gateway, simulator)
  print(`\n${tableOf(gateway.accounts())}`)
  print(clientLines(server.url, gateway.config.access))
  print('It stays up: point a client here and try it. No real upstream is asked.')
  print(
    'With your own accounts: stop it (Ctrl-C), copy your auth.json files into ./pool, and run codex-pool.',
  )
}

/** Three conversations, one of which meets a limit on the way. */
async function converse(url: string, gateway: Gateway, simulator: Simulator): Promise<void> {
  print('\nThree conversations of three turns; in the second turn one account reaches its limit:\n')
  gateway.on('attempt', ({ account, status, outcome }) =>
    print(`    ${account.padEnd(14)} ${status ?? '-'}  ${outcome}`),
  )
  for (let turn = 1; turn <= 3; turn++) {
    for (const conversation of ['red', 'green', 'blue']) {
      if (turn === 2 && conversation === 'green')
        simulator.fail({
          path: '/codex/responses',
          with: faults.usageLimit({ resetsAt: Date.now() + 3_600_000 }),
        })
      print(`  conversation ${conversation}, turn ${turn}`)
      await ask(url, conversation, turn)
    }
  }
}

async function ask(url: string, conversation: string, turn: number): Promise<void> {
  const text = `Turn ${turn} of conversation ${conversation}`
  const input = [{ type: 'message', role: 'user', content: [{ type: 'input_text', text }] }]
  const response = await fetch(`${url}/v1/responses`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'session-id': `demo-${conversation}` },
    body: JSON.stringify({ model: 'gpt-5.5', stream: true, store: false, input }),
  })
  await response.text()
}
