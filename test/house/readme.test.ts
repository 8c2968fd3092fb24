import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import test, { after, before } from 'node:test'
import express from 'express'
import request from 'supertest'
import { WebSocket } from 'ws'
import { clientLines } from '../../src/cli/clients.js'
import { createGateway } from '../../src/index.js'
import { startSimulator } from '../../src/simulator/index.js'
import { within } from '../kit/pool.js'
import { CODEX_BETA } from '../kit/websocket.js'
import { readmeFile, readmeFiles, readmeText } from '../kit/readme-blocks.js'
import { ReadmeFolder } from '../kit/readme-folder.js'

let folder: ReadmeFolder
before(async () => {
  folder = await ReadmeFolder.create()
  const code = [...readmeFiles].filter(([name]) => /^[\w.-]+\.(ts|json|yaml)$/.test(name))
  await folder.write(Object.fromEntries(code))
  await folder.compile()
})
after(() => folder.remove())

const configurations = ['ts', 'yaml', 'json'].map((form) => `codex-pool.config.${form}`)

for (const name of configurations)
  test(`the README's ${name} is a valid configuration`, async () => {
    const { stdout } = await folder.codexPool(['check', '--config', name])
    assert.ok(JSON.parse(stdout).routes.length > 2)
  })

/** An upstream of the user's own, and what reached it. */
async function startUpstream() {
  const asked: { url: string | undefined; headers: IncomingHttpHeaders }[] = []
  const server = createServer(({ url, headers }, response) => {
    asked.push({ url, headers })
    response.setHeader('content-type', 'application/json').end('{"ok":true}')
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { asked, server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

const ownProviders = [
  {
    name: 'codex-pool.config.ts',
    upstream: 'https://my-resource.openai.azure.com',
    account: ['azure_work.json', { key: 'the-key' }],
    path: '/azure/openai/v1/embeddings',
    arrives: '/openai/v1/embeddings',
    header: ['api-key', 'the-key'],
  },
  ...['codex-pool.config.yaml', 'codex-pool.config.json'].map((name) => ({
    name,
    upstream: 'https://openrouter.ai',
    account: ['openrouter_me.json', { token: 'the-token' }] as const,
    path: '/openrouter/chat/completions',
    arrives: '/api/v1/chat/completions',
    header: ['authorization', 'Bearer the-token'],
  })),
] as const

for (const { name, upstream, account, path, arrives, header } of ownProviders)
  test(`the provider of one's own in the README's ${name} serves`, async (t) => {
    const { asked, server, url } = await startUpstream()
    t.after(() => server.close())
    const [credential, content] = account
    const local = readmeFile(name).replace(upstream, url)
    assert.notEqual(local, readmeFile(name), `${name} names ${upstream}`)
    const file = `own/${name}`
    await folder.write({ [file]: local, [`own/pool/${credential}`]: JSON.stringify(content) })
    const gateway = await createGateway(join(folder.path, file), { env: {}, flags: { database: false } })
    t.after(() => gateway.close())
    await request(express().use(gateway.middleware)).post(path).send({ model: 'm' }).expect(200, { ok: true })
    assert.equal(asked[0]?.url, arrives)
    assert.equal(asked[0]?.headers[header[0]], header[1])
  })

test("the strategy of one's own in the README places a conversation", async (t) => {
  const sim = await startSimulator({ codex: [{ id: 'alice' }, { id: 'bob' }] })
  t.after(() => sim.close())
  const poolDir = join(folder.path, 'placed')
  await sim.writePool(poolDir)
  const env = { ...sim.environment, POOL_DIR: poolDir }
  const file = join(folder.path, 'codex-pool.config.ts')
  const gateway = await createGateway(file, { env, flags: { database: false } })
  t.after(() => gateway.close())
  const app = express().use(gateway.middleware, gateway.admin)
  const turn = { model: 'gpt-5.5', stream: true, store: false, input: [] }
  const { headers } = await request(app).post('/v1/responses').set('session-id', 'one').send(turn).expect(200)
  const { body } = await request(app).get(`/admin/requests/${headers['x-codex-pool-request-id']}`).expect(200)
  assert.equal(body.picks[0].by, 'most-left')
})

test("the README's Express app serves under its mount path, and nothing keeps it from ending", async (t) => {
  const sim = await startSimulator({ codex: [{ id: 'alice' }] })
  t.after(() => sim.close())
  await sim.writePool(join(folder.path, 'pool'))
  const text = readmeFile('app.ts')
  const anyPort = text.replace('listen(3000)', 'listen(0)')
  assert.notEqual(anyPort, text, 'app.ts listens on port 3000')
  const tellPort = "server.once('listening', () => console.log((server.address() as { port: number }).port))"
  await folder.write({ 'app.ts': `${anyPort}\n${tellPort}\n` })
  await folder.compile()
  const { program, said } = await folder.start('app.js', sim.environment)
  t.after(() => program.kill('SIGKILL'))
  const url = `http://127.0.0.1:${said.trim()}`
  const turn = { model: 'gpt-5.5', stream: true, store: false, input: [] }
  await request(url)
    .post('/ai/v1/responses')
    .send(turn)
    .expect(200, /response\.completed/)
  await request(url).get('/pool/healthz').expect(200)
  const socket = new WebSocket(`${url.replace('http', 'ws')}/ai/v1/responses`, { headers: CODEX_BETA })
  await once(socket, 'open')
  program.kill('SIGTERM')
  assert.deepEqual(await within(once(program, 'exit')), [0, null])
})

test("the README's test with supertest passes", async () => {
  const { stdout } = await folder.node(['--test', 'pool.test.js'])
  assert.match(stdout, /bob answers when alice/)
  assert.match(stdout, /^. pass 1$/m)
})

test('the README gives the lines for the clients that the gateway prints', () => {
  const printed = plain(
    clientLines('http://127.0.0.1:8989', { hosts: [], origins: [], proxies: [], keys: undefined }),
  )
  assert.ok(printed.includes(plain(readmeFile('~/.codex/config.toml, as a provider'))))
  for (const line of printed.split('\n').filter((line) => line.startsWith('export ')))
    assert.ok(readmeText.includes(`\n${line}\n`), line)
})

const forms = [
  { form: '~/.codex/config.toml', flags: [] },
  { form: '~/.codex/config.toml, as a provider', flags: ['--provider'] },
]

for (const { form, flags } of forms)
  test(`codex-pool setup codex writes the README's ${form}`, async () => {
    const home = join(folder.path, `codex-home${flags.join('')}`)
    await folder.codexPool(['setup', 'codex', ...flags], { CODEX_HOME: home })
    const written = plain(await readFile(join(home, 'config.toml'), 'utf8'))
    for (const line of plain(readmeFile(form)).split('\n')) assert.ok(written.includes(line), line)
  })

const plain = (text: string): string => text.replace(/^ +/gm, '').trim()
