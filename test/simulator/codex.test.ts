import assert from 'node:assert/strict'
import { get } from 'node:http'
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import {
  type CodexAccount,
  faults,
  field,
  list,
  type Simulator,
  startSimulator,
} from '../../src/simulator/index.js'

const turn = {
  model: 'gpt-5.5',
  instructions: 'You are a coding agent.',
  stream: true,
  store: false,
  input: [{ role: 'user', content: 'hi' }],
}

function headersFor(account: CodexAccount): Record<string, string> {
  return {
    authorization: `Bearer ${account.accessToken}`,
    'chatgpt-account-id': account.accountId,
    'content-type': 'application/json',
  }
}

function ask(
  sim: Simulator,
  account: CodexAccount,
  init: { headers?: Record<string, string>; body?: object } = {},
) {
  return fetch(`${sim.url}/backend-api/codex/responses`, {
    method: 'POST',
    headers: { ...headersFor(account), ...init.headers },
    body: JSON.stringify(init.body ?? turn),
  })
}

function refresh(sim: Simulator, refresh_token: string) {
  return fetch(`${sim.url}/oauth/token`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      client_id: 'app_EMoamEEZ73f0CkXaXp7hrann',
      grant_type: 'refresh_token',
      refresh_token,
    }),
  })
}

/** The events of a stream: the parsed `data:` of each. */
function eventsOf(text: string): unknown[] {
  const frames = text.split('\n\n').filter((frame) => frame !== '')
  return frames.map((frame) => JSON.parse(/^event: [\w.]+\ndata: (.+)$/.exec(frame)?.[1] ?? 'null'))
}

/** The items of a response: its last event tells none, since nothing is stored. */
const outputOf = (events: unknown[]) =>
  events.flatMap((event) =>
    field(event, 'type') === 'response.output_item.done' ? [field(event, 'item')] : [],
  )

const typesOf = (text: string) => eventsOf(text).map((event) => field(event, 'type'))

async function withSimulator(
  options: Parameters<typeof startSimulator>[0],
  run: (sim: Simulator) => Promise<void>,
): Promise<void> {
  const sim = await startSimulator(options)
  try {
    await run(sim)
  } finally {
    await sim.close()
  }
}

test('a turn streams its events in the order of the real upstream, with usage at the end', () =>
  withSimulator({ codex: [{ id: 'alice' }] }, async (sim) => {
    const response = await ask(sim, sim.account('alice'))
    assert.equal(response.status, 200)
    assert.match(response.headers.get('content-type') ?? '', /^text\/event-stream/)
    const events = eventsOf(await response.text())
    const types = events.map((event) => field(event, 'type'))
    assert.deepEqual(types.slice(0, 4), [
      'response.created',
      'response.in_progress',
      'response.output_item.added',
      'response.content_part.added',
    ])
    assert.deepEqual(types.slice(-2), ['response.output_item.done', 'response.completed'])
    const completed = events.at(-1)
    assert.equal(field(events.at(-2), 'item', 'content', 0, 'text'), 'Hello from the simulator.')
    assert.deepEqual(field(completed, 'response', 'output'), [], 'nothing is stored')
    assert.equal(
      typeof field(completed, 'response', 'usage', 'input_tokens_details', 'cached_tokens'),
      'number',
    )
    assert.deepEqual(sim.violations, [])
  }))

test('a token opens its own account only', () =>
  withSimulator({ codex: [{ id: 'alice' }, { id: 'bob' }] }, async (sim) => {
    const [alice, bob] = [sim.account('alice'), sim.account('bob')]
    const status = async (headers: Record<string, string>) => (await ask(sim, alice, { headers })).status
    assert.equal(await status({ 'chatgpt-account-id': bob.accountId }), 403)
    assert.equal(await status({ authorization: 'Bearer of-nobody' }), 401)
    assert.equal(await status({ authorization: '' }), 401)
    assert.equal(await status({}), 200)
    assert.deepEqual(
      sim.requests.map((request) => request.account),
      ['alice', undefined, undefined, 'alice'],
    )
  }))

