import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { lstat, readdir, readFile, rename, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { createGateway, startServer } from '../../src/index.js'
import { faults, field, type AuthJson, type Fault, type Simulator } from '../../src/simulator/index.js'
import { inOrder, startPool, stopClock, type PoolOptions, type TestPool } from '../kit/pool.js'
import { intercept } from '../kit/stream.js'

const SECOND = 1000
const MINUTE = 60 * SECOND
const two = [{ id: 'alice' }, { id: 'bob' }]

const issuerCalls = ({ requests }: Simulator) => requests.filter(({ kind }) => kind === 'issuer').length
const statuses = ({ sim }: TestPool) =>
  sim.requests.filter(({ kind }) => kind === 'codex').map(({ status }) => status)
const read = async (file: string) => JSON.parse(await readFile(file, 'utf8')) as AuthJson

/** A pool in which alice's access token ends so soon from now; ms. */
function endingIn(t: TestContext, expiresInMs: number, options: PoolOptions = {}): Promise<TestPool> {
  return startPool(t, {
    codex: two,
    ...options,
    config: { ...inOrder, ...options.config },
    prepare: async (pool) => {
      const auth = {
        ...pool.sim.account('alice').authJson({ expiresInMs }),
        a_field_of_tomorrow: { kept: true },
      }
      await writeFile(join(pool.poolDir, 'alice.json'), JSON.stringify(auth), { mode: 0o600 })
      await options.prepare?.(pool)
    },
  })
}

const expired = (t: TestContext, options?: PoolOptions) => endingIn(t, -MINUTE, options)

test('a token that has ended is refreshed before it is used', async (t) => {
  const pool = await expired(t)
  assert.equal(await pool.servedBy('s1'), 'alice')
  assert.deepEqual(statuses(pool), [200])
  assert.equal(pool.sim.issuer.refreshes, 1)
})

test('a new pair is in its file, whole and for its owner alone, before it is used', async (t) => {
  const pool = await expired(t)
  const alice = pool.sim.account('alice')
  const before = await read(pool.file('alice'))
  let onDisk = ''
  pool.sim.reply(() => {
    onDisk = readFileSync(pool.file('alice'), 'utf8')
    return 'Hello.'
  })
  await pool.ask('s1').expect(200)
  const { tokens, last_refresh, ...rest } = JSON.parse(onDisk)
  assert.equal(tokens.access_token, alice.accessToken)
  assert.equal(tokens.refresh_token, alice.refreshToken)
  assert.equal(tokens.account_id, alice.accountId)
  assert.ok(Date.parse(last_refresh) >= Date.parse(before.last_refresh))
  const { tokens: _, last_refresh: __, ...kept } = before
  assert.deepEqual(rest, kept)
  assert.equal((await stat(pool.file('alice'))).mode & 0o777, 0o600)
  assert.deepEqual(
    (await readdir(join(pool.dir, 'pool'))).sort(),
    ['alice.json', 'bob.json'],
    'nothing is left behind',
  )
})

test('a login behind a link is refreshed where it lies', async (t) => {
  const pool = await expired(t, {
    prepare: async ({ poolDir }) => {
      const elsewhere = join(poolDir, '..', 'elsewhere.json')
      await rename(join(poolDir, 'alice.json'), elsewhere)
      await symlink(elsewhere, join(poolDir, 'alice.json'))
    },
  })
  await pool.ask('s1').expect(200)
  assert.ok((await lstat(pool.file('alice'))).isSymbolicLink())
  assert.equal(
    (await read(join(pool.dir, 'elsewhere.json'))).tokens.refresh_token,
    pool.sim.account('alice').refreshToken,
  )
})

test('50 requests at once on a token that has ended make one refresh', async (t) => {
  const pool = await expired(t, { codex: [{ id: 'alice' }] })
  const answers = await Promise.all([...Array(50)].map((_, i) => pool.ask(`s${i}`)))
  assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]))
  assert.equal(issuerCalls(pool.sim), 1)
  assert.deepEqual(new Set(statuses(pool)), new Set([200]))
})

test('50 requests at once on a token that is refused make one refresh, and no client sees the 401', async (t) => {
  const pool = await startPool(t, { codex: [{ id: 'alice' }] })
  pool.sim.account('alice').expireAccessToken()
  const answers = await Promise.all([...Array(50)].map((_, i) => pool.ask(`s${i}`)))
  assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]))
  assert.equal(issuerCalls(pool.sim), 1)
})

test('two gateways on one pool folder make one refresh between them', async (t) => {
  const pool = await expired(t, { codex: [{ id: 'alice' }] })
  const { config } = pool.gateway
  const second = await createGateway(
    {
      listen: '127.0.0.1:0',
      poolDir: config.poolDir,
      database: false,
      quotaPollMs: 0,
      log: { level: 'silent' },
    },
    { env: { ...pool.sim.environment, CODEX_HOME: pool.dir } },
  )
  const server = await startServer(second)
  t.after(async () => {
    await server.stop(0)
    await second.close()
  })
  const other = Object.assign(Object.create(pool) as TestPool, { server })
  const answers = await Promise.all([...Array(20)].map((_, i) => (i % 2 ? pool : other).ask(`s${i}`)))
  assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]))
  assert.equal(issuerCalls(pool.sim), 1)
})

