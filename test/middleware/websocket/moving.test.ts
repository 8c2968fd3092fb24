import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type FrameFault,
  faults,
  field,
  list,
  Pause,
  type SimulatorOptions,
  text,
} from '../../../src/simulator/index.js'
import { inOrder, startPool, type TestPool } from '../../kit/pool.js'
import { create, dial, isTurn, prewarm, saidBy, type TestSocket, typesOf } from '../../kit/websocket.js'

const two: SimulatorOptions['codex'] = [
  { id: 'alice', plan: 'plus' },
  { id: 'bob', plan: 'pro' },
]
const NOW = Math.ceil(Date.now() / 1000) * 1000
const until = (seconds: number) => faults.usageLimit({ resetsAt: NOW + seconds * 1000, now: NOW })
const RECONNECT = 'websocket_connection_limit_reached'

/** A conversation in the middle, on alice's account. */
async function talking(pool: TestPool): Promise<{ socket: TestSocket; previous: string; turnState: string }> {
  pool.sim.reply(({ account }) => `I am ${account}.`)
  const socket = await dial(pool, 's1')
  await socket.ask(prewarm())
  const frames = await socket.ask(create())
  assert.equal(saidBy(frames), 'I am alice.')
  return {
    socket,
    previous: text(frames.at(-1), 'response', 'id') ?? '',
    turnState:
      text(
        frames.find((frame) => field(frame, 'type') === 'response.metadata'),
        'headers',
        'x-codex-turn-state',
      ) ?? '',
  }
}

const codesOf = (frames: readonly unknown[]) => frames.flatMap((frame) => field(frame, 'error', 'code') ?? [])

const moving: Record<string, { fault: FrameFault; state: string }> = {
  'a usage limit before output': { fault: until(300), state: 'exhausted' },
  'a usage limit after output': { fault: { ...until(300), after: 7 }, state: 'exhausted' },
  'a usage limit after output, with its type behind it': {
    fault: {
      events: (events) => [
        ...events.slice(0, 7),
        { error: { type: 'usage_limit_reached', message: 'No.' }, status: 429, type: 'error' },
      ],
    },
    state: 'exhausted',
  },
  'a rate limit': { fault: faults.rateLimited(), state: 'cooling' },
  'a failure that names a usage limit': { fault: faults.failed('usage_limit_reached'), state: 'exhausted' },
  'a workspace that does not pay': {
    fault: { status: 402, body: { error: { code: 'deactivated_workspace' } } },
    state: 'needs-login',
  },
}

for (const [name, { fault, state }] of Object.entries(moving))
  test(`a live conversation moves to another account without a word to the user: ${name}`, async (t) => {
    const pool = await startPool(t, { codex: two, config: inOrder })
    const { socket, previous, turnState } = await talking(pool)
    pool.sim.fail({ account: 'alice', frame: isTurn, with: fault })
    const echo = { client_metadata: { 'x-codex-turn-state': turnState, session_id: 's1' } }
    const refused = await socket.ask(create('and now', { previous_response_id: previous, ...echo }))
    assert.deepEqual(codesOf(refused), [RECONNECT])
    assert.equal((await pool.account('alice')).state, state)

    // The client sends everything once more over a new connection; even the turn state that is alice's.
    const again = await dial(pool, 's1')
    assert.equal(saidBy(await again.ask(create('and now', echo))), 'I am bob.')
    const [sent] = pool.sim.requests.at(-1)?.frames ?? []
    assert.deepEqual(field(sent, 'client_metadata'), { session_id: 's1' })
    assert.deepEqual(pool.asked(), ['alice', 'bob'])
    assert.equal((await pool.account('alice')).inFlight, 0)
  })

