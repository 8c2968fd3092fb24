import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import type { AccountEntry, UserConfig } from '../../src/index.js'
import { faults } from '../../src/simulator/index.js'
import { codeOf, startPool, type TestPool, until, within } from '../kit/pool.js'
import { startSocksProxy, startTunnelProxy } from '../kit/proxies.js'
import { create, dial, saidBy } from '../kit/websocket.js'

const three = ['alice', 'bob', 'carol'].map((id) => ({ id }))

/** Accounts are asked by name within an order. A request waits `waitForSlotMs` for room. */
function declaring(accounts: Record<string, AccountEntry>, waitForSlotMs = 20_000): UserConfig {
  return {
    accounts,
    strategies: { 'in-order': (candidates) => candidates[0] },
    retry: { default: { waitForSlotMs } },
    routes: [{ path: '/v1', provider: 'codex', strategy: { sticky: 'in-order' } }],
  }
}

/** Keeps one request in flight on an account. @returns lets it end */
async function hold(pool: TestPool, account: string, session: string): Promise<() => void> {
  const fault = pool.sim.fail({ account, with: faults.stall(5) })
  const request = pool.ask(session)
  request.end(() => {})
  await until(() => fault.hits === 1)
  return () => void request.abort()
}

/** What was sent before this has reached the gateway. */
async function arrived(pool: TestPool): Promise<void> {
  for (let call = 0; call < 3; call++) await pool.request.get('/healthz').expect(200)
}

const reasons = async (pool: TestPool, id = ''): Promise<Record<string, string>> => {
  const { body } = await pool.request.get(`/admin/requests/${id}`).expect(200)
  const others = body.picks[0].others as { account: string; why: string }[]
  return Object.fromEntries(others.map(({ account, why }) => [account.replace('codex/', ''), why]))
}

test('a higher order serves only while no lower one can, and explain says so', async (t) => {
  const pool = await startPool(t, { codex: three, config: declaring({ alice: { order: 2 } }) })
  const { headers } = await pool.ask('s1').expect(200)
  assert.equal(pool.asked().at(-1), 'bob')
  assert.deepEqual(await reasons(pool, headers['x-codex-pool-request-id']), {
    alice: 'passed over: order 2',
    carol: 'not chosen',
  })
  pool.sim.account('bob').exhaust()
  pool.sim.account('carol').exhaust()
  assert.equal(await pool.servedBy('s2'), 'alice')
})

test('a conversation moves back to a lower order only when it begins anew', async (t) => {
  const pool = await startPool(t, { codex: three.slice(0, 2), config: declaring({ alice: { order: 2 } }) })
  pool.gateway.setDisabled('bob', true)
  assert.equal(await pool.servedBy('s1'), 'alice')
  pool.gateway.setDisabled('bob', false)
  assert.equal(await pool.servedBy('s1'), 'alice', 'its prompt cache is there')
  assert.equal(await pool.servedBy('s2'), 'bob')
  const socket = await dial(pool, 's1')
  await socket.ask(create())
  assert.equal(pool.asked().at(-1), 'alice')
  pool.gateway.setDisabled('alice', true)
  assert.equal(await pool.servedBy('s1'), 'bob')
  pool.gateway.setDisabled('alice', false)
  assert.equal(await pool.servedBy('s1'), 'bob')
})

test('a reserve is given out last of its order, and explain says so', async (t) => {
  const codex = three.map(({ id }) => ({ id, secondary: { usedPercent: id === 'alice' ? 80 : 90 } }))
  const accounts = { alice: { reserve: 20 }, carol: { order: 2 } }
  const pool = await startPool(t, { codex, config: declaring(accounts) })
  pool.gateway.retry()
  await until(() => pool.gateway.accounts().every(({ windows }) => windows.length > 0))
  const { headers } = await pool.ask('s1').expect(200)
  assert.deepEqual(await reasons(pool, headers['x-codex-pool-request-id']), {
    alice: 'passed over: reserve of 20 %',
    carol: 'passed over: order 2',
  })
  pool.gateway.setDisabled('bob', true)
  assert.equal(await pool.servedBy('s2'), 'alice', 'before an account of a higher order')
  pool.gateway.setDisabled('bob', false)
  assert.equal(await pool.servedBy('s2'), 'bob', 'a conversation does not stay on a reserve')
})

test('as many requests run on an account as its concurrency allows; others are placed elsewhere', async (t) => {
  const pool = await startPool(t, {
    codex: three.slice(0, 2),
    config: declaring({ alice: { concurrency: 1 } }),
  })
  const end = await hold(pool, 'alice', 's1')
  const { headers } = await pool.ask('s2').expect(200)
  assert.equal(pool.asked().at(-1), 'bob')
  assert.deepEqual(await reasons(pool, headers['x-codex-pool-request-id']), {
    alice: 'passed over: concurrency 1',
  })
  end()
})

