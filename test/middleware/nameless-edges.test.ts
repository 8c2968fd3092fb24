import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { test, type TestContext } from 'node:test'
import type { UserConfig } from '../../src/index.js'
import { clientHeaders, startPool, type TestPool } from '../kit/pool.js'
import { CODEX_BETA, connect, create } from '../kit/websocket.js'

interface Chat {
  /** Sends a chat and gives the account that served it. */
  send(messages: readonly object[], headers?: Record<string, string>): Promise<string>
  /** What the model says from now on. */
  says(message: object): void
  /** The account that is refused from now on. */
  refuse(account: string): void
  readonly pool: TestPool
}

const user = (content: unknown) => ({ role: 'user', content })
const said = (content: unknown) => ({ role: 'assistant', content })
const call = (id: string) => ({
  role: 'assistant',
  content: null,
  tool_calls: [{ id, type: 'function', function: { name: 'read', arguments: '{}' } }],
})
const result = (id: string, content: string) => ({ role: 'tool', tool_call_id: id, content })

/** Chats with a bearer provider of four accounts; new conversations go to each in turn. */
async function startChat(t: TestContext, settings: { onDisk?: boolean; pins?: number } = {}): Promise<Chat> {
  let message: object = said('Yes.')
  let served: string | undefined
  let refused: string | undefined
  const server = createServer(async (asked, response) => {
    await asked.resume().toArray()
    served = asked.headers.authorization!.replace('Bearer ', '')
    const body =
      served === refused
        ? { error: { message: 'slow down' } }
        : { choices: [{ message }], usage: { total_tokens: 1 } }
    response.writeHead(served === refused ? 429 : 200, { 'content-type': 'application/json' })
    response.end(JSON.stringify(body))
  }).listen(0, '127.0.0.1')
  t.after(() => server.close())
  await new Promise((listening) => server.once('listening', listening))
  const upstream = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const config: UserConfig = {
    providers: { chats: { type: 'bearer', upstream } },
    routes: [{ path: '/chats', provider: 'chats', strategy: { sticky: 'round-robin' } }],
    pins: { max: settings.pins ?? 100 },
  }
  const prepare = async ({ poolDir }: { poolDir: string }) => {
    for (const token of ['ann', 'ben', 'cem', 'dov'])
      await writeFile(join(poolDir, `chats_${token}.json`), JSON.stringify({ token }), { mode: 0o600 })
  }
  const pool = await startPool(t, { config, prepare, onDisk: settings.onDisk ?? false })
  return {
    pool,
    says: (next) => void (message = next),
    refuse: (account) => void (refused = account),
    async send(messages, headers = {}) {
      const asked = await pool.request
        .post('/chats/v1/chat/completions')
        .set(headers)
        .send({ model: 'm', messages })
      assert.equal(asked.status, 200, asked.text)
      return served!
    },
  }
}

test('conversations that begin with the same words are told apart by what was answered', async (t) => {
  const { send, says } = await startChat(t)
  const accounts: string[] = []
  for (const i of [1, 2, 3, 4]) {
    says(said(`Answer ${i}`))
    accounts.push(await send([user('hi')]))
  }
  assert.deepEqual(accounts, ['ann', 'ben', 'cem', 'dov'])
  for (const i of [3, 1, 4, 2])
    assert.equal(await send([user('hi'), said(`Answer ${i}`), user('go on')]), accounts[i - 1])
})

test('conversations with the same words and answers are spread, too', async (t) => {
  const { send } = await startChat(t)
  const talk = [user('hi'), said('Yes.'), user('go on'), said('Yes.'), user('and on')]
  const counts = new Map<string, number>()
  for (const length of [1, 3, 5])
    for (let i = 0; i < 8; i++) {
      const account = await send(talk.slice(0, length))
      counts.set(account, (counts.get(account) ?? 0) + 1)
    }
  assert.deepEqual([...counts.values()], [6, 6, 6, 6])
})

