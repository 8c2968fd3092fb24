import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import {
  type CodexAccount,
  type FrameFault,
  faults,
  field,
  type Simulator,
  type SimulatorOptions,
  startSimulator,
  text,
} from '../../src/simulator/index.js'
import { CODEX_BETA, connect, create, isTurn, prewarm, refusal, saidBy, typesOf } from '../kit/websocket.js'

const PATH = '/backend-api/codex/responses'

async function simulate(t: TestContext, options: SimulatorOptions): Promise<Simulator> {
  const sim = await startSimulator(options)
  t.after(() => sim.close())
  return sim
}

function headersFor(account: CodexAccount): Record<string, string> {
  return {
    ...CODEX_BETA,
    authorization: `Bearer ${account.accessToken}`,
    'chatgpt-account-id': account.accountId,
  }
}

const dial = (sim: Simulator, id: string, headers: Record<string, string> = {}) =>
  connect(sim.url + PATH, { headers: { ...headersFor(sim.account(id)), ...headers } })
const refused = (sim: Simulator, id: string, headers: Record<string, string> = {}, path = PATH) =>
  refusal(sim.url + path, { headers: { ...headersFor(sim.account(id)), ...headers } })

const idOf = (frames: readonly unknown[]): string => text(frames.at(-1), 'response', 'id') ?? ''

test('a WebSocket opens with a token of its own account and the beta header, and not without', async (t) => {
  const sim = await simulate(t, { codex: [{ id: 'alice' }, { id: 'bob' }] })
  const status = async (headers: Record<string, string>) => (await refused(sim, 'alice', headers)).status
  assert.equal(await status({ authorization: 'Bearer of-nobody' }), 401)
  assert.equal(await status({ 'chatgpt-account-id': 'acct-bob' }), 403)
  assert.equal(await status({ 'openai-beta': 'something=else' }), 400)
  assert.equal((await refused(sim, 'alice', {}, '/backend-api/codex/models')).status, 404)
  assert.equal((await refused(sim, 'alice', {}, '/backend-api/wham/usage')).status, 426)
  sim.account('bob').expireAccessToken()
  assert.equal((await refused(sim, 'bob')).status, 401)
  const socket = await dial(sim, 'alice')
  assert.match(String(socket.headers['set-cookie']), /__cf_bm/)
  const statuses = sim.requests.map((request) => request.status)
  assert.deepEqual(statuses, [401, 403, 400, 404, 426, 401, 101])
  assert.deepEqual(sim.violations, [])
})

test('a turn is the same events as over HTTP, after two frames in place of headers', async (t) => {
  const sim = await simulate(t, { codex: [{ id: 'alice', primary: { usedPercent: 41 } }] })
  const socket = await dial(sim, 'alice')
  const warm = await socket.ask(prewarm())
  assert.deepEqual(typesOf(warm), ['response.created', 'response.in_progress', 'response.completed'])
  assert.equal(sim.account('alice').windows.primary.usedPercent, 41, 'a prewarm costs nothing')

  const frames = await socket.ask(create('hi', { previous_response_id: idOf(warm) }))
  const types = typesOf(frames)
  assert.deepEqual(types.slice(0, 3), ['codex.rate_limits', 'response.metadata', 'response.created'])
  assert.equal(field(frames[0], 'rate_limits', 'primary', 'used_percent'), 42)
  assert.match(text(frames[1], 'headers', 'x-codex-turn-state') ?? '', /^ts-/)
  assert.equal(types.at(-1), 'response.completed')
  assert.equal(saidBy(frames), 'Hello from the simulator.')
  assert.equal(typeof field(frames.at(-1), 'response', 'usage', 'input_tokens'), 'number')
  const [handshake] = sim.requests
  assert.equal(handshake?.account, 'alice')
  assert.deepEqual(
    handshake?.frames.map((frame) => field(frame, 'generate')),
    [false, undefined],
  )
})

test('a turn built on an earlier response sees the whole conversation', async (t) => {
  const sim = await simulate(t, { codex: [{ id: 'alice' }] })
  sim.reply(({ prompt, toolOutputs: [output] }) =>
    output === undefined ? [{ call: 'shell', arguments: { command: [prompt] } }] : `${prompt}: ${output}`,
  )
  const socket = await dial(sim, 'alice')
  const first = await socket.ask(create('date'))
  const call = field(first.at(-1), 'response', 'output', 0)
  const output = { type: 'function_call_output', call_id: field(call, 'call_id'), output: 'monday' }
  const second = await socket.ask(create('', { previous_response_id: idOf(first), input: [output] }))
  assert.equal(saidBy(second), 'date: monday')
})

