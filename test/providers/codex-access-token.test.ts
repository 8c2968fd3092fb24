import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { test, type TestContext } from 'node:test'
import { faults } from '../../src/simulator/index.js'
import { startPool, stopClock, type TestPool } from '../kit/pool.js'

/** A pool whose account `token` is bob's, by a personal access token. */
function withToken(t: TestContext, options: { onDisk?: boolean } = {}): Promise<TestPool> {
  return startPool(t, {
    ...options,
    codex: [{ id: 'alice' }],
    prepare: async ({ sim, poolDir }) => {
      const content = JSON.stringify(sim.addCodex({ id: 'bob' }).accessTokenJson())
      await writeFile(`${poolDir}/token.json`, content, { mode: 0o600 })
      sim.account('alice').exhaust()
    },
  })
}

const asked = ({ sim }: TestPool) => sim.requests.filter(({ path }) => path.endsWith('/whoami')).length

test('a personal access token serves under its own account, which is asked for once', async (t) => {
  const pool = await withToken(t, { onDisk: true })
  assert.equal(await pool.servedBy('s1'), 'bob')
  assert.equal(await pool.servedBy('s2'), 'bob')
  await pool.restart()
  assert.equal(await pool.servedBy('s3'), 'bob')
  assert.equal(asked(pool), 1)
  const { kind, label, state } = await pool.account('token')
  assert.deepEqual({ kind, label, state }, { kind: 'access-token', label: 'access token', state: 'ready' })
})

test('a personal access token that is refused needs its person, and says so', async (t) => {
  const pool = await withToken(t)
  pool.sim.account('bob').revoke()
  assert.equal((await pool.ask('s1')).status, 429, "alice's limit: nobody else is left")
  const { state, reason } = await pool.account('token')
  assert.equal(state, 'needs-login')
  assert.match(reason ?? '', /personal access token was refused: make a new one/)
})

test('while it cannot be told whose a personal access token is, it is not blamed', async (t) => {
  const pool = await withToken(t)
  pool.sim.fail({ path: '/whoami', with: faults.serverError() })
  assert.ok((await pool.ask('s1')).status >= 429)
  assert.equal((await pool.account('token')).state, 'ready')
})

test('tokens that another program lends to Codex are used as long as they last', async (t) => {
  const clock = stopClock(t)
  const pool = await startPool(t, {
    codex: [{ id: 'alice' }],
    prepare: async ({ sim, poolDir }) => {
      const lent = sim.addCodex({ id: 'bob' }).authJson()
      const tokens = { ...lent.tokens, refresh_token: '' }
      await writeFile(
        `${poolDir}/bob.json`,
        JSON.stringify({ ...lent, auth_mode: 'chatgptAuthTokens', tokens }),
      )
      sim.account('alice').exhaust()
    },
  })
  assert.equal(await pool.servedBy('s1'), 'bob')
  pool.sim.account('bob').expireAccessToken()
  assert.equal((await pool.ask('s1')).status, 503)
  assert.equal((await pool.account('bob')).state, 'cooling', 'one refusal does not say that it is over')
  clock.advance(15 * 60_000)
  assert.equal((await pool.ask('s1')).status, 429)
  assert.equal((await pool.account('bob')).state, 'needs-login')
})