test('a token ends at its exp by the clock of the simulator, and when the account says so', async () => {
  let now = 1_800_000_000_000
  await withSimulator(
    { codex: [{ id: 'alice', accessTokenLifetimeMs: 60_000 }], now: () => now },
    async (sim) => {
      const alice = sim.account('alice')
      assert.equal((await ask(sim, alice)).status, 200)
      now += 60_000
      const late = await ask(sim, alice)
      assert.equal(late.status, 401)
      assert.equal(field(await late.json(), 'error', 'code'), 'token_expired')
      alice.login()
      assert.equal((await ask(sim, alice)).status, 200)
      alice.expireAccessToken()
      assert.equal((await ask(sim, alice)).status, 401)
    },
  )
})

test('a refresh token works once; a spent one ends the whole login', () =>
  withSimulator({ codex: [{ id: 'alice' }] }, async (sim) => {
    const alice = sim.account('alice')
    const first = alice.refreshToken
    const refreshed = await (await refresh(sim, first)).json()
    assert.equal(field(refreshed, 'refresh_token'), alice.refreshToken)
    assert.notEqual(alice.refreshToken, first)
    assert.equal((await ask(sim, alice)).status, 200)
    assert.deepEqual(sim.issuer, { refreshes: 1, reuses: 0 })

    const reused = await refresh(sim, first)
    assert.equal(reused.status, 401)
    assert.equal(field(await reused.json(), 'error', 'code'), 'refresh_token_reused')
    assert.equal((await ask(sim, alice)).status, 401)
    const dead = await refresh(sim, alice.refreshToken)
    assert.equal(field(await dead.json(), 'error', 'code'), 'refresh_token_invalidated')
    assert.deepEqual([alice.refreshes, alice.reuses], [1, 1])
  }))

test('use fills the windows, and a full one is refused in the exact form until its reset', async () => {
  let now = 1_800_000_000_000
  const primary = { usedPercent: 98, percentPerRequest: 1, resetsAt: now + 3_600_000 }
  await withSimulator({ codex: [{ id: 'alice', plan: 'pro', primary }], now: () => now }, async (sim) => {
    const alice = sim.account('alice')
    const first = await ask(sim, alice)
    assert.equal(first.headers.get('x-codex-primary-used-percent'), '99')
    assert.equal(first.headers.get('x-codex-primary-reset-at'), String((now + 3_600_000) / 1000))
    assert.equal((await ask(sim, alice)).status, 200)

    const refused = await ask(sim, alice)
    assert.equal(refused.status, 429)
    const error = field(await refused.json(), 'error')
    assert.equal(field(error, 'type'), 'usage_limit_reached')
    assert.equal(field(error, 'plan_type'), 'pro')
    assert.equal(field(error, 'resets_at'), (now + 3_600_000) / 1000)

    now += 3_600_000
    assert.equal((await ask(sim, alice)).headers.get('x-codex-primary-used-percent'), '1')
  })
})

test('GET /wham/usage tells the windows of the account that asks', () =>
  withSimulator({ codex: [{ id: 'alice' }, { id: 'bob', secondary: false }] }, async (sim) => {
    sim.account('alice').window('primary', { usedPercent: 42 })
    const usage = async (id: string): Promise<unknown> => {
      const response = await fetch(`${sim.url}/backend-api/wham/usage`, {
        headers: headersFor(sim.account(id)),
      })
      return response.json()
    }
    const alice = await usage('alice')
    assert.equal(field(alice, 'rate_limit', 'primary_window', 'used_percent'), 42)
    assert.equal(field(alice, 'rate_limit', 'secondary_window', 'limit_window_seconds'), 604_800)
    assert.equal(field(alice, 'account_id'), 'acct-alice')
    const bob = await usage('bob')
    assert.equal(field(bob, 'rate_limit', 'primary_window', 'used_percent'), 0)
    assert.equal(field(bob, 'rate_limit', 'secondary_window'), null)
  }))