test('tokens that are refused in messages are refreshed once each, and then told as trouble of the upstream', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  pool.sim.fail({ frame: isTurn, times: 99, with: faults.inStream(faults.unauthorized()) })
  for (let times = 0; times < 3; times++) {
    const [told] = await (await dial(pool, 's1')).ask(create())
    assert.equal(field(told, 'status'), 502)
    assert.deepEqual(codesOf([told]), ['upstream_unavailable'])
  }
  assert.equal(pool.sim.issuer.refreshes, 2)
  assert.equal((await pool.account('alice')).state, 'ready')
})

test('a client that does not come again by itself is sent away', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  const { socket, previous } = await talking(pool)
  pool.sim.fail({ account: 'alice', frame: isTurn, with: until(300) })
  await socket.ask(create('hi', { previous_response_id: previous }))
  assert.equal((await socket.closed).code, 1012)
  const [handshake] = pool.sim.requests
  await handshake?.closed
})

test('a turn state goes back to the account that gave it', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  const { turnState } = await talking(pool)
  const echo = { client_metadata: { 'x-codex-turn-state': turnState } }
  await (await dial(pool, 's1')).ask(create('and now', echo))
  const [sent] = pool.sim.requests.at(-1)?.frames ?? []
  assert.equal(field(sent, 'client_metadata', 'x-codex-turn-state'), turnState)
})

test('the limit reaches the user when no account is left, with the earliest reset', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  const { socket, previous } = await talking(pool)
  pool.sim.fail({ account: 'bob', path: '/codex/responses', with: until(300) })
  pool.sim.fail({ account: 'alice', frame: isTurn, times: 2, with: until(400) })
  assert.deepEqual(
    codesOf(await socket.ask(create('hi', { previous_response_id: previous }))),
    [RECONNECT],
    'as far as is known, bob could serve',
  )
  const refused = await dial(pool, 's1').catch((error: Error) => error.message)
  assert.match(String(refused), /^refused: 429 .*"usage_limit_reached"/)

  const [frame] = await socket.ask(create())
  assert.equal(field(frame, 'status'), 429)
  assert.equal(field(frame, 'error', 'type'), 'usage_limit_reached')
  assert.equal(field(frame, 'error', 'resets_at'), NOW / 1000 + 300)
})

test('while another account only cools down, no limit is told', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  const { socket, previous } = await talking(pool)
  pool.sim.fail({ account: 'bob', path: '/codex/responses', with: faults.rateLimited(20) })
  pool.sim.account('alice').exhaust()
  await pool.ask('s2').expect(503)
  assert.deepEqual(codesOf(await socket.ask(create('hi', { previous_response_id: previous }))), [RECONNECT])
  const refused = await dial(pool, 's1').catch((error: Error) => error.message)
  assert.match(String(refused), /^refused: 503 .*"accounts_cooling"/)
})

const passing: Record<string, FrameFault> = {
  'a response that the connection does not know': {
    status: 400,
    body: { error: { type: 'invalid_request_error', code: 'previous_response_not_found', message: 'No.' } },
  },
  'a connection that is too old': faults.connectionLimit(),
  'a bad request': { status: 400, body: { error: { type: 'invalid_request_error', message: 'No.' } } },
}

for (const [name, fault] of Object.entries(passing))
  test(`what is no fault of the account reaches the client as it is: ${name}`, async (t) => {
    const pool = await startPool(t, { codex: two, config: inOrder })
    const { socket } = await talking(pool)
    pool.sim.fail({ account: 'alice', frame: isTurn, with: fault })
    const refused = await socket.ask(create())
    assert.deepEqual(field(refused[0], 'error'), field(fault, 'body', 'error'))
    assert.equal((await pool.account('alice')).state, 'ready')
    assert.equal(saidBy(await socket.ask(create())), 'I am alice.', 'the connection lives on')
  })

test('with failover turned off, the client gets what the upstream said', async (t) => {
  const pool = await startPool(t, { codex: two, config: { ...inOrder, retry: { default: { attempts: 1 } } } })
  const { socket } = await talking(pool)
  pool.sim.fail({ account: 'alice', frame: isTurn, with: until(300) })
  const [frame] = await socket.ask(create())
  assert.equal(field(frame, 'error', 'type'), 'usage_limit_reached')
})

