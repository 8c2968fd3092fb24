import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import {
  faults,
  startSimulator,
  type AuthJson,
  type Fault,
  type Simulator,
} from '../../src/simulator/index.js'
import { holdBackground } from '../kit/background.js'
import { inOrder, startPool, stopClock, until, within, type PoolOptions, type TestPool } from '../kit/pool.js'
import { send } from '../kit/stream.js'

const SECOND = 1000
const MINUTE = 60 * SECOND
const two = [{ id: 'alice' }, { id: 'bob' }]

const issuerCalls = ({ requests }: Simulator) => requests.filter(({ kind }) => kind === 'issuer')
const write = (file: string, content: object) => writeFile(file, JSON.stringify(content), { mode: 0o600 })

/** A pool in which alice's access token ends so soon from now; ms. */
function endingIn(t: TestContext, expiresInMs: number, options: PoolOptions = {}): Promise<TestPool> {
  return startPool(t, {
    codex: two,
    ...options,
    config: { ...inOrder, ...options.config },
    prepare: ({ sim, poolDir }) =>
      write(join(poolDir, 'alice.json'), sim.account('alice').authJson({ expiresInMs })),
  })
}

/** What comes of the next refresh in the background. */
async function nextOutcome(pool: TestPool, tick: () => void): Promise<string> {
  const refresh = once(pool.gateway.events, 'refresh')
  tick()
  const [{ account, outcome }] = (await within(refresh)) as [{ account: string; outcome: string }]
  return `${account} ${outcome}`
}

const coded = (status: number, code: string): Fault => ({ status, body: { error: { code } } })
const final: Record<string, Fault> = {
  refresh_token_expired: coded(401, 'refresh_token_expired'),
  refresh_token_reused: coded(401, 'refresh_token_reused'),
  refresh_token_invalidated: coded(401, 'refresh_token_invalidated'),
  'another 401': coded(401, 'something_new'),
  'a 401 that says nothing': { status: 401, body: '' },
  '400 invalid_grant': { status: 400, body: { error: 'invalid_grant' } },
}
for (const [name, fault] of Object.entries(final))
  test(`refused for good, a login is presented again only after a restart, or when its file changes: ${name}`, async (t) => {
    const pool = await endingIn(t, -MINUTE, { onDisk: true })
    pool.sim.fail({ path: '/oauth/token', times: Infinity, with: fault })
    for (const session of ['s1', 's2']) assert.equal(await pool.servedBy(session), 'bob')
    assert.equal((await pool.account('alice')).state, 'needs-login')
    assert.equal(issuerCalls(pool.sim).length, 1)
    await pool.restart()
    for (const session of ['s3', 's4']) assert.equal(await pool.servedBy(session), 'bob')
    assert.equal((await pool.account('alice')).state, 'needs-login')
    assert.equal(issuerCalls(pool.sim).length, 2, 'a restart looks again, once')

    const alice = pool.sim.account('alice')
    alice.login()
    await write(pool.file('alice'), alice.authJson())
    await pool.gateway.reload()
    assert.equal(await pool.servedBy('s5'), 'alice')
    assert.equal(issuerCalls(pool.sim).length, 2)
  })

/** The issuer has said that it did nothing, or never heard of it. */
const passing: Record<string, Fault> = {
  '500': faults.serverError(500),
  '503': faults.serverError(503),
  '429': faults.rateLimited(),
  '403 as a page': faults.challenge(),
  '400 of another kind': coded(400, 'invalid_request'),
}
for (const [name, fault] of Object.entries(passing))
  test(`while the issuer is in trouble the old token serves, and it is asked again soon: ${name}`, async (t) => {
    const clock = stopClock(t)
    const tick = holdBackground(t)
    const pool = await endingIn(t, 4 * MINUTE)
    pool.sim.fail({ path: '/oauth/token', with: fault })
    assert.match(await nextOutcome(pool, tick), /^codex\/alice failed/)
    assert.equal(await pool.servedBy('s1'), 'alice')
    assert.equal((await pool.account('alice')).state, 'ready')
    clock.advance(5 * SECOND)
    assert.equal(await nextOutcome(pool, tick), 'codex/alice refreshed')
    assert.equal(issuerCalls(pool.sim).length, 2)
  })

test('an issuer that nobody can reach is asked again soon, too, and less and less often', async (t) => {
  const clock = stopClock(t)
  const tick = holdBackground(t)
  const nobody = await startSimulator()
  await nobody.close()
  const pool = await endingIn(t, 4 * MINUTE, { env: { UPSTREAM_REFRESH_BASE: nobody.url } })
  for (const wait of [5, 10, 20, 40]) {
    assert.match(await nextOutcome(pool, tick), /^codex\/alice failed/)
    assert.equal(await pool.servedBy('s1'), 'alice')
    clock.advance(wait * SECOND)
  }
})

