import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { defaults } from '../../config/config.js'
import { Background } from '../../src/pool/background.js'
import type { Account } from '../../src/accounts/account.js'
import { faults, type Simulator } from '../../src/simulator/index.js'
import { holdBackground } from '../kit/background.js'
import { skewedGateway } from '../kit/skewed-gateway.js'
import { clientHeaders, inOrder, startPool, stopClock, turn, within, type TestPool } from '../kit/pool.js'

const SECOND = 1000
const MINUTE = 60 * SECOND
const twenty = [...Array(20)].map((_, i) => ({ id: `account${String(i).padStart(2, '0')}` }))

/** No request uses it up. */
const free = { percentPerRequest: 0 }

const issuerCalls = ({ requests }: Simulator) => requests.filter(({ kind }) => kind === 'issuer')

/** As when the laptop has slept: every token ends so soon from now, or has ended; ms. */
const allEnding = (expiresInMs: number) => ({
  prepare: async ({ sim, poolDir }: { sim: Simulator; poolDir: string }) => {
    for (const account of sim.codex.accounts)
      await writeFile(
        join(poolDir, `${account.id}.json`),
        JSON.stringify(account.authJson({ expiresInMs })),
        { mode: 0o600 },
      )
  },
})

/** A turn without the cost of a test client: for hundreds at once. */
async function ask(pool: TestPool, session: string): Promise<number> {
  const headers = { ...clientHeaders(), 'content-type': 'application/json', 'session-id': session }
  const response = await fetch(`${pool.url}/v1/responses`, {
    method: 'POST',
    headers,
    body: JSON.stringify(turn()),
  })
  await response.text()
  return response.status
}

test('500 requests at once on a token that has ended make one call to the issuer', async (t) => {
  const pool = await startPool(t, {
    codex: [{ id: 'alice', primary: free, secondary: free }],
    ...allEnding(-MINUTE),
  })
  const statuses = await Promise.all([...Array(500)].map((_, i) => ask(pool, `s${i}`)))
  assert.deepEqual(new Set(statuses), new Set([200]))
  assert.equal(issuerCalls(pool.sim).length, 1)
})

test('twenty accounts that ended in the sleep do not wait for one another', async (t) => {
  const pool = await startPool(t, {
    codex: twenty,
    config: { routes: [{ path: '/v1', provider: 'codex', strategy: 'round-robin' }] },
    ...allEnding(-MINUTE),
  })
  // None is answered before all have come: one behind another, and this would never end.
  const asked = new Set<string | undefined>()
  let open = () => {}
  const opened = new Promise<void>((resolve) => (open = resolve))
  pool.sim.fail({
    path: '/oauth/token',
    times: twenty.length,
    with: async (request, response) => {
      asked.add(request.account)
      if (asked.size === twenty.length) open()
      await opened
      const again = { method: 'POST', headers: { 'content-type': 'application/json' }, body: request.body }
      const answer = await fetch(`${pool.sim.url}/oauth/token`, again)
      response.writeHead(answer.status, { 'content-type': 'application/json' }).end(await answer.text())
    },
  })
  const statuses = await Promise.all(twenty.map(({ id }) => ask(pool, id)))
  assert.deepEqual(new Set(statuses), new Set([200]))
  assert.equal(asked.size, twenty.length)
  assert.equal(pool.sim.issuer.refreshes, twenty.length)
})

test('in the background one account of a provider follows the other at a distance, the most urgent first', () => {
  const due: Record<string, number> = { 'a/1': 3000, 'a/2': 1000, 'a/3': 2000, 'b/1': 500 }
  const refreshed: string[] = []
  let now = 10_000
  const accounts = Object.keys(due).map((key) => ({ key, provider: key[0] })) as Account[]
  const background = new Background({
    tokens: {
      dueAt: ({ key }: Account) => due[key],
      refresh: ({ key }: Account) => {
        refreshed.push(`${now / SECOND} s: ${key}`)
        delete due[key]
        return Promise.resolve({ kind: 'fresh' })
      },
    } as never,
    accounts: () => accounts,
    settings: () => ({ refresh: { ...defaults.refresh, spacingMs: 5 * SECOND }, quotaPollMs: 0 }),
    pollQuota: () => Promise.resolve(),
    now: () => now,
  })
  for (; now <= 30_000; now += SECOND) background.tick()
  assert.deepEqual(refreshed, ['10 s: a/2', '10 s: b/1', '15 s: a/3', '20 s: a/1'])
})

test('idle, exhausted, cooling and disabled accounts are refreshed as well', async (t) => {
  const clock = stopClock(t)
  const tick = holdBackground(t)
  const ids = ['cooling', 'disabled', 'exhausted', 'idle']
  const pool = await startPool(t, {
    codex: ids.map((id) => ({ id })),
    config: { ...inOrder, refresh: { spacingMs: 0 } },
    ...allEnding(10 * MINUTE),
  })
  pool.sim.fail({ account: 'cooling', path: '/codex/responses', with: faults.rateLimited(3600) })
  pool.sim.account('exhausted').exhaust()
  pool.gateway.setDisabled('disabled', true)
  assert.equal(await pool.servedBy('s1'), 'idle')
  assert.deepEqual(await Promise.all(ids.map(async (id) => (await pool.account(id)).state)), [
    'cooling',
    'disabled',
    'exhausted',
    'ready',
  ])
  clock.advance(6 * MINUTE)
  const refreshed = new Set<string>()
  while (refreshed.size < ids.length) {
    const refresh = once(pool.gateway.events, 'refresh')
    tick()
    const [{ account, outcome }] = await within(refresh)
    assert.equal(outcome, 'refreshed')
    refreshed.add(account as string)
  }
  assert.deepEqual(
    [...refreshed].sort(),
    ids.map((id) => `codex/${id}`),
  )
  assert.equal((await pool.account('cooling')).state, 'cooling')
  assert.equal(pool.sim.issuer.refreshes, ids.length)
})

for (const [name, skewMs] of Object.entries({ ahead: 15 * MINUTE, behind: -15 * MINUTE }))
  test(`a clock that is 15 minutes ${name} makes no refresh loop, and no client notices`, async (t) => {
    const { sim, ask, issuerCalls } = await skewedGateway(t, skewMs, {
      codex: [{ id: 'alice', accessTokenLifetimeMs: 10 * MINUTE }],
    })
    for (let i = 0; i < 5; i++) assert.equal(await ask(), 200)
    assert.ok(issuerCalls() <= 1)
    // It ends for real.
    sim.account('alice').expireAccessToken()
    for (let i = 0; i < 5; i++) assert.equal(await ask(), 200)
    assert.ok(issuerCalls() <= 2)
    assert.equal(sim.issuer.reuses, 0)
  })