test('a conversation waits for room on its account', async (t) => {
  const pool = await startPool(t, {
    codex: three.slice(0, 2),
    config: declaring({ '*': { concurrency: 1 } }),
  })
  assert.equal(await pool.servedBy('s1'), 'alice')
  const end = await hold(pool, 'alice', 's2')
  const waiting = pool.servedBy('s1')
  await arrived(pool)
  end()
  assert.equal(await within(waiting), 'alice')
})

test('after a bounded wait a conversation goes on with another account', async (t) => {
  const pool = await startPool(t, {
    codex: three.slice(0, 2),
    config: declaring({ alice: { concurrency: 1 } }, 30),
  })
  assert.equal(await pool.servedBy('s1'), 'alice')
  const end = await hold(pool, 'alice', 's2')
  assert.equal(await pool.servedBy('s1'), 'bob')
  end()
})

test('a higher order is asked only after the wait for room in a lower one', async (t) => {
  const accounts = { alice: { concurrency: 1 }, bob: { order: 2 } }
  const pool = await startPool(t, { codex: three.slice(0, 2), config: declaring(accounts) })
  const end = await hold(pool, 'alice', 's1')
  const waiting = pool.servedBy('s2')
  await arrived(pool)
  end()
  assert.equal(await within(waiting), 'alice')
  const short = await startPool(t, { codex: three.slice(0, 2), config: declaring(accounts, 30) })
  const endShort = await hold(short, 'alice', 's1')
  assert.equal(await short.servedBy('s2'), 'bob')
  endShort()
})

test('without room anywhere the client is told to come again, and never that it has hit a limit', async (t) => {
  const pool = await startPool(t, {
    codex: three.slice(0, 1),
    config: declaring({ alice: { concurrency: 1 } }, 30),
  })
  const end = await hold(pool, 'alice', 's1')
  const { body, headers } = await pool.ask('s2').expect(503)
  assert.deepEqual([codeOf(body), headers['retry-after']], ['accounts_cooling', '1'])
  end()
})

test('many requests at once never run beyond the concurrency, and all are served', async (t) => {
  const pool = await startPool(t, {
    codex: three.slice(0, 2),
    config: declaring({ '*': { concurrency: 2 } }),
  })
  let most = 0
  pool.sim.reply(() => {
    most = Math.max(most, ...pool.gateway.accounts().map(({ inFlight }) => inFlight))
    return 'done'
  })
  await within(Promise.all(Array.from({ length: 20 }, (_, index) => pool.ask(`s${index}`).expect(200))))
  assert.equal(most, 2)
  assert.deepEqual(
    pool.gateway.accounts().map(({ inFlight }) => inFlight),
    [0, 0],
  )
})

test('a response on a WebSocket waits for room too', async (t) => {
  const pool = await startPool(t, {
    codex: three.slice(0, 2),
    config: declaring({ '*': { concurrency: 1 } }),
  })
  const socket = await dial(pool, 's1')
  const end = await hold(pool, 'alice', 's2')
  const answer = socket.ask(create())
  await arrived(pool)
  end()
  assert.equal(saidBy(await within(answer)), 'Hello from the simulator.')
  assert.deepEqual([...new Set(pool.asked())], ['alice'])
  const again = await socket.ask(create())
  assert.equal(saidBy(again), 'Hello from the simulator.')
})

test('a response on a WebSocket counts as a request in flight', async (t) => {
  const pool = await startPool(t, {
    codex: three.slice(0, 2),
    config: declaring({ alice: { concurrency: 1 } }, 30),
  })
  const socket = await dial(pool, 's1')
  pool.sim.fail({ account: 'alice', frame: true, with: faults.stall(2) })
  socket.send(create())
  await until(() => pool.gateway.accounts()[0]?.inFlight === 1)
  assert.equal(await pool.servedBy('s2'), 'bob')
  socket.raw.terminate()
})

test('after the wait a response on a WebSocket goes on with another account, unseen by the client', async (t) => {
  const pool = await startPool(t, {
    codex: three.slice(0, 2),
    config: declaring({ alice: { concurrency: 1 } }, 30),
  })
  pool.sim.reply(({ account }) => `I am ${account}.`)
  const socket = await dial(pool, 's1')
  const end = await hold(pool, 'alice', 's2')
  assert.equal(saidBy(await within(socket.ask(create()))), 'I am bob.')
  assert.deepEqual(
    pool.gateway.accounts().map(({ inFlight }) => inFlight),
    [1, 0],
  )
  end()
})

