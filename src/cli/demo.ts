import { rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { poolView } from '../admin/pool-view.js'
import { poolReport } from '../admin/reports.js'
import { createGateway } from '../create-gateway.js'
import type { Gateway } from '../gateway.js'
import { type Simulator, startSimulator } from '../simulator/index.js'
import type { AttemptEvent } from '../telemetry/events.js'
import { onOneLine } from './admin-call.js'
import { clientLines } from './clients.js'
import { lineOf } from './logs.js'
import { print, printStyled } from './output.js'
import { ownName } from './own-name.js'
import type { CommonOptions } from './pool-folder.js'
import { screenNow } from './status.js'
import { statusLines } from './status-screen.js'
import { listen } from './serve.js'

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
  const screen = screenNow()
  const view = poolView(poolReport(gateway), screen.now)
  printStyled(`\n${statusLines(view, screen).join('\n')}`)
  print(clientLines(server.url, gateway.config.access))
  gateway.on('request', (request) => {
    printStyled(lineOf(onOneLine({ at: new Date().toISOString(), request })))
  })
  print('It stays up: point a client here and try it. No real upstream is asked.')
  print(`With your own accounts: stop it (Ctrl-C), and run ${ownName()} init`)
}

/** Conversations of both clients, one of which meets a limit in the middle; each attempt is shown as it happens. */
async function demoTraffic(url: string, gateway: Gateway, simulator: Simulator): Promise<void> {
  print('\nFour conversations of three turns; in the second turn one account reaches its limit:\n')
  let asked = ''
  const show = ({ account, status, outcome }: AttemptEvent) => {
    asked = account.split('/')[1]!
    print(`    ${account.padEnd(20)} ${status ?? '-'}  ${outcome}`)
  }
  let limited: string | undefined
  gateway.on('attempt', show)
  for (let turn = 1; turn <= 3; turn++) {
    for (const name of ['red (Codex)', 'green (Codex)', 'blue (Codex)', 'gold (Gemini)']) {
      const isLimited = name.startsWith('green')
      if (turn === 2 && isLimited) simulator.account(limited!).exhaust()
      print(`  ${name}, turn ${turn}`)
      await (name.endsWith('(Codex)') ? askCodex : askGemini)(
        url,
        name,
        `Turn ${turn} of conversation ${name}`,
      )
      if (isLimited) limited = asked
    }
  }
  gateway.off('attempt', show)
}

function askCodex(url: string, conversation: string, text: string): Promise<void> {
  const input = [{ type: 'message', role: 'user', content: [{ type: 'input_text', text }] }]
  const body = { model: 'gpt-5.5', stream: true, store: false, input }
  return post(`${url}/v1/responses`, body, { 'session-id': `demo-${conversation}` })
}

function askGemini(url: string, conversation: string, text: string): Promise<void> {
  const session_id = `demo-${conversation}`
  const request = { contents: [{ role: 'user', parts: [{ text }] }], session_id }
  const body = { model: 'gemini-2.5-pro', project: 'demo', user_prompt_id: session_id, request }
  return post(`${url}/v1internal:streamGenerateContent?alt=sse`, body)
}

async function post(url: string, body: object, headers: Record<string, string> = {}): Promise<void> {
  const answer = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  })
  await answer.text()
}
