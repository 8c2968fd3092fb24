import assert from 'node:assert/strict'
import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import type { ProviderEntry } from '../../src/index.js'
import { faults } from '../../src/simulator/index.js'
import { CLIENT, startPool, type TestPool } from '../kit/pool.js'

const key = 'key-of-the-laptop-0123456789'
const prompt = 'a-prompt-that-is-networkDown-business'

/** All that the gateway writes to its terminal from now on. */
function captureLog(t: TestContext): { readonly text: string } {
  const log = { text: '' }
  for (const stream of [process.stderr, process.stdout])
    t.mock.method(stream, 'write', (chunk: unknown) => ((log.text += String(chunk)), true))
  return log
}

/** A provider of the user's own that says too much. */
const careless: ProviderEntry = {
  type: 'custom',
  upstream: 'https://careless.example',
  authorize: ({ credential }) => {
    throw new Error(`cannot use ${credential.key} as a Bearer ${credential.key}`)
  },
}

const config = {
  log: { level: 'debug' as const },
  access: { keys: { laptop: key } },
  providers: { careless },
  routes: [{ path: '/careless', provider: 'careless' }],
}

/** As much as can go wrong, with upstreams that repeat what they were sent. */
async function live(pool: TestPool): Promise<{ text: string; ids: string[] }> {
  const { sim } = pool
  const answers: string[] = []
  const ids: string[] = []
  const ask = async (session: string, path = '/v1/responses') => {
    const { text, headers } = await pool.ask(session, { prompt, path: `/k/${key}${path}` })
    answers.push(text, JSON.stringify(headers))
    if (headers['x-codex-pool-request-id']) ids.push(headers['x-codex-pool-request-id'])
  }
  await ask('a-session-name')
  sim.account('bob').expireAccessToken()
  for (const session of ['s1', 's2', 's3']) await ask(session)
  const echo = ({ headers, body }: { headers: object; body: Buffer }) =>
    `${JSON.stringify(headers)} ${String(body)}`
  sim.fail({
    path: '/oauth/token',
    with: (request, response) =>
      void response
        .writeHead(401, { 'content-type': 'application/json' })
        .end(JSON.stringify({ error: { code: echo(request), message: echo(request) } })),
  })
  sim.account('carol').expireAccessToken()
  for (const session of ['s4', 's5', 's6']) await ask(session)
  for (const status of [500, 503, 429, 403, 402, 401]) {
    sim.fail({
      path: '/responses',
      with: (request, response) =>
        void response
          .writeHead(status, { 'content-type': 'application/json' })
          .end(
            JSON.stringify({ error: { code: echo(request), type: echo(request), message: echo(request) } }),
          ),
    })
    await ask(`status-${status}`)
  }
  sim.fail({
    path: '/responses',
    with: faults.errorEvent('rate_limit_exceeded', `Bearer ${sim.account('alice').accessToken}`),
  })
  await ask('s7')
  await sim.down()
  await ask('s8')
  await ask('s9', '/careless/x')
  await ask('s10', '/nothing')
  await sim.up()
  return { text: answers.join('\n'), ids }
}

/** Everything that may be looked at, by where it stands. */
async function seen(pool: TestPool, ids: readonly string[]): Promise<Record<string, string>> {
  const token = (await readFile(join(pool.dir, 'data', 'admin-token'), 'utf8')).trim()
  const get = async (path: string) =>
    (await pool.request.get(path).set('authorization', `Bearer ${token}`).expect(200)).text
  const pages = await Promise.all(
    ['/healthz', '/metrics', '/admin/accounts', ...ids.map((id) => `/admin/requests/${id}`)].map(
      async (path) => [path, await get(path)],
    ),
  )
  await pool.stop()
  const names = await readdir(join(pool.dir, 'data'), { recursive: true })
  const files = names
    .filter((name) => name !== 'admin-token')
    .map(async (name) => {
      const path = join(pool.dir, 'data', name)
      return [name, (await stat(path)).isFile() ? await readFile(path, 'utf8') : '']
    })
  return Object.fromEntries([...pages, ...(await Promise.all(files)), ['the admin token', token]])
}

test('no secret leaves the gateway: not in logs, admin answers, metrics, stores, or answers to clients', async (t) => {
  const log = captureLog(t)
  const pool = await startPool(t, {
    codex: ['alice', 'bob', 'carol'].map((id) => ({ id })),
    codexApiKeys: [{ id: 'key', key: 'sk-a-key-of-the-pool-0123456789' }],
    config,
    onDisk: true,
    prepare: ({ poolDir }) =>
      writeFile(join(poolDir, 'careless_one.json'), JSON.stringify({ key: 'sk-a-careless-key-0123456789' })),
  })
  const { accounts } = pool.sim.codex
  const tokens = () => accounts.flatMap((it) => Object.values({ ...it.authJson().tokens, account_id: '' }))
  const before = tokens()
  const { text: clients, ids } = await live(pool)
  const { 'the admin token': adminToken = '', ...places } = await seen(pool, ids)
  Object.assign(places, { log: log.text })
  assert.match(log.text, /debug .*\/v1\/responses 200/, 'the log was caught, at its most talkative')
  assert.ok(Object.values(places).join().includes('alice'), 'the places are not empty')

  const ours = [
    ...before,
    ...tokens(),
    'sk-a-key-of-the-pool-0123456789',
    'sk-a-careless-key-0123456789',
    adminToken,
  ].filter(Boolean)
  const theirs = [CLIENT.token, key, prompt, 'a-session-name']
  for (const [place, text] of Object.entries(places))
    for (const secret of [...ours, ...theirs])
      assert.ok(!text.includes(secret), `${secret} stands in ${place}`)
  for (const secret of ours) assert.ok(!clients.includes(secret), `${secret} was sent to a client`)
})
