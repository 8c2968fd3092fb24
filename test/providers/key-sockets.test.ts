import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { field } from '../../src/simulator/index.js'
import { startPool, until, within, type PoolOptions, type TestPool } from '../kit/pool.js'
import { connect, refusal, type TestSocket } from '../kit/websocket.js'

const KEY = 'the-clients-own-key'
const LIVE = '/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent'
const SETUP = { setup: { model: 'models/gemini-2.5-pro' } }
const TURN = {
  clientContent: { turns: [{ role: 'user', parts: [{ text: 'hi' }] }], turnComplete: true },
}
const strategies = { 'in-order': (accounts: readonly { id: string }[]) => accounts[0] } as never
const gemini: PoolOptions = {
  geminiApiKeys: [{ id: 'alice' }, { id: 'bob' }],
  config: {
    strategies,
    routes: [
      { path: '/ws/google.ai.', provider: 'gemini-api-key', strategy: { sticky: 'in-order' as never } },
    ],
  },
}
const openai: PoolOptions = {
  codex: [{ id: 'zoe' }],
  codexApiKeys: [{ id: 'alice' }, { id: 'bob' }],
  config: {
    strategies,
    routes: [{ path: '/v1', provider: 'codex', strategy: { sticky: 'in-order' as never } }],
  },
}

const asked = ({ sim }: TestPool) => sim.requests.map(({ account }) => account)
/** Google writes JSON into binary messages. */
const next = async (socket: TestSocket): Promise<unknown> => JSON.parse(String(await within(socket.next())))

async function live(pool: TestPool, path = `${LIVE}?key=${KEY}`, headers: Record<string, string> = {}) {
  pool.sim.forbid(KEY)
  const socket = await connect(pool.url + path, { headers })
  socket.send(SETUP)
  return socket
}

async function turn(socket: TestSocket): Promise<unknown[]> {
  socket.send(TURN)
  const said = []
  do said.push(await next(socket))
  while (field(said.at(-1), 'usageMetadata') === undefined)
  return said
}

/** The tokens that an account's report counts. */
const tokens = async (pool: TestPool, id: string) => JSON.stringify((await pool.account(id)).usage)

