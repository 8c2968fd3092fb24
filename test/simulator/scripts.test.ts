import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import {
  type CodexAccount,
  faults,
  field,
  list,
  type Simulator,
  type SimulatorOptions,
  startSimulator,
  text,
  type WireFault,
} from '../../src/simulator/index.js'
import { CODEX_BETA, connect, create, isTurn } from '../kit/websocket.js'

const PATH = '/backend-api/codex/responses'
const turn = {
  model: 'gpt-5.5',
  instructions: 'You are a coding agent.',
  stream: true,
  store: false,
  input: [{ role: 'user', content: 'hi' }],
}

async function simulate(t: TestContext, options: SimulatorOptions): Promise<Simulator> {
  const sim = await startSimulator(options)
  t.after(() => sim.close())
  return sim
}

const headersFor = (account: CodexAccount): Record<string, string> => ({
  authorization: `Bearer ${account.accessToken}`,
  'chatgpt-account-id': account.accountId,
  'content-type': 'application/json',
})

function post(sim: Simulator, id: string, body: object = turn, path = PATH): Promise<Response> {
  const headers = headersFor(sim.account(id))
  return fetch(sim.url + path, { method: 'POST', headers, body: JSON.stringify(body) })
}

async function get(sim: Simulator, id: string, path: string): Promise<unknown> {
  return (await fetch(sim.url + path, { headers: headersFor(sim.account(id)) })).json()
}

async function eventsOf(response: Response): Promise<unknown[]> {
  const lines = (await response.text()).split('\n').filter((line) => line.startsWith('data: '))
  return lines.map((line) => JSON.parse(line.slice(6)))
}

const typesOf = (events: unknown[]) => events.map((event) => field(event, 'type'))
const KIB = 1024

