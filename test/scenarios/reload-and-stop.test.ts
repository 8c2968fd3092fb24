import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import http, { type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { startSimulator, type Simulator } from '../../src/simulator/index.js'
import { emptyFolder, startCommand, type RunningCommand } from '../kit/command.js'
import { clientHeaders, inOrder, startPool, turn, until, type TestPool } from '../kit/pool.js'
import { drain, EVENT_STREAM, frame, open, OUTPUT, intercept } from '../kit/stream.js'

const two = [{ id: 'alice' }, { id: 'bob' }]
const COMPLETED = frame('response.completed', { response: { id: 'r', output: [] } })

/** Changes the configuration file of a pool that was started with one, and has it read again. */
async function reconfigure(pool: TestPool, change: object): Promise<void> {
  const file = join(pool.dir, 'codex-pool.config.json')
  await writeFile(file, JSON.stringify({ ...JSON.parse(await readFile(file, 'utf8')), ...change }))
  await pool.request.post('/admin/reload').expect(200)
}

test('a request goes on under the configuration that it began with, whatever is reloaded', async (t) => {
  const pool = await startPool(t, { codex: two, asFile: true })
  const taken = intercept(pool.sim)
  const opened = open(pool)
  const { request, response } = await taken
  await reconfigure(pool, { retry: { default: { attempts: 1 } }, builtinRoutes: false, routes: [] })
  response.destroy()
  const answer = await opened
  assert.equal(answer.statusCode, 200)
  assert.match(String((await drain(answer)).bytes), /response\.completed/)
  assert.equal(new Set(pool.asked()).size, 2, `${request.account} broke, and it went to the other one`)
  assert.equal((await open(pool)).statusCode, 404, 'a new request has no route any more')
})

test('a stream that runs is not touched by reloads, and its account knows that it runs', async (t) => {
  const pool = await startPool(t, { codex: two, asFile: true, config: inOrderByName })
  const taken = intercept(pool.sim)
  const opened = open(pool, { headers: { 'session-id': 's1' } })
  const { request, response } = await taken
  response.writeHead(200, EVENT_STREAM).write(OUTPUT)
  const answer = await opened
  for (const idleTimeoutMs of [500, 600, 700]) {
    await reconfigure(pool, { retry: { default: { idleTimeoutMs } } })
    assert.equal((await pool.account(request.account!)).inFlight, 1)
  }
  response.end(COMPLETED)
  assert.deepEqual(await drain(answer), { bytes: Buffer.from(OUTPUT + COMPLETED), broken: false })
  await until(async () => (await pool.account(request.account!)).inFlight === 0)
  assert.equal(await pool.servedBy('s1'), request.account, 'the conversation stays')
})

/** Named strategies only, since the configuration stands in a file. */
const inOrderByName = { routes: [{ path: '/v1', provider: 'codex', strategy: 'sticky' }] }

test('three hundred requests between thirty reloads are all served', async (t) => {
  const pool = await startPool(t, { codex: [...two, { id: 'carol' }], asFile: true })
  let done = 0
  const asking = Array.from({ length: 10 }, async (_, lane) => {
    for (let i = 0; i < 30; i++, done++) await pool.ask(`${lane}-${i}`).expect(200)
  })
  let reloads = 0
  while (done < 300 || reloads < 30) {
    await reconfigure(pool, { retry: { default: { attempts: 2 + (reloads % 3) } } })
    reloads++
  }
  await Promise.all(asking)
  for (const { inFlight } of pool.gateway.accounts()) assert.equal(inFlight, 0)
  assert.equal(pool.asked().length, 300)
})

test('a stop lets running streams end, and takes nothing new', { timeout: 30_000 }, async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  const taken = intercept(pool.sim)
  const agent = new http.Agent({ keepAlive: true })
  t.after(() => agent.destroy())
  const answered = over(pool.url, agent)
  const { response } = await taken
  response.writeHead(200, EVENT_STREAM).write(OUTPUT)
  const answer = await answered
  const stopped = pool.server.stop(60_000)
  await assert.rejects(over(pool.url, new http.Agent()), { code: 'ECONNREFUSED' })
  response.end(COMPLETED)
  assert.equal(String((await drain(answer)).bytes), OUTPUT + COMPLETED)
  // Long before the deadline, although the client would keep its connection.
  await stopped
})

test('what has not ended by the deadline of a stop is cut', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  const taken = intercept(pool.sim)
  const opened = open(pool)
  const { response } = await taken
  response.writeHead(200, EVENT_STREAM).write(OUTPUT)
  const answer = await opened
  await pool.server.stop(50)
  assert.equal((await drain(answer)).broken, true)
})

/** A request of Codex's on a connection of one's own choice. */
async function over(url: string, agent: http.Agent): Promise<IncomingMessage> {
  const headers = { ...clientHeaders(), 'content-type': 'application/json', 'session-id': 's1' }
  const request = http.request(`${url}/v1/responses`, { method: 'POST', agent, headers })
  request.end(JSON.stringify(turn()))
  const [answer] = (await once(request, 'response')) as [IncomingMessage]
  return answer
}

interface Process {
  readonly sim: Simulator
  readonly command: RunningCommand
  readonly url: string
  readonly folder: string
}

/** The program itself, in a folder of its own. */
async function startProgram(t: TestContext): Promise<Process> {
  const folder = await emptyFolder(t)
  const sim = await startSimulator({ codex: two })
  t.after(() => sim.close())
  await sim.writePool(join(folder, 'pool'))
  const env = { ...sim.environment, PROXY_LISTEN_ADDR: '127.0.0.1:0' }
  const command = startCommand(t, [], { cwd: folder, env })
  return { sim, command, folder, url: await command.printed(/listening on (http\S+)/) }
}

for (const signal of ['SIGTERM', 'SIGINT'] as const)
  test(
    `${signal} lets running streams end, writes what is known, and ends with status 0`,
    { timeout: 25_000 },
    async (t) => {
      const { sim, command, folder, url } = await startProgram(t)
      const taken = intercept(sim)
      const answered = over(url, new http.Agent({ keepAlive: true }))
      const { response } = await taken
      response.writeHead(200, EVENT_STREAM).write(OUTPUT)
      const answer = await answered
      command.signal(signal)
      await until(() =>
        over(url, new http.Agent()).then(
          () => false,
          ({ code }) => code === 'ECONNREFUSED',
        ),
      )
      response.end(COMPLETED)
      assert.equal(String((await drain(answer)).bytes), OUTPUT + COMPLETED)
      assert.equal((await command.ended).status, 0)
      const id = String(answer.headers['x-codex-pool-request-id'])
      assert.match(await everythingIn(join(folder, 'data')), new RegExp(id), 'the request is on record')
    },
  )

test('a second signal ends it at once', async (t) => {
  const { sim, command, url } = await startProgram(t)
  const taken = intercept(sim)
  const answered = over(url, new http.Agent())
  const { response } = await taken
  response.writeHead(200, EVENT_STREAM).write(OUTPUT)
  const answer = await answered
  command.signal('SIGTERM')
  await command.printed(/no new requests/)
  command.signal('SIGTERM')
  assert.equal((await command.ended).status, 1)
  assert.equal((await drain(answer)).broken, true)
})

async function everythingIn(folder: string): Promise<string> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile())
  return (
    await Promise.all(files.map(({ parentPath, name }) => readFile(join(parentPath, name), 'utf8')))
  ).join('\n')
}