describe('a Live session of the Gemini API', () => {
  const ways: Record<string, [path: string, headers?: Record<string, string>]> = {
    'in the query': [`${LIVE}?key=${KEY}`],
    'in a header': [LIVE, { 'x-goog-api-key': KEY }],
    'of version v1': [`${LIVE.replace('v1beta', 'v1')}?key=${KEY}`],
    'of version v1alpha': [`${LIVE.replace('v1beta', 'v1alpha')}?key=${KEY}`],
    'behind a version in the base address': [`/v1beta${LIVE}?key=${KEY}`],
  }
  for (const [way, [path, headers]] of Object.entries(ways))
    test(`has the account’s key in place of the client’s, ${way}`, async (t) => {
      const pool = await startPool(t, { ...gemini, config: {} })
      const socket = await live(pool, path, headers)
      assert.deepEqual(await next(socket), { setupComplete: {} })
      assert.match(JSON.stringify(await turn(socket)), /simulator\./)
      const [{ headers: sent, url, account } = assert.fail()] = pool.sim.requests
      assert.equal(sent['x-goog-api-key'], pool.sim.gemini.apiKeys.find(({ id }) => id === account)?.key)
      assert.doesNotMatch(url, /key/)
    })

  test('is counted, and one person’s sessions stay on one account', async (t) => {
    const pool = await startPool(t, { ...gemini, config: {} })
    pool.sim.reply(() => ({ items: [{ text: 'so' }], usage: { input: 70, output: 7 } }))
    for (const _ of [1, 2, 3]) {
      const socket = await live(pool)
      await next(socket)
      await turn(socket)
      socket.raw.close()
    }
    assert.equal(new Set(asked(pool)).size, 1)
    await until(async () => /210/.test(await tokens(pool, `gemini_${asked(pool)[0]}`)))
    assert.match(await tokens(pool, `gemini_${asked(pool)[0]}`), /21\b/)
  })

  test('goes to another account if the handshake is refused', async (t) => {
    const pool = await startPool(t, gemini)
    pool.sim.fail({ with: { status: 429, body: { error: { code: 429, status: 'RESOURCE_EXHAUSTED' } } } })
    assert.deepEqual(await next(await live(pool)), { setupComplete: {} })
    assert.deepEqual(asked(pool), ['alice', 'bob'])
    assert.equal((await pool.account('gemini_alice')).state, 'cooling')
  })

  for (const [what, told] of [
    ['revoked', /"state":"needs-login".*API key not valid/],
    ['spent', /"cooldowns":\[\{.*gemini-2\.5-pro/],
  ] as const)
    test(`goes to another account, unseen, if a key that is ${what} is refused after it`, async (t) => {
      const pool = await startPool(t, gemini)
      pool.sim.gemini.apiKeys[0]![what] = true
      const socket = await live(pool)
      assert.deepEqual(await next(socket), { setupComplete: {} })
      assert.match(JSON.stringify(await turn(socket)), /simulator\./)
      assert.deepEqual(asked(pool), ['alice', 'bob'])
      assert.match(JSON.stringify(await pool.account('gemini_alice')), told)
    })

  test('hears a refusal of its own setup as Google says it, and no account is blamed', async (t) => {
    const pool = await startPool(t, gemini)
    const socket = await connect(pool.url + LIVE)
    socket.send({ setup: {} })
    const { code, reason } = await within(socket.closed)
    assert.deepEqual([code, reason.slice(0, 5)], [1007, 'setup'])
    assert.deepEqual(asked(pool), ['alice'])
    assert.equal((await pool.account('gemini_alice')).state, 'ready')
  })

  test('is the only WebSocket of that API', async (t) => {
    const pool = await startPool(t, gemini)
    for (const path of ['/v1beta/models/gemini-2.5-pro:generateContent', '/ws/google.ai.other/x'])
      assert.equal((await refusal(pool.url + path)).status, 426)
    assert.deepEqual(asked(pool), [])
  })
})

describe('a Realtime session of OpenAI’s API', () => {
  const REALTIME = '/v1/realtime?model=gpt-realtime'
  const client = { headers: { authorization: `Bearer ${KEY}` } }

  async function respond(socket: TestSocket): Promise<unknown[]> {
    socket.send({ type: 'conversation.item.create', item: { type: 'message', role: 'user', content: [] } })
    socket.send({ type: 'response.create' })
    const said = []
    do said.push(await within(socket.next()))
    while (field(said.at(-1), 'type') !== 'response.done')
    return said
  }

  test('goes to an API key, with its key in place of the client’s, also beside ChatGPT accounts', async (t) => {
    const pool = await startPool(t, openai)
    pool.sim.forbid(KEY)
    pool.sim.reply(() => ({ items: [{ text: 'so' }], usage: { input: 70, output: 7 } }))
    const socket = await connect(pool.url + REALTIME, client)
    for (const _ of [1, 2]) assert.match(JSON.stringify(await respond(socket)), /"so"/)
    const [{ kind, url, headers } = assert.fail()] = pool.sim.requests
    assert.deepEqual([kind, url], ['openai', '/openai/v1/realtime?model=gpt-realtime'])
    assert.equal(headers.authorization, `Bearer ${pool.sim.codex.apiKeys[0]!.key}`)
    await until(async () => /140/.test(await tokens(pool, 'alice')))
  })

  test('goes to another key if the handshake is refused, and the first one rests', async (t) => {
    const pool = await startPool(t, openai)
    pool.sim.fail({ with: { status: 429, body: { error: { message: 'Too many.', type: 'requests' } } } })
    await connect(pool.url + REALTIME, client)
    assert.deepEqual(asked(pool), ['alice', 'bob'])
    assert.equal((await pool.account('alice')).state, 'cooling')
    await connect(pool.url + REALTIME, client)
    assert.deepEqual(asked(pool), ['alice', 'bob', 'bob'])
  })

  test('hears its upstream’s errors as they are: no message makes it connect again', async (t) => {
    const pool = await startPool(t, openai)
    const socket = await connect(pool.url + REALTIME, client)
    socket.send({ type: 'nonsense' })
    const error = await within(socket.next())
    assert.deepEqual([field(error, 'type'), field(error, 'event_id')], ['error', 'event_sim'])
    assert.match(JSON.stringify(await respond(socket)), /response\.done/)
  })

  test('is refused by a pool of ChatGPT accounts, with the kind of account that it needs', async (t) => {
    const pool = await startPool(t, { codex: [{ id: 'zoe' }] })
    const { status, body } = await refusal(pool.url + REALTIME, client)
    assert.equal(status, 400)
    assert.match(body, /OpenAI API keys/)
    assert.deepEqual(asked(pool), [])
  })
})
