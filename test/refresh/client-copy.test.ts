import assert from 'node:assert/strict'
import { once } from 'node:events'
import { lstat, mkdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { createGateway, startServer } from '../../src/index.js'
import type { AuthJson, CodexAccount, Simulator } from '../../src/simulator/index.js'
import { holdBackground } from '../kit/background.js'
import { inOrder, startPool, until, within, type PoolOptions, type TestPool } from '../kit/pool.js'

const MINUTE = 60_000
const two = [{ id: 'alice' }, { id: 'bob' }]

type Auth = AuthJson & Record<string, unknown>
const read = async (file: string) => JSON.parse(await readFile(file, 'utf8')) as Auth
const write = (file: string, content: object) => writeFile(file, JSON.stringify(content), { mode: 0o600 })
const issuerCalls = ({ requests }: Simulator) => requests.filter(({ kind }) => kind === 'issuer').length
const ofClient = (pool: TestPool) => join(pool.dir, 'codex-home', 'auth.json')
const tokenIn = async (file: string) => (await read(file)).tokens.refresh_token

/** The pool has a copy of the login that the client uses; alice's token ends so soon from now. */
function copied(t: TestContext, expiresInMs: number, options: PoolOptions = {}): Promise<TestPool> {
  return startPool(t, {
    codex: two,
    ...options,
    config: { ...inOrder, watch: true, ...options.config },
    prepare: async (pool) => {
      const auth = pool.sim.account('alice').authJson({ expiresInMs })
      const home = join(pool.poolDir, '..', 'codex-home')
      await mkdir(home)
      await write(join(home, 'auth.json'), { ...auth, of_the_client: { kept: true } })
      await write(join(pool.poolDir, 'alice.json'), { ...auth, of_the_pool: [1] })
      await options.prepare?.(pool)
    },
  })
}

/** Both files hold the login as the issuer gave it last, and what was theirs. */
async function together(pool: TestPool): Promise<void> {
  const { refreshToken, accessToken } = pool.sim.account('alice')
  for (const file of [ofClient(pool), pool.file('alice')]) {
    const { tokens } = await read(file)
    assert.equal(tokens.refresh_token, refreshToken, file)
    assert.equal(tokens.access_token, accessToken, file)
    assert.equal((await stat(file)).mode & 0o777, 0o600, file)
  }
  assert.deepEqual((await read(ofClient(pool))).of_the_client, { kept: true })
  assert.equal((await read(ofClient(pool))).of_the_pool, undefined, 'what is ours stays with us')
  assert.deepEqual((await read(pool.file('alice'))).of_the_pool, [1])
}

/** The client refreshes its login, and writes its file as Codex does. */
async function clientRefreshes(pool: TestPool, account: CodexAccount): Promise<void> {
  const old = await read(ofClient(pool))
  account.login()
  const { tokens, last_refresh } = account.authJson()
  await write(ofClient(pool), { ...old, tokens, last_refresh })
}

test('a refresh changes both copies of a login, and leaves all else in them', async (t) => {
  const pool = await copied(t, -MINUTE)
  assert.equal(await pool.servedBy('s1'), 'alice')
  await together(pool)
  assert.equal(pool.sim.issuer.refreshes, 1)
})

test("the client's file may be a link", async (t) => {
  const pool = await copied(t, -MINUTE, {
    prepare: async ({ poolDir }) => {
      const [link, target] = [join(poolDir, '..', 'codex-home', 'auth.json'), join(poolDir, '..', 'dotfile')]
      await rename(link, target)
      await symlink(target, link)
    },
  })
  await pool.ask('s1').expect(200)
  await together(pool)
  assert.ok((await lstat(ofClient(pool))).isSymbolicLink())
})

test("a pool file that is a link to the client's is one file, and written once", async (t) => {
  const pool = await copied(t, -MINUTE, {
    prepare: async ({ poolDir }) => {
      await rm(join(poolDir, 'alice.json'))
      await symlink('../codex-home/auth.json', join(poolDir, 'alice.json'))
    },
  })
  assert.equal(await pool.servedBy('s1'), 'alice')
  assert.ok((await lstat(pool.file('alice'))).isSymbolicLink())
  assert.equal(await tokenIn(ofClient(pool)), pool.sim.account('alice').refreshToken)
})

test('a login that the client has refreshed first is adopted, and its old token never presented', async (t) => {
  const pool = await copied(t, -MINUTE, {
    prepare: async ({ sim, poolDir }) => {
      sim.account('alice').login()
      const file = join(poolDir, '..', 'codex-home', 'auth.json')
      await write(file, { ...sim.account('alice').authJson(), of_the_client: { kept: true } })
    },
  })
  assert.equal(await pool.servedBy('s1'), 'alice')
  assert.equal(issuerCalls(pool.sim), 0)
  assert.equal(await tokenIn(pool.file('alice')), pool.sim.account('alice').refreshToken)
  assert.deepEqual((await read(pool.file('alice'))).of_the_pool, [1])
})

test('a refresh by the client is noticed as it happens', async (t) => {
  const pool = await copied(t, 10 * MINUTE)
  const adopted = within(once(pool.gateway.events, 'refresh'))
  await clientRefreshes(pool, pool.sim.account('alice'))
  assert.deepEqual(await adopted, [{ account: 'codex/alice', outcome: 'adopted' }])
  await together(pool)
  assert.equal(issuerCalls(pool.sim), 0)
})

test('a client that refreshes at the same time is the better judge: the login that it has written is adopted', async (t) => {
  const pool = await copied(t, -MINUTE)
  pool.sim.fail({
    path: '/oauth/token',
    with: (_request, response) => {
      void clientRefreshes(pool, pool.sim.account('alice')).then(() => {
        response.writeHead(401, { 'content-type': 'application/json' })
        response.end('{"error":{"code":"refresh_token_reused"}}')
      })
    },
  })
  assert.equal(await pool.servedBy('s1'), 'alice')
  assert.equal((await pool.account('alice')).state, 'ready')
  await together(pool)
})

test('after a login that is over, a new one of the client brings the account back', async (t) => {
  const pool = await copied(t, -MINUTE)
  pool.sim.account('alice').revoke()
  assert.equal(await pool.servedBy('s1'), 'bob')
  assert.equal((await pool.account('alice')).state, 'needs-login')
  await clientRefreshes(pool, pool.sim.account('alice'))
  await until(async () => (await pool.account('alice')).state === 'ready')
  assert.equal(await pool.servedBy('s2'), 'alice')
  await together(pool)
  assert.equal(issuerCalls(pool.sim), 1)
})

test('a login that the client gets while we refresh the old one stays', async (t) => {
  const pool = await copied(t, -MINUTE)
  const alice = pool.sim.account('alice')
  let fresh = ''
  pool.sim.fail({
    path: '/oauth/token',
    with: async (request, response) => {
      const answer = await fetch(`${pool.sim.url}/oauth/token`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: request.body,
      })
      const body = await answer.text()
      await clientRefreshes(pool, alice)
      fresh = await readFile(ofClient(pool), 'utf8')
      response.writeHead(answer.status, { 'content-type': 'application/json' }).end(body)
    },
  })
  assert.equal(await pool.servedBy('s1'), 'alice')
  assert.equal(await readFile(ofClient(pool), 'utf8'), fresh)
})

