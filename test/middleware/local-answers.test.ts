import assert from 'node:assert/strict'
import { test } from 'node:test'
import { jwt } from '../kit/provider.js'
import { CLIENT, clientHeaders, codeOf, inOrder, startPool, type TestPool } from '../kit/pool.js'

const two = [{ id: 'alice' }, { id: 'bob' }]
/** Headers of a client whose own login is an account of the pool. */
const owned = (pool: TestPool, id: string) => {
  const { accountId, userId } = pool.sim.account(id)
  const auth = { chatgpt_account_id: accountId, chatgpt_user_id: userId }
  const token = jwt({ 'https://api.openai.com/auth': auth })
  return { 'chatgpt-account-id': accountId, authorization: `Bearer ${token}` }
}
const served = (pool: TestPool) => pool.sim.requests.map(({ account }) => account)

test('accounts/check is answered with the account of who asks, or Codex would not start', async (t) => {
  const pool = await startPool(t, { codex: two })
  for (const base of ['/backend-api/wham', '/api/codex']) {
    const { body } = await pool.request.get(`${base}/accounts/check`).set(clientHeaders()).expect(200)
    assert.deepEqual(body, {
      accounts: [
        {
          id: CLIENT.accountId,
          workspace_backend_origin: 'https://chatgpt.com',
          account_routing_override: 'NO_CONSTRAINT',
        },
      ],
    })
  }
  await pool.request.get('/backend-api/wham/accounts/check').expect(200, { accounts: [] })
  assert.deepEqual(pool.sim.requests, [])
})

test('usage that nobody knows is null, never 0', async (t) => {
  const pool = await startPool(t, { codex: two })
  const { body } = await pool.request.get('/backend-api/wham/usage').set(clientHeaders()).expect(200)
  assert.deepEqual([body.rate_limit, body.credits, body.account_id], [null, null, CLIENT.accountId])
})

test('usage is what the accounts have left together, with the next real reset, under the names of who asks', async (t) => {
  const now = Math.ceil(Date.now() / 1000) * 1000
  const codex = [
    { id: 'alice', primary: { usedPercent: 79, resetsAt: now + 3_600_000 } },
    { id: 'bob', primary: { usedPercent: 19, resetsAt: now + 7_200_000 }, secondary: false as const },
  ]
  const pool = await startPool(t, { codex })
  for (const session of ['s1', 's2']) await pool.ask(session).expect(200)
  for (const path of ['/backend-api/wham/usage', '/api/codex/usage']) {
    const { body, text } = await pool.request.get(path).set(clientHeaders()).expect(200)
    const { primary_window: primary, secondary_window: secondary, ...limit } = body.rate_limit
    assert.deepEqual(limit, { allowed: true, limit_reached: false })
    assert.deepEqual(
      [primary.used_percent, primary.limit_window_seconds, primary.reset_at],
      [50, 18_000, now / 1000 + 3600],
    )
    assert.deepEqual([secondary.used_percent, secondary.limit_window_seconds], [0, 604_800])
    assert.deepEqual([body.account_id, body.plan_type], [CLIENT.accountId, 'plus'])
    for (const { email, userId, accountId } of pool.sim.codex.accounts)
      for (const foreign of [email, userId, accountId]) assert.ok(!text.includes(foreign))
  }
  for (const { id } of codex) pool.sim.account(id).exhaust()
  await pool.ask('s3').expect(429)
  const { body } = await pool.request.get('/backend-api/wham/usage').expect(200)
  assert.deepEqual([body.rate_limit.allowed, body.rate_limit.limit_reached], [false, true])
})

test('the limits in the headers of an answer are the pool’s, as those of wham/usage', async (t) => {
  const now = Math.ceil(Date.now() / 1000) * 1000
  const codex = [
    { id: 'alice', primary: { usedPercent: 79, resetsAt: now + 3_600_000 }, credits: { balance: '2.5' } },
    { id: 'bob', primary: { usedPercent: 19, resetsAt: now + 7_200_000 }, credits: { balance: '10' } },
  ]
  const pool = await startPool(t, { codex })
  await pool.ask('s1').expect(200)
  for (const session of ['s1', 's2', 's1']) {
    const answer = await pool.ask(session).expect(200)
    const { body } = await pool.request.get('/backend-api/wham/usage').expect(200)
    for (const name of ['primary', 'secondary']) {
      const window = body.rate_limit[`${name}_window`]
      const told = (field: string) => Number(answer.get(`x-codex-${name}-${field}`))
      assert.deepEqual(
        [told('used-percent'), told('window-minutes') * 60, told('reset-at')],
        [window.used_percent, window.limit_window_seconds, window.reset_at],
      )
    }
    assert.equal(answer.get('x-codex-credits-balance'), body.credits.balance ?? undefined)
  }
})