test('a header of the client or of its network is a violation', () =>
  withSimulator({ codex: [{ id: 'alice' }, { id: 'bob' }] }, async (sim) => {
    const [alice, bob] = [sim.account('alice'), sim.account('bob')]
    const state = (await ask(sim, alice)).headers.get('x-codex-turn-state') ?? ''
    await ask(sim, alice, { headers: { 'x-codex-turn-state': state } })
    assert.deepEqual(sim.violations, [])

    sim.forbid('secret-of-the-client')
    await ask(sim, bob, { headers: { 'x-codex-turn-state': state } })
    await ask(sim, bob, {
      headers: { cookie: 'a=b', 'x-forwarded-for': '::1', 'x-codex-pool-key': 'k', via: '1.1 x' },
    })
    await ask(sim, bob, { headers: { 'x-note': 'the secret-of-the-client' } })
    await send(sim.url, { host: 'gateway.local:8989' })
    const path = 'POST /backend-api/codex/responses'
    assert.deepEqual(sim.violations, [
      `${path}: x-codex-turn-state of alice sent for bob`,
      `${path}: header cookie`,
      `${path}: header x-forwarded-for`,
      `${path}: header x-codex-pool-key`,
      `${path}: header via`,
      `${path}: a forbidden value`,
      'GET /backend-api/nowhere: header host of another server',
    ])
  }))

test('a script says what the model does and sees what the tools answered', () =>
  withSimulator({ codex: [{ id: 'alice' }] }, async (sim) => {
    sim.reply(({ prompt, toolOutputs }) =>
      toolOutputs.length > 0
        ? `The tool said ${toolOutputs[0]}`
        : [{ reasoning: 'Let me look.' }, { call: 'shell', arguments: { command: ['echo', prompt] } }],
    )
    const first = eventsOf(await (await ask(sim, sim.account('alice'))).text())
    const call = outputOf(first)[1]
    assert.equal(field(call, 'type'), 'function_call')
    assert.deepEqual(JSON.parse(String(field(call, 'arguments'))), { command: ['echo', 'hi'] })

    const output = { type: 'function_call_output', call_id: field(call, 'call_id'), output: '42' }
    const body = { ...turn, input: [...turn.input, ...outputOf(first), output] }
    const second = eventsOf(await (await ask(sim, sim.account('alice'), { body })).text())
    assert.equal(field(outputOf(second)[0], 'content', 0, 'text'), 'The tool said 42')
  }))

test('a script that throws is told to its caller, and the next request is served', () =>
  withSimulator({ codex: [{ id: 'alice' }] }, async (sim) => {
    sim.reply(() => {
      throw new Error('not what I expected')
    })
    const response = await ask(sim, sim.account('alice'))
    assert.equal(response.status, 500)
    assert.equal(field(await response.json(), 'error', 'message'), 'not what I expected')
    sim.reply(() => 'fine')
    assert.equal((await ask(sim, sim.account('alice'))).status, 200)
  }))

test('a conversation that is compacted gets one compaction item', () =>
  withSimulator({ codex: [{ id: 'alice' }] }, async (sim) => {
    const body = { ...turn, input: [...turn.input, { type: 'compaction_trigger' }] }
    const events = eventsOf(await (await ask(sim, sim.account('alice'), { body })).text())
    const output = outputOf(events)
    assert.deepEqual(
      output.map((item) => field(item, 'type')),
      ['compaction'],
    )
  }))

test('an account has its own list of models, and no other may be used on it', () =>
  withSimulator({ codex: [{ id: 'alice', models: ['gpt-5.5'] }] }, async (sim) => {
    const alice = sim.account('alice')
    const response = await fetch(`${sim.url}/backend-api/codex/models?client_version=1`, {
      headers: headersFor(alice),
    })
    const slugs = list(await response.json(), 'models').map((model) => field(model, 'slug'))
    assert.deepEqual(slugs, ['gpt-5.5'])
    assert.equal((await ask(sim, alice)).headers.get('x-models-etag'), response.headers.get('etag'))
    const refused = await ask(sim, alice, { body: { ...turn, model: 'gpt-9' } })
    assert.equal(refused.status, 400)
    assert.match(String(field(await refused.json(), 'detail')), /'gpt-9' model is not supported/)
  }))