test('a copy that a crash or a backup has left behind is brought up to date at the start', async (t) => {
  const pool = await copied(t, -MINUTE, { onDisk: true })
  const old = await readFile(ofClient(pool))
  await pool.ask('s1').expect(200)
  await pool.restart(() => writeFile(ofClient(pool), old))
  await until(async () => (await tokenIn(ofClient(pool))) === pool.sim.account('alice').refreshToken)
  await together(pool)
  assert.equal(issuerCalls(pool.sim), 1)
})

test('a login that the client has as well is refreshed before the client does it, 5 minutes before its end', async (t) => {
  const round = holdBackground(t)
  const pool = await copied(t, 6 * MINUTE)
  await pool.gateway.reload()
  const refreshed = within(once(pool.gateway.events, 'refresh'))
  round()
  assert.deepEqual(await refreshed, [{ account: 'codex/alice', outcome: 'refreshed' }])
  await together(pool)
})

test('a login that no client has keeps its lead of 5 minutes', async (t) => {
  const round = holdBackground(t)
  const pool = await copied(t, 6 * MINUTE, {
    prepare: ({ poolDir }) => rm(join(poolDir, '..', 'codex-home', 'auth.json')),
  })
  await pool.gateway.reload()
  round()
  // Waits for what runs in the background.
  await pool.gateway.close()
  assert.equal(issuerCalls(pool.sim), 0)
})