test('the limits of an only account reach the client as the upstream wrote them', async (t) => {
  const pool = await startPool(t, { codex: [{ id: 'alice', secondary: false }] })
  const answer = await pool.ask('s1').expect(200)
  assert.equal(answer.get('x-codex-secondary-used-percent'), '0')
  assert.equal(answer.get('x-codex-secondary-reset-at'), '')
})

test('limits that say nothing of their length reach the client as they are', async (t) => {
  const pool = await startPool(t, { codex: two })
  const headers = { 'content-type': 'application/json', 'x-codex-primary-used-percent': '12' }
  pool.sim.fail({ with: { status: 200, headers, body: { output: [] } } })
  const answer = await pool.ask('s1', { body: { stream: false } }).expect(200)
  assert.equal(answer.get('x-codex-primary-used-percent'), '12')
})

test('a client that refreshes its own login is told to keep it', async (t) => {
  const pool = await startPool(t, { codex: two })
  const request = { client_id: 'app', grant_type: 'refresh_token', refresh_token: 'rt_of_the_client' }
  await pool.request.post('/oauth/token').send(request).expect(200, {})
  assert.deepEqual(pool.sim.requests, [])
})

test('analytics are taken and dropped: they would tell on one person under the name of another', async (t) => {
  const pool = await startPool(t, { codex: two })
  for (const path of ['/backend-api/codex/analytics-events/events', '/v1/analytics-events/events'])
    await pool.request
      .post(path)
      .send({ events: [{ prompt: 'x'.repeat(200_000) }] })
      .expect(204)
  assert.deepEqual(pool.sim.requests, [])
})

const foreign = [
  '/me',
  '/files/1',
  '/conversation',
  '/accounts',
  '/settings/user',
  '/whamx',
  '/plugins',
  '/plugins/list',
  '/plugins/featured/x',
  '/connectors/links',
  '/',
  '',
  '/WHAM/tasks',
  '/codexx/responses',
]
test('what Codex has no business with is not passed on to an account', async (t) => {
  const pool = await startPool(t, { codex: two })
  for (const path of foreign) {
    const { status, body } = await pool.request.get(`/backend-api${path}`).set(clientHeaders())
    assert.deepEqual([status, codeOf(body)], [403, 'path_not_allowed'], path)
  }
  assert.deepEqual(pool.sim.requests, [])
})

test('unless the configuration allows it', async (t) => {
  const config = { providers: { codex: { type: 'codex' as const, allow: ['files/'] } } }
  const pool = await startPool(t, { codex: two, config })
  await pool.request.get('/backend-api/files/1').expect(404, { detail: 'Not Found' })
  await pool.request.get('/backend-api/filesystem').expect(403)
  assert.deepEqual(
    pool.sim.requests.map(({ path }) => path),
    ['/backend-api/files/1'],
  )
})

const passing: [string, string, string][] = [
  ['/backend-api/wham/settings/user', 'wham', '/backend-api/wham/settings/user'],
  ['/backend-api/ps/plugins/installed?limit=200', 'wham', '/backend-api/ps/plugins/installed?limit=200'],
  ['/backend-api/codex/models?client_version=1', 'codex', '/backend-api/codex/models?client_version=1'],
  ['/api/codex/tasks/list', 'wham', '/backend-api/wham/tasks/list'],
  ['/v1/models?client_version=1', 'codex', '/backend-api/codex/models?client_version=1'],
]
for (const [path, kind, upstream] of passing)
  test(`${path} goes to its own place upstream`, async (t) => {
    const pool = await startPool(t, { codex: [{ id: 'alice' }] })
    await pool.request.get(path).set(clientHeaders()).expect(200)
    assert.deepEqual(
      pool.sim.requests.map((request) => [request.kind, request.url]),
      [[kind, upstream]],
    )
  })