test('with strictHistory, reasoning of one account is refused by another', () =>
  withSimulator({ codex: [{ id: 'alice' }, { id: 'bob' }], strictHistory: true }, async (sim) => {
    sim.reply(() => [{ reasoning: 'Hm.' }, { text: 'Yes.' }])
    const first = eventsOf(await (await ask(sim, sim.account('alice'))).text())
    const body = { ...turn, input: [...outputOf(first), ...turn.input] }
    assert.equal((await ask(sim, sim.account('alice'), { body })).status, 200)
    const refused = await ask(sim, sim.account('bob'), { body })
    assert.equal(refused.status, 400)
    assert.equal(field(await refused.json(), 'error', 'code'), 'invalid_encrypted_content')
  }))

test('an API key opens the OpenAI base only, which also answers without a stream', () =>
  withSimulator({ codex: [{ id: 'alice' }], codexApiKeys: [{ id: 'key' }] }, async (sim) => {
    const post = (path: string, authorization: string, body: object) =>
      fetch(`${sim.url}${path}`, { method: 'POST', headers: { authorization }, body: JSON.stringify(body) })
    const key = `Bearer ${sim.codex.apiKeys[0]?.key}`
    assert.equal((await post('/backend-api/codex/responses', key, turn)).status, 401)
    assert.equal(
      (await post('/openai/v1/responses', `Bearer ${sim.account('alice').accessToken}`, turn)).status,
      401,
    )
    assert.deepEqual(
      typesOf(await (await post('/openai/v1/responses', key, turn)).text()).at(-1),
      'response.completed',
    )
    const whole = await post('/openai/v1/responses', key, { model: 'gpt-5.5', input: 'hi' })
    assert.equal(field(await whole.json(), 'status'), 'completed')
    assert.equal(sim.requests.at(-1)?.account, 'key')
  }))

const refusals: [name: string, fault: ReturnType<typeof faults.rateLimited>, status: number, sign: RegExp][] =
  [
    [
      'a usage limit',
      faults.usageLimit({ resetsAt: 1_800_000_000_000, plan: 'pro' }),
      429,
      /"resets_at":1800000000\b/,
    ],
    ['a rate limit', faults.rateLimited(2), 429, /rate_limit_exceeded/],
    ['an ended token', faults.unauthorized(), 401, /token_expired/],
    ['a workspace that does not pay', faults.paymentRequired(), 402, /deactivated_workspace/],
    ['a challenge page', faults.challenge(), 403, /Just a moment/],
    ['trouble in JSON', faults.serverError(500), 500, /server_error/],
    ['trouble in HTML', faults.badGateway(), 502, /<h1>Bad gateway/],
    ['an overloaded model', faults.overloaded(), 503, /server_is_overloaded/],
    ['an unsupported model', faults.unsupportedModel('gpt-9'), 400, /'gpt-9' model is not supported/],
  ]

for (const [name, fault, status, sign] of refusals) {
  test(`a scripted fault answers with ${name}, once`, () =>
    withSimulator({ codex: [{ id: 'alice' }] }, async (sim) => {
      const rule = sim.fail({ account: 'alice', path: '/codex/responses', with: fault })
      const response = await ask(sim, sim.account('alice'))
      assert.equal(response.status, status)
      assert.match(await response.text(), sign)
      assert.equal((await ask(sim, sim.account('alice'))).status, 200)
      assert.equal(rule.hits, 1)
    }))
}