for (const preludeBytes of [60 * KIB, 256 * KIB])
  test(`an overload comes late, after a prelude of ${preludeBytes / KIB} KiB, over HTTP and WebSocket`, async (t) => {
    const sim = await simulate(t, { codex: [{ id: 'alice' }] })
    const late = faults.inStream(faults.overloaded(), { preludeBytes, afterMs: 40 })
    sim.fail({ with: late })
    const start = performance.now()
    const response = await post(sim, 'alice')
    assert.equal(response.status, 200)
    const body = await response.text()
    assert.ok(performance.now() - start >= 39, 'the head comes first')
    assert.ok(body.length > preludeBytes && body.length < preludeBytes + 4 * KIB, String(body.length))
    assert.match(body, /"type":"error","status":503,"error":\{.*"code":"server_is_overloaded"/)
    const socket = await connect(sim.url + PATH, {
      headers: { ...headersFor(sim.account('alice')), ...CODEX_BETA },
    })
    sim.fail({ frame: isTurn, with: late })
    const frames = await socket.ask(create())
    assert.deepEqual(typesOf(frames).slice(-3), ['response.created', 'response.in_progress', 'error'])
    assert.ok(JSON.stringify(frames).length > preludeBytes)
  })

const RESETS = 1_800_000_000
const word = { word: 'usage_limit_reached' }
const forms: [name: string, fault: WireFault, sign: RegExp][] = [
  [
    'in code',
    faults.refusal(word),
    /^\{"error":\{"message":"usage_limit_reached","code":"usage_limit_reached"\}\}$/,
  ],
  ['in type', faults.refusal({ ...word, in: 'type' }), /"type":"usage_limit_reached"/],
  ['in reason', faults.refusal({ ...word, in: 'reason' }), /"reason":"usage_limit_reached"/],
  ['in code and type', faults.refusal({ ...word, in: ['code', 'type'] }), /"code":"usage_.*"type":"usage_/],
  [
    'as a flat detail',
    faults.refusal({ ...word, in: 'detail', flat: true }),
    /^\{"message":.*"detail":"usage_limit_reached"\}$/,
  ],
  ['with a reset', faults.refusal({ ...word, more: { resets_at: RESETS } }), /"resets_at":1800000000/],
]
for (const [name, fault, sign] of forms)
  test(`a refusal has its word ${name}, as a status and inside a stream`, async (t) => {
    const sim = await simulate(t, { codex: [{ id: 'alice' }] })
    sim.fail({ with: fault })
    const refused = await post(sim, 'alice')
    assert.equal(refused.status, 429)
    assert.match(await refused.text(), sign)
    sim.fail({ with: faults.inStream(fault) })
    const events = await eventsOf(await post(sim, 'alice'))
    assert.deepEqual(typesOf(events), ['error'])
    assert.match(JSON.stringify(events[0]), /usage_limit_reached/)
  })

const carriers: [name: string, fault: WireFault, types: unknown[], sign: RegExp][] = [
  [
    'as a first event',
    faults.inStream(faults.unauthorized()),
    ['error'],
    /"status":401,"error":\{.*token_expired/,
  ],
  [
    'with status_code',
    faults.inStream(faults.forbidden(), { statusField: 'status_code' }),
    ['error'],
    /"status_code":403/,
  ],
  ['flat', faults.inStream(faults.rateLimited(), { flat: true }), ['error'], /"code":"rate_limit_exceeded"/],
  [
    'as response.failed',
    faults.inStream(faults.overloaded(), { as: 'response.failed' }),
    ['response.failed'],
    /"status":"failed".*server_is_overloaded/,
  ],
  [
    'late',
    faults.inStream(faults.unauthorized(), { after: 6 }),
    [undefined, undefined, undefined, undefined, undefined, undefined, 'error'],
    /token_expired/,
  ],
  [
    'with headers inside',
    faults.inStream(faults.modelLimit()),
    ['error'],
    /"headers":\{"x-codex-active-limit":"codex_bengalfox"/,
  ],
]
for (const [name, fault, types, sign] of carriers)
  test(`a refusal is told inside a 200 stream ${name}`, async (t) => {
    const sim = await simulate(t, { codex: [{ id: 'alice' }] })
    sim.fail({ with: fault })
    const response = await post(sim, 'alice')
    assert.equal(response.status, 200)
    const events = await eventsOf(response)
    assert.equal(events.length, types.length)
    assert.equal(field(events.at(-1), 'type'), types.at(-1))
    assert.match(JSON.stringify(events.at(-1)), sign)
  })

test('good tokens are refused for a while', async (t) => {
  let now = 1_800_000_000_000
  const sim = await simulate(t, { codex: [{ id: 'alice' }, { id: 'bob' }], now: () => now })
  const rule = sim.fail({ account: 'alice', with: faults.unauthorized(), until: now + 60_000 })
  for (let count = 0; count < 3; count++) assert.equal((await post(sim, 'alice')).status, 401)
  assert.equal((await post(sim, 'bob')).status, 200)
  now += 60_000
  assert.equal((await post(sim, 'alice')).status, 200)
  assert.equal(rule.hits, 3)
})

test('one account is refused with 404 on the generation path', async (t) => {
  const sim = await simulate(t, { codex: [{ id: 'alice' }, { id: 'bob' }] })
  sim.fail({ account: 'alice', path: '/codex/responses', with: faults.notFound(), times: Infinity })
  assert.equal((await post(sim, 'alice')).status, 404)
  assert.equal((await post(sim, 'bob')).status, 200)
})

test('a window that is reported full may serve all the same', async (t) => {
  const sim = await simulate(t, {
    codex: [{ id: 'alice', primary: { usedPercent: 100 }, servesWhenFull: true }],
  })
  const response = await post(sim, 'alice')
  assert.equal(response.status, 200)
  assert.equal(response.headers.get('x-codex-primary-used-percent'), '100')
  const usage = await get(sim, 'alice', '/backend-api/wham/usage')
  assert.equal(field(usage, 'rate_limit', 'limit_reached'), true)
})

test('a model has a quota of its own, which headers, usage and the refusal name', async (t) => {
  const spark = { model: 'gpt-5.3-codex-spark', name: 'GPT-5.3-Codex-Spark', window: { usedPercent: 99 } }
  const sim = await simulate(t, { codex: [{ id: 'alice', modelLimits: [spark] }] })
  const body = { ...turn, model: spark.model }
  const served = await post(sim, 'alice', body)
  assert.equal(served.headers.get('x-codex-active-limit'), 'codex_bengalfox')
  assert.equal(served.headers.get('x-codex-primary-used-percent'), '100')
  assert.equal(served.headers.get('x-codex-bengalfox-limit-name'), spark.name)
  const refused = await post(sim, 'alice', body)
  assert.equal(refused.status, 429)
  assert.equal(refused.headers.get('x-codex-active-limit'), 'codex_bengalfox')
  const other = await post(sim, 'alice')
  assert.equal(other.status, 200, 'other models use the quota of the account')
  assert.equal(other.headers.get('x-codex-active-limit'), 'codex')
  const usage = await get(sim, 'alice', '/backend-api/wham/usage')
  const [limit] = list(usage, 'additional_rate_limits')
  assert.equal(field(limit, 'metered_feature'), 'codex_bengalfox')
  assert.equal(field(limit, 'rate_limit', 'limit_reached'), true)
  assert.equal(field(usage, 'rate_limit', 'limit_reached'), false)
})

test('colleagues share a workspace and are users of their own; the plan stands in the token', async (t) => {
  const shared = { accountId: 'acct-firm', plan: 'enterprise' }
  const sim = await simulate(t, {
    codex: [
      { id: 'ann', ...shared },
      { id: 'ben', ...shared },
    ],
  })
  const claims = (['ann', 'ben'] as const).map((id) => {
    const [, payload = ''] = sim.account(id).accessToken.split('.')
    return field(JSON.parse(Buffer.from(payload, 'base64url').toString()), 'https://api.openai.com/auth')
  })
  assert.deepEqual(
    claims.map((claim) => [field(claim, 'chatgpt_account_id'), field(claim, 'chatgpt_user_id')]),
    [
      ['acct-firm', 'user-ann'],
      ['acct-firm', 'user-ben'],
    ],
  )
  assert.equal(field(claims[0], 'chatgpt_plan_type'), 'enterprise')
  const bundle = await get(sim, 'ann', '/backend-api/wham/config/bundle')
  assert.equal(field(bundle, 'workspace_id'), 'acct-firm')
})

/** The first item of a response. */
const itemIn = (events: unknown[]) =>
  field(
    events.find((event) => field(event, 'type') === 'response.output_item.done'),
    'item',
  )

for (const [wording, sign] of [
  ['item', /content for item rs_/],
  ['content', /encrypted content enc-\.\.\.\S+ could not be verified\. Reason/],
  ['organization', /organization_id did not match/],
] as const)
  test(`encrypted content is its account's own wherever it is nested, refused by the ${wording}`, async (t) => {
    const sim = await simulate(t, { codex: [{ id: 'alice' }, { id: 'bob' }], strictHistory: wording })
    sim.reply(() => [{ reasoning: 'Hm.' }])
    const reasoning = itemIn(await eventsOf(await post(sim, 'alice')))
    const nested = { type: 'function_call_output', call_id: 'c', output: [{ inner: reasoning }] }
    for (const item of [reasoning, { ...nested, id: 'rs_9' }]) {
      const body = { ...turn, input: [item, ...turn.input] }
      assert.equal((await post(sim, 'alice', body)).status, 200)
      const refused = await post(sim, 'bob', body)
      assert.equal(refused.status, 400)
      const error = field(await refused.json(), 'error')
      assert.equal(field(error, 'code'), 'invalid_encrypted_content')
      assert.match(text(error, 'message') ?? '', sign)
    }
  })

test('a compacted conversation is its account’s own, and worth nothing without its content', async (t) => {
  const sim = await simulate(t, { codex: [{ id: 'alice' }, { id: 'bob' }], strictHistory: true })
  const compact = { ...turn, input: [...turn.input, { type: 'compaction_trigger' }] }
  const item = itemIn(await eventsOf(await post(sim, 'alice', compact)))
  const body = { ...turn, input: [item, ...turn.input] }
  assert.equal((await post(sim, 'alice', body)).status, 200)
  assert.equal((await post(sim, 'bob', body)).status, 400)
  const bare = { ...turn, input: [{ type: 'compaction' }, ...turn.input] }
  const refused = await post(sim, 'bob', bare)
  assert.match(await refused.text(), /Missing required parameter: 'input\[0\]\.encrypted_content'/)
})

test('credits pay once a window is full, until they are spent', async (t) => {
  const sim = await simulate(t, {
    codex: [{ id: 'alice', primary: { usedPercent: 100 }, credits: { hasCredits: true, balance: '2' } }],
  })
  assert.equal((await post(sim, 'alice')).headers.get('x-codex-credits-balance'), '1')
  assert.equal((await post(sim, 'alice')).headers.get('x-codex-credits-has-credits'), 'False')
  assert.equal((await post(sim, 'alice')).status, 429)
})

test('reset credits are listed, and the soonest to expire is redeemed first', async (t) => {
  const now = Date.now()
  const credits = [
    { id: 'later', expiresAt: now + 9_000_000 },
    { id: 'sooner', expiresAt: now + 5_000_000 },
    { id: 'gone', expiresAt: now - 1 },
  ]
  const sim = await simulate(t, { codex: [{ id: 'alice', resetCredits: credits }] })
  const path = '/backend-api/wham/rate-limit-reset-credits'
  const consume = async (body: object = {}) =>
    field(await (await post(sim, 'alice', body, `${path}/consume`)).json(), 'code')
  assert.equal(await consume(), 'nothing_to_reset')
  sim.account('alice').exhaust()
  assert.equal(await consume(), 'reset')
  assert.equal(sim.account('alice').windows.primary.usedPercent, 0)
  const listed = await get(sim, 'alice', path)
  assert.equal(field(listed, 'available_count'), 1)
  assert.deepEqual(
    list(listed, 'credits').map((credit) => [field(credit, 'id'), field(credit, 'status')]),
    [
      ['later', 'available'],
      ['sooner', 'redeemed'],
      ['gone', 'expired'],
    ],
  )
  assert.equal(await consume({ credit_id: 'gone' }), 'no_credit')
  const usage = await get(sim, 'alice', '/backend-api/wham/usage')
  assert.equal(field(usage, 'rate_limit_reset_credits', 'available_count'), 1)
})

test('a refresh is refused unless it names the client that issued the login', async (t) => {
  const sim = await simulate(t, { codex: [{ id: 'alice', clientId: 'app_other' }] })
  const alice = sim.account('alice')
  assert.equal(field(alice.authJson(), 'tokens', 'oauth_provenance', 'client_id'), 'app_other')
  const refresh = (client_id: string) =>
    fetch(`${sim.url}/oauth/token`, {
      method: 'POST',
      body: new URLSearchParams({
        client_id,
        grant_type: 'refresh_token',
        refresh_token: alice.refreshToken,
      }),
    })
  assert.equal((await refresh('app_EMoamEEZ73f0CkXaXp7hrann')).status, 401)
  assert.equal((await refresh('app_other')).status, 200)
  assert.equal(alice.refreshes, 1)
})

for (const value of [
  undefined,
  'application/json',
  'Text/Event-Stream',
  'text/event-stream;charset=utf8; x=1',
])
  test(`a stream comes with the Content-Type ${value}`, async (t) => {
    const sim = await simulate(t, { codex: [{ id: 'alice' }] })
    sim.fail({ with: faults.contentType(value) })
    const response = await post(sim, 'alice')
    assert.equal(response.headers.get('content-type'), value ?? null)
    assert.equal(typesOf(await eventsOf(response)).at(-1), 'response.completed')
  })

test('a 200 may be a page or plain JSON in place of a stream', async (t) => {
  const sim = await simulate(t, { codex: [{ id: 'alice' }] })
  sim.fail({ with: faults.page() })
  sim.fail({ with: faults.json() })
  const page = await post(sim, 'alice')
  assert.deepEqual([page.status, page.headers.get('content-type')], [200, 'text/html; charset=UTF-8'])
  const json = await post(sim, 'alice')
  assert.deepEqual(await json.json(), { ok: true })
})

test('cached tokens are those of the longest prefix that the account has seen, in whichever conversation', async (t) => {
  const sim = await simulate(t, { codex: [{ id: 'alice' }, { id: 'bob' }] })
  const item = (content: string) => ({ role: 'user', content })
  const told: number[] = []
  sim.reply(({ cachedTokens }) => {
    told.push(cachedTokens)
    return 'fine'
  })
  const cached = async (id: string, ...input: object[]) => {
    const response = await post(sim, id, { ...turn, input })
    const completed = (await eventsOf(response)).at(-1)
    const tokens = Number(field(completed, 'response', 'usage', 'input_tokens_details', 'cached_tokens'))
    assert.equal(told.at(-1), tokens, 'what the script is told')
    return tokens
  }
  // A shorter prompt is not cached at all, and what is counted ends at a multiple of 128 tokens of 4 characters.
  const [short, long] = [item('s'.repeat(4000)), item('x'.repeat(4500))]
  const [one, two] = [item('one'.repeat(300)), item('two')]
  assert.deepEqual([await cached('alice', short), await cached('alice', short)], [0, 0])
  assert.equal(await cached('alice', long, one), 0)
  assert.equal(await cached('alice', long, two), 8 * 128)
  assert.equal(await cached('alice', long, one, two), 10 * 128)
  assert.equal(await cached('bob', long, one), 0)
})