test('a window that fills up while a conversation runs is no end of it', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  pool.sim.account('alice').window('primary', { usedPercent: 98, percentPerRequest: 1 })
  const { socket } = await talking(pool)
  // The last one that alice can pay for fills her window.
  assert.equal(saidBy(await socket.ask(create())), 'I am alice.')
  assert.equal((await pool.account('alice')).usedPercent, 100)
  assert.equal(saidBy(await socket.ask(create())), 'I am bob.')
})

test('a model that one account may not use is asked of another', async (t) => {
  const pool = await startPool(t, {
    codex: [
      { id: 'alice', models: ['gpt-5.5'] },
      { id: 'bob', models: ['gpt-5.5', 'gpt-6.1-sol'] },
    ],
    config: inOrder,
  })
  const { socket } = await talking(pool)
  const ask = create('hi', { model: 'gpt-6.1-sol' })
  assert.equal(saidBy(await socket.ask(ask)), 'I am bob.')
})

test('reasoning that only another account can read does not end a conversation that has moved', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder, strictHistory: true })
  pool.sim.reply(({ account }) => [{ reasoning: 'Hm.' }, { text: `I am ${account}.` }])
  const first = await (await dial(pool, 's1')).ask(create())
  const output = list(first.at(-1), 'response', 'output')
  assert.equal(text(output[0], 'encrypted_content')?.startsWith('enc-alice'), true)
  pool.sim.account('alice').exhaust()
  const question = list(create('and now'), 'input')
  const whole = create('', { input: [...list(create(), 'input'), ...output, ...question] })
  const frames = await (await dial(pool, 's1')).ask(whole)
  assert.deepEqual(codesOf(frames), [])
  assert.equal(text(frames.at(-1), 'response', 'output', 1, 'content', 0, 'text'), 'I am bob.')
  const totals = (await pool.account('bob')).usage?.last24h
  assert.deepEqual([totals?.requests, totals?.failures], [1, 0])
})

test('an upstream that breaks in mid-turn is told to the client, which comes again', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  const { socket } = await talking(pool)
  pool.sim.fail({ account: 'alice', frame: isTurn, with: faults.cut(7) })
  socket.send(create())
  const types = []
  for (let count = 0; count < 7; count++) types.push(field(await socket.next(), 'type'))
  assert.equal(types.at(-1), 'response.output_text.delta')
  assert.equal((await socket.closed).code, 1006)
  assert.equal((await pool.account('alice')).inFlight, 0)
  assert.deepEqual(typesOf(await (await dial(pool, 's1')).ask(create())).at(-1), 'response.completed')
})

const unseen: Record<string, FrameFault> = {
  'a usage limit': until(300),
  'a rate limit': faults.rateLimited(),
  'an overload': { status: 503, body: { error: { code: 'server_is_overloaded', message: 'overloaded' } } },
  'a failed response that names an overload': faults.failed('server_is_overloaded'),
  'an overload after the prelude': { ...faults.failed('server_is_overloaded'), after: 2 },
  'a model at capacity': { status: 503, body: { error: { message: 'Selected model is at capacity.' } } },
  '403': { status: 403, body: { error: { message: 'Forbidden' } } },
  'a break before anything': faults.cut(0),
  'a break after the prelude': faults.cut(2),
  'an account that is gone': { status: 402, body: { error: { code: 'deactivated_workspace' } } },
}
for (const [name, fault] of Object.entries(unseen)) {
  test(`a whole request is asked of another account on the same connection: ${name}`, async (t) => {
    const pool = await startPool(t, { codex: two, config: inOrder })
    const { socket } = await talking(pool)
    pool.sim.fail({ account: 'alice', frame: isTurn, with: fault })
    const frames = await socket.ask(create('and now'))
    assert.deepEqual(codesOf(frames), [])
    assert.equal(saidBy(frames), 'I am bob.')
    assert.equal(
      typesOf(frames).filter((type) => type === 'response.created').length,
      1,
      'one prelude is seen',
    )
    assert.equal(saidBy(await socket.ask(create('and then'))), 'I am bob.', 'the connection is now of bob')
    assert.equal((await pool.account('alice')).inFlight, 0)
    assert.equal((await pool.account('bob')).inFlight, 0)
    assert.equal((await pool.account('bob')).usage?.last24h.requests, 2)
  })

  test(`one that needs what came before is sent again by the client, to another account: ${name}`, async (t) => {
    const pool = await startPool(t, { codex: two, config: inOrder })
    const { socket, previous } = await talking(pool)
    pool.sim.fail({ account: 'alice', frame: isTurn, with: fault })
    const frames = await socket.ask(create('and now', { previous_response_id: previous }))
    assert.deepEqual(codesOf(frames), [RECONNECT])
    // An account that is refused for one model serves others: this handshake names none.
    const next = name === '403' ? 'I am alice.' : 'I am bob.'
    assert.equal(saidBy(await (await dial(pool, 's1')).ask(create('and now'))), next)
  })
}

