import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { CLIENT, clientHeaders, startPool, type TestPool } from '../kit/pool.js'
import { dial } from '../kit/websocket.js'

const SECRET = 'networkDown-business'

/** Headers of the client's that tell who it is or where it sits. */
const identity = {
  cookie: `session=${SECRET}`,
  'api-key': SECRET,
  'x-api-key': SECRET,
  'x-goog-api-key': SECRET,
  'x-goog-user-project': SECRET,
  'x-gemini-api-privileged-user-id': SECRET,
  'openai-organization': SECRET,
  'openai-project': SECRET,
  'proxy-authorization': `Basic ${SECRET}`,
  forwarded: `for=${SECRET}`,
  via: `1.1 ${SECRET}`,
  'x-forwarded-for': SECRET,
  'x-forwarded-host': SECRET,
  'x-forwarded-proto': 'https',
  'x-real-ip': SECRET,
  'x-codex-pool-key': SECRET,
  'x-codex-pool-anything': SECRET,
  te: 'trailers',
  'proxy-connection': 'keep-alive',
  'keep-alive': 'timeout=5',
  connection: 'keep-alive, x-named-by-connection, TE',
  'x-named-by-connection': SECRET,
}

/** What every client may say, and the upstream must hear as it was said. */
const passing = {
  'x-codex-turn-metadata': '{"session_id":"s1","turn_id":"t1"}',
  'x-codex-window-id': 's1:0',
  'x-codex-beta-features': 'remote_compaction_v2',
  'x-codex-routing-hint': 'model=gpt-5.5',
  'x-client-request-id': 's1',
  'x-openai-subagent': 'collab_spawn',
  version: '0.169.0',
  originator: 'codex_exec',
  'user-agent': clientHeaders()['user-agent']!,
}

const calls: Record<string, (pool: TestPool) => Promise<{ status: number; text: string }>> = {
  'a turn': (pool) =>
    pool.ask('s1', { path: '/v1/responses?key=secret-in-query&x=1', headers: { ...identity, ...passing } }),
  'the list of models': (pool) =>
    pool.request
      .get('/v1/models?client_version=0.169.0&KEY=secret-in-query')
      .set({ ...clientHeaders(), ...identity, ...passing }),
  'a question to the backend': (pool) =>
    pool.request
      .get('/backend-api/wham/settings/user?key=secret-in-query')
      .set({ ...clientHeaders(), ...identity, ...passing }),
}

for (const [name, call] of Object.entries(calls))
  test(`nothing of who the client is reaches an upstream: ${name}`, async (t) => {
    // Headers of a proxy in front would ask for an access key.
    const pool = await startPool(t, { codex: [{ id: 'alice' }], config: { access: { keys: false } } })
    for (const secret of [SECRET, 'secret-in-query']) pool.sim.forbid(secret)
    const { status, text } = await call(pool)
    assert.equal(status, 200, text)
    const seen = pool.sim.requests[0]!
    for (const name of Object.keys(identity)) {
      if (name === 'connection') assert.doesNotMatch(seen.headers.connection ?? '', /named|te\b/i)
      else assert.equal(seen.headers[name], undefined, name)
    }
    assert.doesNotMatch(seen.url, /key=/i)
    for (const [name, value] of Object.entries(passing)) assert.equal(seen.headers[name], value, name)
  })

/** By the names that Codex 0.169 has in its program, and by those of other clients, proxies and clouds. */
const ofRegion = [
  'x-openai-internal-codex-residency',
  'x-openai-account-routing-override',
  'x-openai-fedramp',
  'x-codex-residency',
  'x-codex-region',
  'x-oai-region',
  'x-oai-attestation',
  'openai-data-residency',
  'openai-region',
  'x-chatgpt-compute-residency',
  'cf-ipcountry',
  'x-country-code',
  'cloudfront-viewer-country',
  'x-goog-user-region',
  'x-client-region',
  'x-client-geo-location',
]
const regional: Record<string, (pool: TestPool, headers: Record<string, string>) => Promise<unknown>> = {
  'a turn': (pool, headers) => pool.ask('s1', { headers }).expect(200),
  'a handshake': (pool, headers) => dial(pool, 's1', { headers }),
  'a question to the backend': (pool, headers) =>
    pool.request
      .get('/backend-api/wham/settings/user')
      .set({ ...clientHeaders(), ...headers })
      .expect(200),
}
for (const [name, call] of Object.entries(regional))
  test(`where the client’s own account is at home is not told under another account: ${name}`, async (t) => {
    const pool = await startPool(t, { codex: [{ id: 'alice' }], config: { access: { keys: false } } })
    await call(pool, Object.fromEntries(ofRegion.map((name) => [name, 'eu'])))
    const [seen] = pool.sim.requests
    assert.ok(seen)
    for (const name of ofRegion) assert.equal(seen.headers[name], undefined, name)
  })

test('the account speaks for itself', async (t) => {
  const pool = await startPool(t, { codex: [{ id: 'alice' }] })
  await pool.ask('s1').expect(200)
  const alice = pool.sim.account('alice')
  const { headers, rawHeaders } = pool.sim.requests[0]!
  assert.equal(headers.authorization, `Bearer ${alice.accessToken}`)
  assert.equal(headers['chatgpt-account-id'], alice.accountId)
  assert.equal(headers.host, new URL(pool.sim.url).host)
  const names = rawHeaders.filter((_, index) => index % 2 === 0).map((name) => name.toLowerCase())
  assert.deepEqual(
    names.filter((name, index) => names.indexOf(name) !== index),
    [],
    'no header comes twice',
  )
})