const ownerOnly = [
  ['post', '/backend-api/wham/rate-limit-reset-credits/consume'],
  ['patch', '/backend-api/wham/settings/user'],
  ['delete', '/api/codex/settings/user'],
  ['post', '/backend-api/wham/accounts/send_add_credits_nudge_email'],
] as const
for (const [method, path] of ownerOnly)
  test(`what changes an account, or reads its owner's mail, is for its owner alone: ${method} ${path}`, async (t) => {
    const pool = await startPool(t, { codex: two, config: inOrder })
    for (const headers of [clientHeaders(), {}]) {
      const { status, body } = await pool.request[method](path).set(headers).send({})
      assert.deepEqual([status, codeOf(body)], [403, 'not_your_account'])
    }
    assert.deepEqual(pool.sim.requests, [])
    await pool.request[method](path).set(owned(pool, 'bob')).send({})
    assert.deepEqual(served(pool), ['bob'])
  })

test('a colleague in the same workspace is another person', async (t) => {
  const codex = [{ id: 'alice', accountId: 'acct-shared' }]
  const pool = await startPool(t, { codex })
  const colleague = {
    ...owned(pool, 'alice'),
    authorization: `Bearer ${jwt({
      'https://api.openai.com/auth': { chatgpt_account_id: 'acct-shared', chatgpt_user_id: 'user-bob' },
    })}`,
  }
  const unknown = { 'chatgpt-account-id': 'acct-shared', authorization: 'Bearer opaque' }
  const consume = '/backend-api/wham/rate-limit-reset-credits/consume'
  for (const headers of [colleague, unknown])
    assert.equal(codeOf((await pool.request.post(consume).set(headers).send({})).body), 'not_your_account')
  await pool.request.post('/backend-api/wham/tasks').set(colleague).send({}).expect(403)
  assert.deepEqual(served(pool), [])
  await pool.request.post(consume).set(owned(pool, 'alice')).send({}).expect(200)
  assert.deepEqual(served(pool), ['alice'])
})

test('a caller whose token tells no person is known by the workspace while one account alone has it', async (t) => {
  const codex = [{ id: 'alice' }, { id: 'bob', accountId: 'acct-shared' }]
  const pool = await startPool(t, { codex, config: inOrder })
  const asked = { 'chatgpt-account-id': 'acct-shared', authorization: 'Bearer opaque' }
  await pool.request.get('/backend-api/wham/settings/user').set(asked).expect(200)
  assert.deepEqual(served(pool), ['bob'])
  const colleagues = await startPool(t, {
    codex: ['alice', 'bob', 'carol'].map((id) => ({
      id,
      accountId: id === 'alice' ? 'acct-a' : 'acct-shared',
    })),
    config: { routes: [{ path: '/backend-api', provider: 'codex', strategy: 'round-robin' }] },
  })
  for (let i = 0; i < 3; i++)
    await colleagues.request.get('/backend-api/wham/settings/user').set(asked).expect(200)
  assert.equal(
    new Set(served(colleagues)).size,
    3,
    'two accounts have it, so neither is known to be the caller’s',
  )
})

test('without its owner in the pool, the server of a person’s tools is there and has no tool', async (t) => {
  const pool = await startPool(t, { codex: two })
  const call = (body: object, headers = clientHeaders()) =>
    pool.request.post('/backend-api/ps/mcp').set(headers).send(body)
  const rpc = { jsonrpc: '2.0', id: 1 }
  const { body } = await call({
    ...rpc,
    method: 'initialize',
    params: { protocolVersion: '2025-03-26', capabilities: {}, clientInfo: {} },
  }).expect(200)
  assert.deepEqual([body.id, body.result.protocolVersion], [1, '2025-03-26'])
  await call({ jsonrpc: '2.0', method: 'notifications/initialized' }).expect(202)
  await call({ ...rpc, method: 'tools/list' }).expect(200, { ...rpc, result: { tools: [] } })
  const refused = await call({ ...rpc, method: 'tools/call', params: { name: 'x' } }).expect(200)
  assert.equal(refused.body.error.code, -32_601)
  const batch = await call([
    { ...rpc, method: 'ping' },
    { jsonrpc: '2.0', method: 'notifications/x' },
  ]).expect(200)
  assert.deepEqual(batch.body, [{ ...rpc, result: {} }])
  for (const method of ['get', 'delete'] as const)
    await pool.request[method]('/backend-api/ps/mcp').set(clientHeaders()).expect(405)
  // The address in Codex 0.118.
  for (const path of ['/backend-api/wham/apps', '/api/codex/apps'])
    await pool.request
      .post(path)
      .set(clientHeaders())
      .send({ ...rpc, method: 'ping' })
      .expect(200, { ...rpc, result: {} })
  assert.deepEqual(pool.sim.requests, [])
  await call({ ...rpc, method: 'tools/list' }, { ...clientHeaders(), ...owned(pool, 'bob') })
  assert.deepEqual(served(pool), ['bob'])
})