test('only the WebSocket that gave a response knows it, until a turn on it fails', async (t) => {
  const sim = await simulate(t, { codex: [{ id: 'alice' }] })
  const [one, other] = [await dial(sim, 'alice'), await dial(sim, 'alice')]
  const previous_response_id = idOf(await one.ask(create()))
  const next = create('and now', { previous_response_id })
  const codes = async (socket: typeof one) =>
    (await socket.ask(next)).map((frame) => field(frame, 'error', 'code'))
  assert.deepEqual(await codes(other), ['previous_response_not_found'])
  sim.fail({ frame: true, with: faults.serverError() })
  assert.deepEqual(await codes(one), ['server_error'])
  assert.deepEqual(await codes(one), ['previous_response_not_found'])
})

test('a full window refuses the turn and not the handshake, in the form of the real upstream', async (t) => {
  const sim = await simulate(t, { codex: [{ id: 'alice', plan: 'pro' }] })
  sim.account('alice').exhaust({ resetsAt: 4_000_000_000_000 })
  const socket = await dial(sim, 'alice')
  await socket.ask(prewarm())
  const [frame, ...others] = await socket.ask(create())
  assert.deepEqual(others, [])
  assert.equal(field(frame, 'status'), 429)
  assert.equal(field(frame, 'error', 'type'), 'usage_limit_reached')
  assert.equal(field(frame, 'error', 'resets_at'), 4_000_000_000)
  assert.equal(field(frame, 'headers', 'x-codex-primary-used-percent'), '100')
})

test('the turn state of another account is a violation in a frame too', async (t) => {
  const sim = await simulate(t, { codex: [{ id: 'alice' }, { id: 'bob' }] })
  const [alice, bob] = [await dial(sim, 'alice'), await dial(sim, 'bob')]
  const state = text((await alice.ask(create()))[1], 'headers', 'x-codex-turn-state')
  const echo = create('hi', { client_metadata: { 'x-codex-turn-state': state } })
  await alice.ask(echo)
  assert.deepEqual(sim.violations, [])
  await bob.ask(echo)
  assert.deepEqual(sim.violations, [`GET ${PATH}: x-codex-turn-state of alice sent for bob`])
})

test('a header of the client is a violation in a handshake too', async (t) => {
  const sim = await simulate(t, { codex: [{ id: 'alice' }] })
  sim.forbid('secret-of-the-client')
  await dial(sim, 'alice', { cookie: 'a=b', 'x-note': 'the secret-of-the-client' })
  assert.deepEqual(sim.violations, [`GET ${PATH}: header cookie`, `GET ${PATH}: a forbidden value`])
})

test('a frame that is not understood is refused, and the WebSocket lives on', async (t) => {
  const sim = await simulate(t, { codex: [{ id: 'alice' }] })
  const socket = await dial(sim, 'alice')
  socket.raw.send('not JSON')
  assert.equal(field(await socket.next(), 'error', 'code'), 'unknown_event')
  const wrong = await socket.ask(create('hi', { store: true }))
  assert.equal(field(wrong[0], 'error', 'message'), 'Store must be set to false')
  sim.reply(() => assert.fail('not what I expected'))
  assert.equal(field((await socket.ask(create()))[0], 'error', 'code'), 'simulator_script_failed')
  sim.reply(() => 'fine')
  assert.equal(saidBy(await socket.ask(create())), 'fine')
  assert.equal(sim.requests[0]?.frames[0], 'not JSON')
})

const handshakes: [
  name: string,
  fault: ReturnType<typeof faults.rateLimited>,
  status: number,
  sign: RegExp,
][] = [
  ['a usage limit', faults.usageLimit(), 429, /usage_limit_reached/],
  ['an ended token', faults.unauthorized(), 401, /token_expired/],
  ['a challenge page', faults.challenge(), 403, /Just a moment/],
  ['trouble', faults.serverError(503), 503, /server_error/],
  ['no WebSockets', { status: 426 }, 426, /^$/],
]

for (const [name, fault, status, sign] of handshakes) {
  test(`a scripted fault refuses a handshake with ${name}, once`, async (t) => {
    const sim = await simulate(t, { codex: [{ id: 'alice' }] })
    sim.fail({ account: 'alice', path: PATH, with: fault })
    const answer = await refused(sim, 'alice')
    assert.equal(answer.status, status)
    assert.match(answer.body, sign)
    assert.equal(saidBy(await (await dial(sim, 'alice')).ask(create())), 'Hello from the simulator.')
  })
}

test('a handshake may be reset or left without an answer', async (t) => {
  const sim = await simulate(t, { codex: [{ id: 'alice' }] })
  sim.fail({ path: PATH, with: 'reset' })
  await assert.rejects(dial(sim, 'alice'), /hang up|ECONNRESET/)
  sim.fail({ path: PATH, with: 'hang' })
  const arrived = sim.next()
  const waiting = dial(sim, 'alice')
  await arrived
  await sim.down()
  await assert.rejects(waiting, /hang up|ECONNRESET/)
})