test('without room anywhere a client on a WebSocket is told to connect again', async (t) => {
  const pool = await startPool(t, {
    codex: three.slice(0, 1),
    config: declaring({ alice: { concurrency: 1 } }, 30),
  })
  const socket = await dial(pool, 's1')
  const end = await hold(pool, 'alice', 's2')
  const answered = await within(socket.ask(create()))
  assert.match(JSON.stringify(answered), /websocket_connection_limit_reached/)
  end()
})

test('a reload changes what is declared, without a restart', async (t) => {
  const pool = await startPool(t, { codex: three.slice(0, 2), config: declaring({}) })
  assert.equal(await pool.servedBy('s1'), 'alice')
  pool.settings.accounts = { 'a*': { order: 2 } }
  await pool.gateway.reload()
  assert.equal(await pool.servedBy('s2'), 'bob')
  pool.settings.accounts = {}
  await pool.gateway.reload()
  assert.equal(await pool.servedBy('s3'), 'alice')
})

test('a pattern that matches no account is a warning, with the ids that there are', async (t) => {
  const pool = await startPool(t, { codex: three.slice(0, 2), config: declaring({ 'work_*': {}, 'a*': {} }) })
  const expected = [
    {
      file: 'accounts["work_*"]',
      reason:
        'matches no account: it must be an id, which is a file name without .json, or a pattern for ids. There are: alice, bob',
    },
  ]
  assert.deepEqual((await pool.request.get('/admin/accounts')).body.warnings, expected)
  pool.settings.accounts = { 'alice.json': { order: 3 } }
  await pool.gateway.reload()
  assert.match(pool.gateway.warnings()[0]!.reason, /Did you mean "alice"\?$/)
})

test('all entries that match apply, later ones over earlier ones', async (t) => {
  const accounts = { '*': { order: 3, reserve: 5, group: 'all' }, 'a*': { order: 1 }, bob: { group: 'b' } }
  const pool = await startPool(t, { codex: three.slice(0, 2), config: declaring(accounts) })
  const shown = async (id: string) => {
    const { order, reserve, concurrency, group } = await pool.account(id)
    return { order, reserve, concurrency, group }
  }
  assert.deepEqual(await shown('alice'), { order: 1, reserve: 5, concurrency: undefined, group: 'all' })
  assert.deepEqual(await shown('bob'), { order: 3, reserve: 5, concurrency: undefined, group: 'b' })
})

test('a strategy sees group and order', async (t) => {
  const seen: unknown[] = []
  const config = declaring({ alice: { group: 'night', order: 2 }, bob: { order: 2 } })
  config.strategies = {
    'in-order': (accounts) => {
      seen.push(accounts.map(({ id, group, order }) => [id, group, order]))
      return accounts[0]
    },
  }
  const pool = await startPool(t, { codex: three.slice(0, 2), config })
  await pool.ask('s1').expect(200)
  assert.deepEqual(seen, [
    [
      ['alice', 'night', 2],
      ['bob', undefined, 2],
    ],
  ])
})

const proxies: [scheme: string, start: (t: TestContext) => Promise<{ address: string; asked: unknown[] }>][] =
  [
    ['http', startTunnelProxy],
    ['socks5h', startSocksProxy],
  ]
for (const [scheme, start] of proxies)
  test(`requests and token calls of an account go through its proxy (${scheme})`, async (t) => {
    const proxy = await start(t)
    const pool = await startPool(t, {
      codex: three.slice(0, 2),
      config: declaring({ 'a*': { proxy: `${scheme}://${proxy.address}` } }),
      prepare: ({ sim }) => sim.account('alice').expireAccessToken(),
    })
    assert.equal(await pool.servedBy('s1'), 'alice')
    assert.equal(pool.sim.account('alice').refreshes, 1)
    const through = proxy.asked.length
    assert.ok(through >= 2, 'the token call and the request')
    const socket = await dial(pool, 's1')
    await socket.ask(create())
    assert.equal(proxy.asked.length, through + 1)
    pool.gateway.setDisabled('alice', true)
    assert.equal(await pool.servedBy('s2'), 'bob')
    assert.equal(proxy.asked.length, through + 1)
  })

test('an API key comes after logins by default, and an order of one’s own decides whether it serves at all', async (t) => {
  const config = declaring({ openai_key: { order: 2 } })
  const pool = await startPool(t, { codex: three.slice(0, 1), codexApiKeys: [{ id: 'openai_key' }], config })
  await pool.ask('s1').expect(200)
  pool.sim.account('alice').exhaust()
  await pool.ask('s2').expect(200)
  assert.deepEqual(
    pool.sim.requests.filter(({ kind }) => kind === 'openai').map(({ account }) => account),
    ['openai_key'],
  )
  pool.settings.accounts = {}
  await pool.gateway.reload()
  assert.equal((await pool.account('openai_key')).order, 'when-needed')
  await pool.ask('s3').expect(429)
})