test('an API key speaks for itself, without an account id of anybody', async (t) => {
  const pool = await startPool(t, { codexApiKeys: [{ id: 'key' }] })
  await pool.ask('s1').expect(200)
  const { kind, headers } = pool.sim.requests[0]!
  assert.equal(kind, 'openai')
  assert.equal(headers.authorization, 'Bearer sk-sim-key')
  assert.equal(headers['chatgpt-account-id'], undefined)
})

test('the rest of a query stays as it was written', async (t) => {
  const pool = await startPool(t, { codex: [{ id: 'alice' }] })
  await pool.request
    .get('/v1/models?client_version=1&a=%20b&key=k&monkey=1&%6Bey=k&access_token=k&&c')
    .expect(200)
  assert.equal(pool.sim.requests[0]?.url, '/backend-api/codex/models?client_version=1&a=%20b&monkey=1&&c')
})

test('a generation is asked for uncompressed, anything else as the client likes it', async (t) => {
  const pool = await startPool(t, { codex: [{ id: 'alice' }] })
  const headers = { 'accept-encoding': 'gzip, br' }
  await pool.ask('s1', { headers }).expect(200)
  await pool.request.get('/v1/models').set(headers).expect(200)
  assert.deepEqual(
    pool.sim.requests.map((request) => request.headers['accept-encoding']),
    ['identity', 'gzip, br'],
  )
})

test("an account's cookies and list of models stay with us; its other headers come through", async (t) => {
  const pool = await startPool(t, { codex: [{ id: 'alice' }] })
  const { headers } = await pool.ask('s1').expect(200)
  assert.equal(headers['set-cookie'], undefined)
  assert.equal(headers['x-models-etag'], undefined)
  assert.equal(headers['openai-model'], 'gpt-5.5')
  assert.equal(headers['openai-processing-ms'], '1')
  assert.match(headers['content-type'] ?? '', /^text\/event-stream/)
  const text = JSON.stringify(headers)
  assert.ok(!text.includes(CLIENT.token) && !text.includes(pool.sim.account('alice').accessToken))
})

/** Headers that carry a credential or say where a client is, by the names that proxies, clouds and APIs give them. */
const telltale = [
  'authorization',
  'x-api-key',
  'api-key',
  'apikey',
  'x-auth-token',
  'x-access-token',
  'x-amz-security-token',
  'x-csrf-token',
  'cookie',
  'cookie2',
  'x-goog-iap-jwt-assertion',
  'x-goog-authenticated-user-email',
  'x-ms-client-principal',
  'cf-access-jwt-assertion',
  'cf-connecting-ip',
  'true-client-ip',
  'x-client-ip',
  'x-real-ip',
  'x-cluster-client-ip',
  'x-forwarded-for',
  'forwarded',
  'from',
  'via',
  'referer',
  'x-anything-else',
  'x-mine-secret',
]
const harmless = {
  accept: 'text/plain',
  'accept-language': 'de',
  'if-none-match': '"x"',
  range: 'bytes=0-9',
  'idempotency-key': 'i-1',
}

test('a provider of one’s own gets what any API needs, and what passHeaders names; nothing else', async (t) => {
  let seen: http.IncomingMessage | undefined
  const upstream = http.createServer((request, response) => {
    seen = request
    response.end('{}')
  })
  await once(upstream.listen(0, '127.0.0.1'), 'listening')
  t.after(() => upstream.close().closeAllConnections())
  const { port } = upstream.address() as AddressInfo
  const pool = await startPool(t, {
    config: {
      access: { keys: false },
      providers: {
        mine: {
          type: 'bearer',
          upstream: `http://127.0.0.1:${port}`,
          passHeaders: ['X-Tenant', 'x-mine-*', 'x-goog-iap-jwt-assertion'],
        },
      },
      routes: [{ path: '/mine', provider: 'mine' }],
    },
    prepare: ({ poolDir }) => writeFile(join(poolDir, 'mine_a.json'), JSON.stringify({ token: 'a-token' })),
  })
  const named = { 'x-tenant': 't', 'x-mine-mode': 'm', 'x-goog-iap-jwt-assertion': 'asked for' }
  const secrets = Object.fromEntries(telltale.map((name) => [name, SECRET]))
  const query = 'x=1&token=q&api_key=q&access_token=q&X-Api-Key=q&client_secret=q&%6bey=q&y=2'
  const answer = await pool.request.get(`/mine/things?${query}`).set({ ...secrets, ...harmless, ...named })
  assert.equal(answer.status, 200, answer.text)
  for (const name of telltale)
    if (name !== 'authorization' && !(name in named)) assert.equal(seen?.headers[name], undefined, name)
  for (const [name, value] of Object.entries({ ...harmless, ...named }))
    assert.equal(seen?.headers[name], value, name)
  assert.equal(seen?.headers.authorization, 'Bearer a-token')
  assert.equal(seen?.url, '/things?x=1&y=2')
})