test('conversations with the same words and answers are told apart by their instructions', async (t) => {
  const { send } = await startChat(t)
  const agents = ['Plan.', 'Code.', 'Test.'].map((content) => ({ role: 'system', content }))
  const accounts: string[] = []
  for (const agent of agents) accounts.push(await send([agent, user('hi')]))
  for (const i of [2, 0, 1])
    assert.equal(await send([agents[i]!, user('hi'), said('Yes.'), user('go on')]), accounts[i])
})

test('a compressed body tells its conversation, too', async (t) => {
  const { send, pool } = await startChat(t)
  const account = await send(begun)
  await send([user('other')])
  const body = gzipSync(JSON.stringify({ messages: [...begun, said('Yes.'), user('Go on.')] }))
  const asked = await fetch(`${pool.url}/chats/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'content-encoding': 'gzip' },
    body,
  })
  assert.equal(asked.status, 200)
  await asked.arrayBuffer()
  const told = await pool.request.get(`/admin/requests/${asked.headers.get('x-codex-pool-request-id')}`)
  assert.equal(told.body.servedBy, `chats/chats_${account}`)
})

test('examples in front of a question bind no conversation', async (t) => {
  const { send } = await startChat(t)
  await send([user('2 + 2')])
  const examples = [user('1 + 1'), said('The result of this is the number two, as all of us know.')]
  const accounts = []
  for (let i = 0; i < 8; i++) accounts.push(await send([...examples, user(`${i} + ${i}`)]))
  assert.equal(new Set(accounts).size, 4)
})

/** Conversations of two turns: what is sent first, what is answered, and what is sent next. */
const begun = [user('What is a monad?')]
const long = said('A monad is a monoid in the category of endofunctors, whatever that may be.')
const kept: Record<string, readonly [first: readonly object[], answer: object, next: readonly object[]]> = {
  'whose answer is repeated as a list with more fields': [
    begun,
    said('Well.'),
    [...begun, { ...said([{ type: 'text', text: 'Well.\n', annotations: [] }]), id: 'msg_1' }, user('Why?')],
  ],
  'with whitespace and caching changed': [
    [user('What  is\n a monad? ')],
    long,
    [
      user([{ type: 'text', text: 'What is a monad?', cache_control: { type: 'ephemeral' } }]),
      long,
      user('?'),
    ],
  ],
  'with another system message and a clock': [
    [{ role: 'system', content: 'It is 12:00.' }, ...begun],
    said('Well.'),
    [{ role: 'system', content: 'It is 12:01. Plan only.' }, ...begun, said('Well.'), user('?')],
  ],
  'whose thoughts are dropped': [
    begun,
    said(`<think>Hm.</think>\n${long.content}`),
    [...begun, { ...long, reasoning_content: 'Hm.' }, user('?')],
  ],
  'with tool calls': [begun, call('call_a1'), [...begun, call('call_a1'), result('call_a1', 'data')]],
  'whose beginning was cut off': [begun, long, [long, user('Why?')]],
  'whose beginning became a summary': [
    begun,
    long,
    [user('So far: monads.'), said('Ok'), long, user('Why?')],
  ],
  'whose answer the client has changed': [
    begun,
    said('Yes.'),
    [...begun, said('Yes, indeed.'), user('Why?')],
  ],
  'with an image of five megabytes': [
    [user([{ type: 'image_url', image_url: { url: `data:image/png;base64,${'A'.repeat(5_000_000)}` } }])],
    said('A cat.'),
    [
      user([{ type: 'image_url', image_url: { url: `data:image/png;base64,${'A'.repeat(5_000_000)}` } }]),
      said('A cat.'),
      user('Sure?'),
    ],
  ],
}
for (const [which, [first, answer, next]] of Object.entries(kept))
  test(`a conversation stays on its account ${which}`, async (t) => {
    const { send, says } = await startChat(t)
    says(answer)
    const account = await send(first)
    says(said('Something else.'))
    for (let i = 0; i < 2; i++) await send([user(`other ${i}`)])
    assert.equal(await send(next), account)
  })

test('a conversation stays on its account when an earlier message is changed, and when one is sent again', async (t) => {
  const { send, says } = await startChat(t)
  says(said('First.'))
  const account = await send(begun)
  const second = [...begun, said('First.'), user('Second?')]
  says(said('Second.'))
  assert.equal(await send(second), account)
  assert.equal(await send(second), account, 'sent again')
  await send([user('other')])
  assert.equal(await send([...begun, said('First.'), user('Third?')]), account, 'gone back')
  assert.equal(await send([...second, said('Second.'), user('Fourth?')]), account)
})

test('a conversation stays on its account when the client drops the notes that it put beside a message', async (t) => {
  const { send, says } = await startChat(t)
  const note = (now: string) => ({
    type: 'text',
    text: `<system-reminder>\nIt is ${now}.\n</system-reminder>\n`,
  })
  const asked = (text: string) => ({ type: 'text', text })
  says(said('Hi.'))
  const first = await send([user([note('noon'), asked('hello')])])
  assert.notEqual(await send([user([note('noon'), asked('something else')])]), first)
  const later = [user([asked('hello')]), said('Hi.'), user([note('one'), asked('and now?')])]
  assert.equal(await send(later), first)
})

test('a conversation of tools stays on its account when old outputs are cleared', async (t) => {
  const { send, says } = await startChat(t)
  const talk: object[] = [...begun]
  const accounts = new Set<string>()
  for (let i = 0; i < 4; i++) {
    says(call(`c${i}`))
    accounts.add(await send(talk))
    await send([user(`other ${i}`)])
    for (const message of talk)
      if ('tool_call_id' in message) Object.assign(message, { content: '[cleared]' })
    talk.push(call(`c${i}`), result(`c${i}`, `data ${i}`))
  }
  assert.equal(accounts.size, 1)
})

test('a first request that is sent once more by the SDK stays on its account', async (t) => {
  const { send } = await startChat(t)
  const account = await send(begun)
  assert.equal(await send(begun, { 'x-stainless-retry-count': '1' }), account)
  assert.notEqual(await send(begun, { 'x-stainless-retry-count': '0' }), account)
})

test('after a failover the conversation stays with the new account', async (t) => {
  const { send, refuse } = await startChat(t)
  const first = await send(begun)
  refuse(first)
  const talk = [...begun, said('Yes.'), user('Go on.')]
  const second = await send(talk)
  assert.notEqual(second, first)
  refuse('nobody')
  await send([user('other')])
  assert.equal(await send([...talk, said('Yes.'), user('Go on.')]), second)
})

test('a conversation without a name stays on its account after a restart', async (t) => {
  const { send, pool } = await startChat(t, { onDisk: true })
  await send([user('other')])
  const account = await send(begun)
  await pool.restart()
  assert.equal(await send([...begun, said('Yes.'), user('Go on.')]), account)
})

test('requests without a name push no named conversation out', async (t) => {
  const { send } = await startChat(t, { pins: 4 })
  await send([user('other')])
  const account = await send(begun, { 'session-id': 's1' })
  for (let i = 0; i < 22; i++) await send([user(`single ${i}`)])
  assert.equal(await send([user('Go on.')], { 'session-id': 's1' }), account)
})

const three = [{ id: 'alice' }, { id: 'bob' }, { id: 'carol' }]
const inTurn: UserConfig = {
  routes: [{ path: '/v1', provider: 'codex', strategy: { sticky: 'round-robin' } }],
}

test('what a message on a WebSocket names stays on its account over HTTP, too', async (t) => {
  const pool = await startPool(t, { codex: three, config: inTurn })
  await pool.ask('other').expect(200)
  const socket = await connect(`${pool.url}/v1/responses`, {
    headers: { ...clientHeaders(), ...CODEX_BETA },
  })
  await socket.ask(create('hi', { prompt_cache_key: 'key-1' }))
  const account = pool.asked().at(-1)
  for (const session of ['s1', 's2']) await pool.ask(session).expect(200)
  assert.equal(await pool.servedBy(undefined, { body: { prompt_cache_key: 'key-1' } }), account)
  socket.raw.terminate()
})

const input = (role: 'user' | 'assistant', text: string) => ({
  type: 'message',
  role,
  content: [{ type: role === 'user' ? 'input_text' : 'output_text', text }],
})

/** A pool whose accounts answer in their own words, and WebSockets whose handshakes name nothing. */
async function startNamelessSockets(t: TestContext) {
  const pool = await startPool(t, { codex: three, config: inTurn })
  pool.sim.reply(({ account }) => `These are the telling words of ${account}.`)
  const open = () => connect(`${pool.url}/v1/responses`, { headers: { ...clientHeaders(), ...CODEX_BETA } })
  /** The second turn of a conversation that this account has begun. */
  const second = (account: string) => ({
    input: [
      input('user', 'hi'),
      input('assistant', `These are the telling words of ${account}.`),
      input('user', 'Go on.'),
    ],
  })
  return { pool, open, second }
}

test('a WebSocket without a name goes on with a conversation on its account, whatever began it', async (t) => {
  const { pool, open, second } = await startNamelessSockets(t)
  await pool.ask(undefined, { body: { input: [input('user', 'hi')] } }).expect(200)
  const begun = pool.asked().at(-1)!
  for (const message of [second(begun), { input: [...second(begun).input, input('user', 'More.')] }]) {
    const socket = await open()
    const answer = JSON.stringify(await socket.ask(create('', message)))
    assert.ok(answer.includes(`telling words of ${begun}`), answer)
    socket.raw.terminate()
  }
})

test('conversations of the same first words on WebSockets are told apart by their answers', async (t) => {
  const { pool, open, second } = await startNamelessSockets(t)
  for (const _ of three) {
    const socket = await open()
    await socket.ask(create('hi'))
    socket.raw.terminate()
  }
  const socket = await open()
  const inAnotherOrder = three.toReversed()
  for (const { id } of [...inAnotherOrder, ...three]) {
    const answer = JSON.stringify(await socket.ask(create('', second(id))))
    assert.ok(answer.includes(`telling words of ${id}`), answer)
  }
  for (const { id } of three) assert.equal(await pool.servedBy(undefined, { body: second(id) }), id)
  socket.raw.terminate()
})

test('a conversation on a WebSocket stays where the connection is while its own account cannot be asked', async (t) => {
  const { pool, open, second } = await startNamelessSockets(t)
  await pool.ask(undefined, { body: { input: [input('user', 'hi')] } }).expect(200)
  const begun = pool.asked().at(-1)!
  const socket = await open()
  const connected = pool.asked().at(-1)!
  assert.notEqual(connected, begun)
  pool.gateway.setDisabled(begun, true)
  const answer = JSON.stringify(await socket.ask(create('', second(begun))))
  assert.ok(answer.includes(`telling words of ${connected}`), answer)
  socket.raw.terminate()
})

test('a conversation that goes on from the response before stays on its account', async (t) => {
  const pool = await startPool(t, { codexApiKeys: three, config: inTurn })
  const ask = async (body: object) => {
    const asked = await pool.request.post('/v1/responses').send({ model: 'gpt-5.5', input: 'hi', ...body })
    assert.equal(asked.status, 200, asked.text)
    const told = await pool.request.get(`/admin/requests/${asked.headers['x-codex-pool-request-id']}`)
    const { account } = pool.sim.requests.at(-1)!
    return { id: asked.body.id as string, account, conversation: told.body.conversation as string }
  }
  const first = await ask({})
  await ask({})
  const second = await ask({ previous_response_id: first.id })
  await ask({})
  const third = await ask({ previous_response_id: second.id })
  assert.deepEqual([second.account, third.account], [first.account, first.account])
  assert.deepEqual([second.conversation, third.conversation], [first.conversation, first.conversation])
})