test('faults of the wire: reset, cut, clean end, early failure, compression', () =>
  withSimulator({ codex: [{ id: 'alice' }] }, async (sim) => {
    const alice = sim.account('alice')
    sim.fail({ with: 'reset' })
    await assert.rejects(ask(sim, alice))
    assert.equal(alice.windows.primary.usedPercent, 0)
    sim.fail({ with: 'lost' })
    await assert.rejects(ask(sim, alice))
    assert.equal(alice.windows.primary.usedPercent, 1)

    sim.fail({ with: faults.cut(2) })
    const cut = await ask(sim, alice)
    assert.equal(cut.status, 200)
    await assert.rejects(cut.text())
    sim.fail({ with: faults.end(2) })
    assert.deepEqual(typesOf(await (await ask(sim, alice)).text()), [
      'response.created',
      'response.in_progress',
    ])
    sim.fail({ with: faults.failed('rate_limit_exceeded') })
    assert.deepEqual(typesOf(await (await ask(sim, alice)).text()), ['response.created', 'response.failed'])
    sim.fail({ with: faults.gzip() })
    const compressed = await ask(sim, alice)
    assert.equal(compressed.headers.get('content-encoding'), 'gzip')
    assert.equal(typesOf(await compressed.text()).at(-1), 'response.completed')
    sim.fail({ with: { status: 429, body: { error: { message: 'too many' } }, ending: 'cut' } })
    await assert.rejects(async () => (await ask(sim, alice)).text())
    assert.equal(
      sim.requests.some((request) => request.clientLeft),
      false,
    )
  }))

test('a client that leaves a silent upstream is noticed', () =>
  withSimulator({ codex: [{ id: 'alice' }] }, async (sim) => {
    sim.fail({ with: 'hang' })
    const leaving = new AbortController()
    const arrived = sim.next((request) => request.kind === 'codex')
    const gone = assert.rejects(
      fetch(`${sim.url}/backend-api/codex/responses`, {
        method: 'POST',
        headers: headersFor(sim.account('alice')),
        body: JSON.stringify(turn),
        signal: leaving.signal,
      }),
    )
    const request = await arrived
    leaving.abort()
    await Promise.all([gone, request.closed])
    assert.equal(request.clientLeft, true)
    assert.equal(request.status, undefined)
  }))

test('the pool gets a file for each account, readable by its owner only', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'simulator-'))
  try {
    await withSimulator({ codex: [{ id: 'alice' }], codexApiKeys: [{ id: 'key' }] }, async (sim) => {
      const [alice = '', key = ''] = await sim.writePool(dir)
      assert.equal((await stat(alice)).mode & 0o777, 0o600)
      assert.equal(
        field(JSON.parse(await readFile(alice, 'utf8')), 'tokens', 'access_token'),
        sim.account('alice').accessToken,
      )
      assert.equal(field(JSON.parse(await readFile(key, 'utf8')), 'OPENAI_API_KEY'), 'sk-sim-key')
    })
  } finally {
    await rm(dir, { recursive: true })
  }
})

test('an upgrade is answered 426, an unknown path 404, and a simulator that is down refuses', () =>
  withSimulator({ codex: [{ id: 'alice' }] }, async (sim) => {
    const unknown = await fetch(`${sim.url}/backend-api/nowhere`, {
      headers: headersFor(sim.account('alice')),
    })
    assert.equal(unknown.status, 404)
    assert.deepEqual(await unknown.json(), { detail: 'Not Found' })
    const { url } = sim
    assert.equal(await send(url, { connection: 'Upgrade', upgrade: 'websocket' }), 426)
    await sim.down()
    await assert.rejects(fetch(url))
    await sim.up()
    assert.equal(sim.url, url)
    assert.equal((await ask(sim, sim.account('alice'))).status, 200)
  }))

/** A GET with headers that `fetch` does not let one set; gives the status. */
function send(url: string, headers: Record<string, string>): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const sent = get(`${url}/backend-api/nowhere`, { headers }, (response) =>
      resolve(response.resume().statusCode),
    )
    sent.on('error', reject)
  })
}