const final: Record<string, Fault> = {
  refresh_token_expired: { status: 401, body: { error: { code: 'refresh_token_expired' } } },
  refresh_token_reused: { status: 401, body: { error: { code: 'refresh_token_reused' } } },
  refresh_token_invalidated: { status: 400, body: { code: 'refresh_token_invalidated' } },
  invalid_grant: { status: 400, body: { error: 'invalid_grant' } },
}
for (const [code, fault] of Object.entries(final))
  test(`a refresh that is refused for good needs a login, and the next account answers: ${code}`, async (t) => {
    const pool = await expired(t)
    pool.sim.fail({ path: '/oauth/token', times: Infinity, with: fault })
    assert.equal(await pool.servedBy('s1'), 'bob')
    const { state, reason } = await pool.account('alice')
    assert.equal(state, 'needs-login')
    assert.match(reason ?? '', /codex login/)
    for (const session of ['s2', 's3']) assert.equal(await pool.servedBy(session), 'bob')
    assert.equal(issuerCalls(pool.sim), 1, 'it is not asked again')
    assert.deepEqual(statuses(pool), [200, 200, 200], 'no request goes out with the old token')
  })

const passing: Record<string, Fault> = {
  '500': faults.serverError(500),
  '429': faults.rateLimited(),
  '403 as a page': faults.challenge(),
  '200 without a token': { status: 200, body: {} },
}
for (const [name, fault] of Object.entries(passing))
  test(`an issuer in trouble costs no login; the next account answers meanwhile: ${name}`, async (t) => {
    const clock = stopClock(t)
    const pool = await expired(t)
    pool.sim.fail({ path: '/oauth/token', with: fault })
    assert.equal(await pool.servedBy('s1'), 'bob')
    assert.equal((await pool.account('alice')).state, 'ready')
    clock.advance(10 * SECOND)
    assert.equal(await pool.servedBy('s2'), 'alice')
  })

for (const fault of ['lost', 'mute'] as const)
  test(`a token that may be spent is not presented again while the old one lives: ${fault}`, async (t) => {
    const clock = stopClock(t)
    const pool = await endingIn(t, 4 * MINUTE, { config: { refresh: { timeoutMs: 1500 } } })
    pool.sim.fail({ path: '/oauth/token', with: fault })
    await once(pool.gateway.events, 'refresh')
    for (let i = 0; i < 3; i++) {
      clock.advance(MINUTE)
      assert.equal(await pool.servedBy(`s${i}`), 'alice')
    }
    assert.equal(issuerCalls(pool.sim), 1)
  })

test('a token of an idle account is refreshed before its end; meanwhile the old one serves', async (t) => {
  const pool = await endingIn(t, 4 * MINUTE)
  const { response } = await intercept(pool.sim, '/oauth/token')
  assert.equal(await pool.servedBy('s1'), 'alice')
  assert.deepEqual(statuses(pool), [200])
  response.writeHead(503).end()
})

test('an account that cools down is refreshed all the same', async (t) => {
  const clock = stopClock(t)
  const pool = await endingIn(t, 10 * MINUTE)
  pool.sim.account('alice').exhaust()
  assert.equal(await pool.servedBy('s1'), 'bob')
  const refreshed = once(pool.gateway.events, 'refresh')
  clock.advance(6 * MINUTE)
  assert.deepEqual(await refreshed, [{ account: 'codex/alice', outcome: 'refreshed' }])
  assert.equal((await pool.account('alice')).state, 'exhausted')
})

test('PROXY_DISABLE_REFRESH keeps every token endpoint out of it', async (t) => {
  const pool = await expired(t, { env: { PROXY_DISABLE_REFRESH: '1' } })
  assert.equal(await pool.servedBy('s1'), 'bob')
  assert.equal(issuerCalls(pool.sim), 0)
  assert.match((await pool.account('alice')).reason ?? '', /refreshing is turned off/)
})

for (const why of ['has ended', 'is refused'])
  test(`a newer token that somebody else has written is adopted by a gateway whose own ${why}`, async (t) => {
    const clock = stopClock(t)
    const pool = await endingIn(t, 10 * MINUTE)
    const alice = pool.sim.account('alice')
    if (why === 'is refused') alice.expireAccessToken()
    alice.login()
    await writeFile(pool.file('alice'), JSON.stringify(alice.authJson()), { mode: 0o600 })
    if (why === 'has ended') clock.advance(11 * MINUTE)
    assert.equal(await pool.servedBy('s1'), 'alice')
    assert.equal(issuerCalls(pool.sim), 0)
  })

test('after a restart the refreshed token is used as it is', async (t) => {
  const pool = await expired(t, { onDisk: true })
  await pool.ask('s1').expect(200)
  await pool.restart()
  assert.equal(await pool.servedBy('s1'), 'alice')
  assert.equal(issuerCalls(pool.sim), 1)
})

test('an old copy of a login that the gateway itself has refreshed is not presented', async (t) => {
  const pool = await expired(t, { onDisk: true })
  const old = await readFile(pool.file('alice'))
  await pool.ask('s1').expect(200)
  await pool.restart(() => writeFile(pool.file('alice'), old, { mode: 0o600 }))
  assert.equal(await pool.servedBy('s1'), 'bob')
  assert.match((await pool.account('alice')).reason ?? '', /used before/)
  assert.equal(issuerCalls(pool.sim), 1)
})

test('the issuer hears the very request of Codex, and nothing of the client', async (t) => {
  const pool = await expired(t)
  const asked = pool.sim.next(({ kind }) => kind === 'issuer')
  await pool.ask('s1').expect(200)
  const { method, path, json, headers } = await asked
  assert.deepEqual([method, path, headers['content-type']], ['POST', '/oauth/token', 'application/json'])
  assert.deepEqual(Object.keys(json as object).sort(), [
    'client_id',
    'grant_type',
    'refresh_reason',
    'refresh_token',
  ])
  assert.equal(field(json, 'grant_type'), 'refresh_token')
})