test('a client that waits for long gets keep-alive messages, and its turn still moves', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  const { socket } = await talking(pool)
  t.mock.timers.enable({ apis: ['setTimeout'] })
  t.after(() => t.mock.timers.reset())
  const overload = faults.failed('server_is_overloaded')
  pool.sim.fail({
    account: 'alice',
    frame: isTurn,
    with: { ...overload, events: (events) => [new Pause(300), ...(overload.events?.(events) ?? events)] },
  })
  socket.send(create('and now'))
  const heard: unknown[] = []
  let next = socket.next()
  // The timers start as messages arrive, which no event tells.
  while (field(heard.at(-1), 'type') !== 'response.completed') {
    t.mock.timers.tick(1_000)
    const message = await Promise.race([next, new Promise((turn) => setImmediate(turn))])
    if (message === undefined) continue
    heard.push(message)
    next = socket.next()
  }
  next.catch(() => {})
  assert.deepEqual(heard[0], { type: 'keepalive' })
  assert.equal(saidBy(heard.slice(-1)), 'I am bob.')
})

test('a 401 in a frame refreshes the token once, and the same account answers', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  const { socket } = await talking(pool)
  pool.sim.fail({ account: 'alice', frame: isTurn, with: faults.unauthorized() })
  assert.equal(saidBy(await socket.ask(create())), 'I am alice.')
  assert.equal(pool.sim.requests.filter(({ path }) => path.endsWith('/oauth/token')).length, 1)
})

test('401s in frames for good: one refresh, then another account', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  const { socket } = await talking(pool)
  pool.sim.fail({ account: 'alice', frame: isTurn, with: faults.unauthorized(), times: Infinity })
  assert.equal(saidBy(await socket.ask(create())), 'I am bob.')
  assert.equal(pool.sim.requests.filter(({ path }) => path.endsWith('/oauth/token')).length, 1)
})

for (const status of [401, 403])
  test(`a ${status} in a frame never reaches the client, also if every account is refused`, async (t) => {
    const pool = await startPool(t, { codex: two, config: inOrder })
    const { socket } = await talking(pool)
    const fault = { status, body: { error: { message: 'no' } } }
    pool.sim.fail({ frame: isTurn, with: fault, times: Infinity })
    const frames = await socket.ask(create())
    assert.notEqual(field(frames.at(-1), 'status'), status)
    assert.doesNotMatch(JSON.stringify(frames), new RegExp(`"status":${status}`))
  })

test('an overload of every account reaches the client as it is', async (t) => {
  const pool = await startPool(t, { codex: two, config: inOrder })
  const { socket } = await talking(pool)
  pool.sim.fail({ frame: isTurn, with: faults.failed('server_is_overloaded'), times: Infinity })
  const frames = await socket.ask(create())
  assert.equal(field(frames.at(-1), 'response', 'error', 'code'), 'server_is_overloaded')
})