/** It may have done its work; only the answer did not come. */
const lost: Record<string, Fault> = {
  'the connection broke before an answer': 'lost',
  'the connection broke in the middle of it': { ...faults.cut(0), body: {} },
  'no answer in time': 'mute',
  'an answer that is no JSON': { status: 200, body: 'hello' },
  'an answer without a token': { status: 200, body: {} },
}
for (const [name, fault] of Object.entries(lost))
  test(`a token that may be spent is not presented again before the old one has ended: ${name}`, async (t) => {
    const clock = stopClock(t)
    const tick = holdBackground(t)
    const pool = await endingIn(t, 4 * MINUTE, { config: { refresh: { timeoutMs: 200 } } })
    pool.sim.fail({ path: '/oauth/token', with: fault })
    assert.match(await nextOutcome(pool, tick), /^codex\/alice failed/)
    // Bob's turn comes only if alice, who is more urgent, is left alone.
    await write(pool.file('bob'), pool.sim.account('bob').authJson({ expiresInMs: 6 * MINUTE }))
    await pool.gateway.reload()
    clock.advance(2 * MINUTE)
    assert.equal(await nextOutcome(pool, tick), 'codex/bob refreshed')
    assert.equal(await pool.servedBy('s1'), 'alice')

    clock.advance(2 * MINUTE + SECOND)
    await pool.ask('s2').expect(200)
    assert.equal(issuerCalls(pool.sim).filter(({ account }) => account === 'alice').length, 2)
    // Whether the token was spent is the one thing that only this call could tell.
    const { reuses } = pool.sim.account('alice')
    assert.equal((await pool.account('alice')).state, reuses > 0 ? 'needs-login' : 'ready')
    pool.sim.account('alice').reuses = 0
  })

interface Change {
  write: (file: string, before: AuthJson, sim: Simulator) => Promise<unknown>
  /** How alice stands then, and how often the issuer was asked in all. */
  standing: { state: string | undefined; calls: number }
}
const changes: Record<string, Change> = {
  'a new login brings it back': {
    write: async (file, _before, sim) => {
      sim.account('alice').login()
      await write(file, sim.account('alice').authJson())
    },
    standing: { state: 'ready', calls: 1 },
  },
  'the same login in another form is asked for once more': {
    write: (file, before) => write(file, { ...before, note: 'mine' }),
    standing: { state: 'needs-login', calls: 2 },
  },
  'half a file changes nothing, but the reload asks again': {
    write: (file) => writeFile(file, '{"tokens": {'),
    standing: { state: 'needs-login', calls: 2 },
  },
  'without the file there is no account': {
    write: (file) => rm(file),
    standing: { state: undefined, calls: 1 },
  },
}
for (const [name, change] of Object.entries(changes))
  test(`after a refused login: ${name}`, async (t) => {
    const pool = await endingIn(t, -MINUTE)
    pool.sim.fail({ path: '/oauth/token', times: Infinity, with: final.refresh_token_expired! })
    assert.equal(await pool.servedBy('s1'), 'bob')
    const before = JSON.parse(await readFile(pool.file('alice'), 'utf8')) as AuthJson
    await change.write(pool.file('alice'), before, pool.sim)
    await pool.gateway.reload()
    await pool.ask('s2').expect(200)
    const alice = pool.gateway.accounts().find(({ id }) => id === 'alice')
    assert.deepEqual({ state: alice?.state, calls: issuerCalls(pool.sim).length }, change.standing)
  })

test('a file that is now the account of somebody else has none of the limits of the one before', async (t) => {
  const pool = await startPool(t, { codex: [...two, { id: 'carol' }], config: inOrder })
  await rm(pool.file('carol'))
  pool.sim.account('alice').exhaust()
  assert.equal(await pool.servedBy('s1'), 'bob')
  assert.equal((await pool.account('alice')).state, 'exhausted')
  await write(pool.file('alice'), pool.sim.account('carol').authJson())
  await pool.gateway.reload()
  const { state, label } = await pool.account('alice')
  assert.deepEqual({ state, label }, { state: 'ready', label: 'carol@example.com' })
  assert.equal(await pool.servedBy('s2'), 'carol')
})

/** The answer to a refresh waits until `go`. `asked` resolves once it is in flight. */
function heldRefresh({ sim }: TestPool) {
  const asked = new EventEmitter()
  const arrived = once(asked, 'asked')
  let go = (): void => {}
  const gone = new Promise<void>((resolve) => (go = resolve))
  sim.fail({
    path: '/oauth/token',
    with: async (request, response) => {
      asked.emit('asked')
      await gone
      const { refresh_token: presented } = JSON.parse(request.raw.toString()) as { refresh_token: string }
      const answer = await fetch(`${sim.url}/oauth/token`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ ...JSON.parse(request.raw.toString()), refresh_token: presented }),
      })
      response.writeHead(answer.status, { 'content-type': 'application/json' }).end(await answer.text())
    },
  })
  return { asked: within(arrived), go }
}

for (const refused of [false, true])
  test(`a login put into the file while the old one is being refreshed ${refused ? '(in vain) ' : ''}is kept, and used`, async (t) => {
    const pool = await endingIn(t, -MINUTE)
    const alice = pool.sim.account('alice')
    if (refused) alice.revoke()
    const refresh = heldRefresh(pool)
    const asking = pool.servedBy('s1')
    await refresh.asked
    alice.login()
    const login = alice.authJson()
    await write(pool.file('alice'), login)
    await pool.gateway.reload()
    refresh.go()
    assert.equal(await asking, 'alice')
    const { tokens } = JSON.parse(await readFile(pool.file('alice'), 'utf8')) as AuthJson
    assert.equal(tokens?.refresh_token, login.tokens?.refresh_token)
    assert.equal((await pool.account('alice')).state, 'ready')
    alice.expireAccessToken()
    assert.equal(await pool.servedBy('s2'), 'alice', 'its refresh token is not taken for spent')
  })

test('a client that leaves while its request waits for a token leaves nothing behind, and nothing is sent for it', async (t) => {
  const pool = await endingIn(t, -MINUTE, { codex: [{ id: 'alice' }] })
  const refresh = heldRefresh(pool)
  const over = once(pool.gateway.events, 'request')
  const request = send(pool)
  await refresh.asked
  request.destroy()
  await over
  refresh.go()
  await until(() => pool.gateway.accounts()[0]?.inFlight === 0)
  assert.deepEqual(pool.asked(), [])
})
