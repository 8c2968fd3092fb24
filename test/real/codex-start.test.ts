import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import net, { type AddressInfo } from 'node:net'
import { client } from './clients.js'
import { builtin, codex, person, readme, type Codex } from './codex.js'
import { said } from './run.js'
import { scenario, type Stage } from './stage.js'
import { openTerminal } from './terminal.js'

const pool = { codex: [{ id: 'alice', plan: 'pro' }, { id: 'bob' }] }

/** What Codex asks the gateway for at its start and in its first turn, in a command and in the terminal. */
const ANY = ['POST /v1/responses 200']
const LOGIN = [
  'GET /backend-api/ps/plugins/installed 200',
  'GET /backend-api/ps/plugins/suggested/codex 200',
  'GET /backend-api/wham/accounts/check 200',
  'GET /backend-api/wham/rate-limit-reset-credits 200',
  'GET /backend-api/wham/settings/user 200',
  'GET /backend-api/wham/usage 200',
  'GET /v1/models 200',
  'POST /backend-api/codex/analytics-events/events 204',
  'POST /backend-api/ps/mcp 200',
  'POST /backend-api/ps/mcp 202',
]
/** Codex does not start without the policy of its workspace. */
const WORKSPACE = ['GET /backend-api/wham/config/bundle 200']
const people: Record<string, readonly string[]> = {
  'no login': ANY,
  'a plus login': [...ANY, ...LOGIN],
  'a business login': [...ANY, ...LOGIN, ...WORKSPACE],
  'an enterprise login': [...ANY, ...LOGIN, ...WORKSPACE],
  'an edu login': [...ANY, ...LOGIN, ...WORKSPACE],
}

for (const [setUp, config] of [
  ['the set-up of the README', readme],
  ['its own provider', builtin],
] as const)
  for (const [who, expected] of Object.entries(people))
    scenario(
      `every call that Codex makes at its start is answered: ${setUp}, ${who}`,
      pool,
      async (stage) => {
        const recorder = await record(stage)
        const plan = / (\w+) login/.exec(who)?.[1]
        try {
          const me = plan
            ? await codex(stage, config(recorder.url), { plan })
            : await person(stage, config(recorder.url), { name: 'me', issuer: stage.outside.url })
          said(await me.exec('say hi'), 'Hello from the simulator.')
          if (plan) await startTerminal(stage, me)
        } finally {
          recorder.close()
        }
        // A workspace may ask for the cost of the thread, once there is one. The simulator has none.
        const calls = recorder.calls.filter((call) => !call.includes('/thread_usage/'))
        const own = setUp === 'its own provider'
        const other = own
          ? expected.map((call) => call.replace(/^POST (\/v1\/responses) 200/, 'UPGRADE $1 101'))
          : expected
        const more = own && plan ? ['GET /backend-api/wham/security-setup 200'] : []
        assert.deepEqual([...new Set(calls)].sort(), [...other, ...more].sort())
      },
    )

async function startTerminal(stage: Stage, me: Codex): Promise<void> {
  const terminal = await openTerminal([client('codex'), '--no-daemon'], { ...me, folder: stage.folder })
  try {
    await terminal.see(/Ask Codex to do anything\s+GPT-\S+ default/)
    await terminal.enter('/status', /\/status +show current session/)
    await terminal.see(/Weekly limit:/)
  } finally {
    await terminal.close()
  }
}

/** Stands between client and gateway, and notes each call with its answer. */
async function record(stage: Stage) {
  const calls: string[] = []
  const target = new URL(stage.url)
  const server = http.createServer((request, response) => {
    const { method, url = '', headers } = request
    const passed = http.request(new URL(url, stage.url), { method, headers }, (answer) => {
      calls.push(`${method} ${url.split('?')[0]} ${answer.statusCode}`)
      response.writeHead(answer.statusCode ?? 502, answer.rawHeaders)
      answer.pipe(response)
    })
    passed.on('error', () => response.destroy())
    request.pipe(passed)
  })
  server.on('upgrade', (request, socket, head) => {
    const upstream = net.connect(Number(target.port), target.hostname, () => {
      const lines = [`${request.method} ${request.url} HTTP/1.1`]
      for (let i = 0; i < request.rawHeaders.length; i += 2)
        lines.push(`${request.rawHeaders[i]}: ${request.rawHeaders[i + 1]}`)
      upstream.write(`${lines.join('\r\n')}\r\n\r\n`)
      upstream.write(head)
      upstream.once('data', (first: Buffer) =>
        calls.push(`UPGRADE ${request.url} ${String(first).slice(9, 12)}`),
      )
      socket.pipe(upstream).pipe(socket)
    })
    upstream.on('error', () => socket.destroy())
    socket.on('error', () => upstream.destroy())
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    close: () => void server.close().closeAllConnections(),
  }
}