const listed: [path: string, none: object][] = [
  ['/backend-api/connectors/directory/list?tier=categorized&external_logos=true', { apps: [] }],
  ['/backend-api/connectors/directory/list_workspace?external_logos=true', { apps: [] }],
  ['/backend-api/plugins/featured?platform=codex', []],
]
for (const [path, none] of listed)
  test(`without its owner in the pool, a person’s list of apps or plugins is empty: ${path}`, async (t) => {
    const pool = await startPool(t, { codex: two, config: inOrder })
    for (const headers of [clientHeaders(), {}]) {
      const { body } = await pool.request.get(path).set(headers).expect(200)
      assert.deepEqual(body, none)
    }
    await pool.request.post(path).set(clientHeaders()).send({}).expect(405)
    assert.deepEqual(pool.sim.requests, [])
    await pool.request.get(path).set(owned(pool, 'bob')).expect(200)
    assert.deepEqual(served(pool), ['bob'])
  })

test('the policy of a workspace is empty: another workspace’s does not concern the caller', async (t) => {
  const pool = await startPool(t, { codex: two })
  for (const path of ['/backend-api/wham/config/bundle', '/api/codex/config/bundle'])
    await pool.request.get(path).set(clientHeaders()).expect(200, {})
  assert.deepEqual(pool.sim.requests, [])
})

test('not even while that account cools down', async (t) => {
  const pool = await startPool(t, { codex: two })
  pool.sim.account('bob').exhaust()
  pool.sim.account('alice').exhaust()
  await pool.ask('s1').expect(429)
  const { status } = await pool.request
    .post('/backend-api/wham/rate-limit-reset-credits/consume')
    .set(owned(pool, 'bob'))
    .send({})
  assert.notEqual(status, 403)
  assert.ok(!pool.sim.requests.some(({ path, account }) => path.endsWith('/consume') && account !== 'bob'))
})

test("what belongs to a person goes to that person's account, or to one that stays the same", async (t) => {
  const pool = await startPool(t, { codex: two })
  for (let i = 0; i < 3; i++)
    await pool.request.get('/backend-api/wham/settings/user').set(owned(pool, 'bob')).expect(200)
  assert.deepEqual(served(pool), ['bob', 'bob', 'bob'])
  for (let i = 0; i < 4; i++)
    await pool.request.get('/backend-api/wham/tasks/list').set(clientHeaders()).expect(200)
  assert.equal(new Set(served(pool).slice(3)).size, 1)
})

test('an API key is asked for nothing that only a ChatGPT account has', async (t) => {
  const config = { providers: { codex: { type: 'codex' as const, apiKeys: 'always' as const } } }
  const pool = await startPool(t, { codex: [{ id: 'zoe' }], codexApiKeys: [{ id: 'key' }], config })
  await pool.request.get('/backend-api/wham/settings/user').expect(200)
  assert.deepEqual(served(pool), ['zoe'])
})

const standby: ['never' | 'when-needed' | 'when-exhausted' | 'always', (string | undefined)[]][] = [
  ['never', ['zoe', 'zoe']],
  ['when-needed', ['zoe', 'zoe']],
  ['when-exhausted', ['zoe', 'zoe', 'key']],
  ['always', ['key', 'zoe', 'key']],
]
for (const [apiKeys, expected] of standby)
  test(`an API key, which costs money, is used ${apiKeys} while there are ChatGPT accounts`, async (t) => {
    const config = {
      providers: { codex: { type: 'codex' as const, apiKeys } },
      routes: [{ path: '/v1', provider: 'codex' as const, strategy: 'round-robin' as const }],
    }
    const pool = await startPool(t, { codex: [{ id: 'zoe' }], codexApiKeys: [{ id: 'key' }], config })
    await pool.ask('s1').expect(200)
    if (apiKeys !== 'always') pool.sim.account('zoe').exhaust()
    await pool.ask('s2').expect(/^when-exhausted|always$/.test(apiKeys) ? 200 : 429)
    if (apiKeys === 'always') await pool.ask('s3').expect(200)
    assert.deepEqual(served(pool), expected)
  })