const LIMIT = ['codex.rate_limits', 'response.metadata', 'response.created']
const closings: [name: string, fault: FrameFault, types: unknown[], code: number, reason: string][] = [
  ['nothing', 'reset', [], 1006, ''],
  ['nothing, once the work is done', 'lost', [], 1006, ''],
  ['a close before output', faults.close(1012, 'service restart'), [], 1012, 'service restart'],
  ['a close after output', faults.close(1011, '', 3), LIMIT, 1011, ''],
  ['a break after output', faults.cut(3), LIMIT, 1006, ''],
  ['an error and a close', { ...faults.connectionLimit(), ...faults.close(1000) }, ['error'], 1000, ''],
]

for (const [name, fault, types, code, reason] of closings) {
  test(`a scripted fault answers a frame with ${name}`, async (t) => {
    const sim = await simulate(t, { codex: [{ id: 'alice' }] })
    const rule = sim.fail({ account: 'alice', frame: isTurn, with: fault })
    const socket = await dial(sim, 'alice')
    await socket.ask(prewarm())
    socket.send(create())
    assert.deepEqual(await socket.closed, { code, reason })
    const came = []
    for (let left = types.length; left > 0; left--) came.push(await socket.next())
    assert.deepEqual(typesOf(came), types)
    await assert.rejects(socket.next(), /closed/)
    assert.equal(rule.hits, 1)
    const [handshake] = sim.requests
    await handshake?.closed
    assert.equal(handshake?.clientLeft, false)
  })
}

test('a usage limit comes before output or after it', async (t) => {
  const sim = await simulate(t, { codex: [{ id: 'alice' }] })
  const socket = await dial(sim, 'alice')
  sim.fail({ frame: true, with: faults.usageLimit() })
  sim.fail({ frame: true, with: { ...faults.usageLimit(), after: 3 } })
  assert.deepEqual(typesOf(await socket.ask(create())), ['error'])
  assert.deepEqual(typesOf(await socket.ask(create())), [...LIMIT, 'error'])
})

test('frames may be huge, late or missing', async (t) => {
  const sim = await simulate(t, { codex: [{ id: 'alice' }] })
  const socket = await dial(sim, 'alice')
  sim.fail({ frame: true, with: faults.big(10_000_000) })
  const frames = await socket.ask(create())
  assert.equal(text(frames.at(-2), 'padding')?.length, 10_000_000)
  sim.fail({ frame: true, with: faults.slow(1) })
  assert.equal(saidBy(await socket.ask(create())), 'Hello from the simulator.')
  sim.fail({ frame: true, with: faults.stall(1) })
  socket.send(create())
  assert.equal(field(await socket.next(), 'type'), 'codex.rate_limits')
  const next = await socket.ask(create())
  assert.equal(field(next[0], 'type'), 'codex.rate_limits', 'nothing of the stalled one comes any more')
})

test('a record tells how a client ended its WebSocket', async (t) => {
  const sim = await simulate(t, { codex: [{ id: 'alice' }] })
  const polite = await dial(sim, 'alice')
  const rude = await dial(sim, 'alice')
  polite.raw.close(4001, 'enough')
  rude.raw.terminate()
  for (const request of sim.requests) await request.closed
  assert.deepEqual(
    sim.requests.map(({ closeCode, clientLeft }) => ({ closeCode, clientLeft })),
    [
      { closeCode: 4001, clientLeft: true },
      { closeCode: 1006, clientLeft: true },
    ],
  )
})

test('an API key opens a WebSocket of the OpenAI base', async (t) => {
  const sim = await simulate(t, { codex: [{ id: 'alice' }], codexApiKeys: [{ id: 'key' }] })
  const url = `${sim.url}/openai/v1/responses`
  const [key] = sim.codex.apiKeys
  const socket = await connect(url, { headers: { authorization: `Bearer ${key?.key}` } })
  const warm = await socket.ask(prewarm())
  const frames = await socket.ask(create('hi', { previous_response_id: idOf(warm) }))
  assert.equal(field(frames[0], 'type'), 'response.created')
  assert.equal(saidBy(frames), 'Hello from the simulator.')
  const foreign = { authorization: `Bearer ${sim.account('alice').accessToken}` }
  assert.equal((await refusal(url, { headers: foreign })).status, 401)
})

test('a simulator that goes down ends its WebSockets', async (t) => {
  const sim = await simulate(t, { codex: [{ id: 'alice' }] })
  const socket = await dial(sim, 'alice')
  await sim.down()
  assert.equal((await socket.closed).code, 1006)
})