test('two gateways with pools of their own and one client between them make one refresh', async (t) => {
  const pool = await copied(t, -MINUTE, { codex: [{ id: 'alice' }] })
  const poolDir = join(pool.dir, 'another-pool')
  await mkdir(poolDir)
  await writeFile(join(poolDir, 'me.json'), await readFile(pool.file('alice')), { mode: 0o600 })
  const config = { ...inOrder, listen: '127.0.0.1:0', poolDir, database: false as const, quotaPollMs: 0 }
  const env = { ...pool.sim.environment, CODEX_HOME: dirname(ofClient(pool)) }
  const other = await createGateway({ ...config, log: { level: 'silent' } }, { env })
  const server = await startServer(other)
  t.after(async () => {
    await server.stop(0)
    await other.close()
  })
  const second = Object.assign(Object.create(pool) as TestPool, { server })
  const answers = await Promise.all([...Array(10)].map((_, i) => (i % 2 ? pool : second).ask(`s${i}`)))
  assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]))
  assert.equal(issuerCalls(pool.sim), 1)
  await together(pool)
  assert.equal(await tokenIn(join(poolDir, 'me.json')), pool.sim.account('alice').refreshToken)
})

const strangers: Record<string, (sim: Simulator) => object | string> = {
  'another account': (sim) => sim.account('bob').authJson({ expired: true }),
  'another member of the same workspace': (sim) => sim.account('carol').authJson({ expired: true }),
  'an API key': () => ({ auth_mode: 'apikey', OPENAI_API_KEY: 'sk-of-the-client' }),
  'a signed-out client': () => ({ OPENAI_API_KEY: null, tokens: null }),
  'half a file': () => '{"tokens": {',
}
for (const [name, content] of Object.entries(strangers))
  test(`a client that is not signed in with this login is left alone: ${name}`, async (t) => {
    let bytes = ''
    const pool = await copied(t, -MINUTE, {
      codex: [...two, { id: 'carol', accountId: 'acct-alice' }],
      prepare: async ({ sim, poolDir }) => {
        const made = content(sim)
        bytes = typeof made === 'string' ? made : JSON.stringify(made)
        await rm(join(poolDir, 'carol.json'))
        await writeFile(join(poolDir, '..', 'codex-home', 'auth.json'), bytes, { mode: 0o600 })
      },
    })
    assert.equal(await pool.servedBy('s1'), 'alice')
    assert.equal(issuerCalls(pool.sim), 1)
    assert.equal(await readFile(ofClient(pool), 'utf8'), bytes)
  })

test('codexHome: false keeps the gateway away from the file of the client', async (t) => {
  let bytes = ''
  const pool = await copied(t, -MINUTE, {
    env: { CODEX_HOME: undefined },
    config: { providers: { codex: { type: 'codex', codexHome: false } } },
    prepare: async ({ poolDir }) => {
      bytes = await readFile(join(poolDir, '..', 'codex-home', 'auth.json'), 'utf8')
    },
  })
  assert.equal(await pool.servedBy('s1'), 'alice')
  assert.equal(await readFile(ofClient(pool), 'utf8'), bytes)
})
