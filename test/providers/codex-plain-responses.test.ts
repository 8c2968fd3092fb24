import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, test } from 'node:test'
import { faults, field, list } from '../../src/simulator/index.js'
import { codeOf, eventsOf, inOrder, startPool, turn, type PoolOptions, type TestPool } from '../kit/pool.js'
import { drain, EVENT_STREAM, frame, intercept, open, send } from '../kit/stream.js'

const two: PoolOptions = { codex: [{ id: 'alice' }, { id: 'bob' }], config: inOrder }
const text = (value: string) => ({ type: 'input_text', text: value })

/** A request of an SDK: no header of Codex's. */
function plain(pool: TestPool, body: object, path = '/v1/responses') {
  return pool.request.post(path).set('authorization', 'Bearer sk-of-the-client').send(body)
}

const sent = (pool: TestPool) => pool.sim.requests.at(-1)?.json as Record<string, unknown>

describe('a plain request gets what the backend insists on', () => {
  const user = { type: 'message', role: 'user', content: [text('hi')] }
  const said = (role: string, content: unknown) => ({ role, content })
  const forms: Record<string, [given: object, wanted: object]> = {
    'a text as input': [{ input: 'hi' }, { input: [user], instructions: 'You are a helpful assistant.' }],
    instructions: [
      { input: [user], instructions: 'Be brief.' },
      { input: [user], instructions: 'Be brief.' },
    ],
    'a system message in front': [
      { input: [said('system', 'Be brief.'), user] },
      { input: [user], instructions: 'Be brief.' },
    ],
    'messages of the system and the developer in front': [
      { input: [said('system', 'Be brief.'), said('developer', [text('Be kind.'), text('Always.')]), user] },
      { input: [user], instructions: 'Be brief.\n\nBe kind.\nAlways.' },
    ],
    'a system message beside instructions': [
      { input: [said('system', 'Be kind.'), user], instructions: 'Be brief.' },
      { input: [said('developer', 'Be kind.'), user], instructions: 'Be brief.' },
    ],
    'a system message in the middle': [
      { input: [user, said('system', 'Be kind.')] },
      { input: [user, said('developer', 'Be kind.')], instructions: 'You are a helpful assistant.' },
    ],
    'reasoning that was stored elsewhere': [
      { input: [user, { type: 'reasoning', id: 'rs_1', summary: [] }] },
      { input: [user], instructions: 'You are a helpful assistant.' },
    ],
  }
  for (const [form, [given, wanted]] of Object.entries(forms))
    test(`with ${form}`, async (t) => {
      const pool = await startPool(t, two)
      const { body } = await plain(pool, { model: 'gpt-5.5', ...given }).expect(200)
      assert.equal(body.object, 'response')
      const include = ['reasoning.encrypted_content']
      assert.deepEqual(sent(pool), { model: 'gpt-5.5', ...wanted, include, store: false, stream: true })
    })

  const refused: Record<string, unknown> = {
    max_output_tokens: 100,
    temperature: 0.2,
    top_p: 0.9,
    metadata: { a: 'b' },
    user: 'u',
    safety_identifier: 's',
    prompt_cache_retention: '24h',
    truncation: 'auto',
    stream_options: { include_obfuscation: false },
    context_management: [],
    service_tier: 'auto',
    previous_response_id: null,
    background: false,
  }
  test('without the parameters that it refuses, and with all others', async (t) => {
    const pool = await startPool(t, two)
    const kept = {
      model: 'gpt-5.5',
      tools: [{ type: 'function', name: 'f', parameters: {} }],
      tool_choice: 'auto',
      parallel_tool_calls: false,
      reasoning: { effort: 'low' },
      text: { verbosity: 'low' },
      prompt_cache_key: 'k',
    }
    for (const [name, value] of Object.entries(refused)) {
      await plain(pool, { ...kept, input: 'hi', [name]: value }).expect(200)
      const { input, instructions, include, store, stream, ...rest } = sent(pool)
      assert.deepEqual(rest, kept, name)
      assert.deepEqual(
        [list(input).length, typeof instructions, list(include).length, store, stream],
        [1, 'string', 1, false, true],
      )
    }
    await plain(pool, { ...kept, input: 'hi', service_tier: 'priority' }).expect(200)
    assert.equal(sent(pool).service_tier, 'priority')
  })

  const stored: Record<string, object> = {
    previous_response_id: { previous_response_id: 'resp_1' },
    conversation: { conversation: { id: 'conv_1' } },
    prompt: { prompt: { id: 'pmpt_1' } },
    background: { background: true },
    input: { input: [{ type: 'item_reference', id: 'msg_1' }] },
  }
  for (const [param, body] of Object.entries(stored))
    test(`and is refused by name if it needs what is stored: ${param}`, async (t) => {
      const pool = await startPool(t, two)
      const { body: told } = await plain(pool, { model: 'gpt-5.5', input: 'hi', ...body }).expect(400)
      assert.equal(told.error.param, param)
      assert.equal(told.error.code, 'unsupported_parameter')
      assert.match(told.error.message, /ChatGPT account/)
      assert.deepEqual(pool.asked(), [], 'nothing was sent')
    })
})

describe('a client that takes its answers for stored names their items by id', () => {
  const ids = (output: unknown) =>
    list(output).map((item) => ({ type: 'item_reference', id: field(item, 'id') }))
  const hi = { role: 'user', content: 'hi' }

  test('and the account gets them whole, in a stream or not', async (t) => {
    const pool = await startPool(t, two)
    pool.sim.reply(() => [{ reasoning: 'Hm.' }, { text: 'Yes.' }])
    const first = await plain(pool, { model: 'gpt-5.5', input: [hi] }).expect(200)
    const streamed = await plain(pool, { model: 'gpt-5.5', input: [hi], stream: true }).expect(200)
    const second = field(eventsOf(streamed.text).at(-1), 'response', 'output')
    for (const output of [first.body.output, second]) {
      await plain(pool, { model: 'gpt-5.5', input: [hi, ...ids(output), hi] }).expect(200)
      assert.deepEqual(sent(pool).input, [hi, ...list(output), hi])
    }
  })

  test('and another account gets all but what the first has encrypted', async (t) => {
    const pool = await startPool(t, { ...two, strictHistory: true })
    pool.sim.reply(() => [{ reasoning: 'Hm.' }, { text: 'Yes.' }])
    const { body } = await plain(pool, { model: 'gpt-5.5', input: [hi] }).expect(200)
    await plain(pool, { model: 'gpt-5.5', input: [hi, ...ids(body.output), hi] }).expect(200)
    pool.sim.account('alice').exhaust()
    await plain(pool, { model: 'gpt-5.5', input: [hi, ...ids(body.output), hi] }).expect(200)
    assert.equal(pool.asked().at(-1), 'bob')
    assert.deepEqual(sent(pool).input, [hi, body.output[1], hi])
  })

  test('and another client gets none of them', async (t) => {
    const keys = { ann: 'a'.repeat(24), ben: 'b'.repeat(24) }
    const pool = await startPool(t, { ...two, config: { ...inOrder, access: { keys } } })
    const as = (key: string, input: object[]) =>
      plain(pool, { model: 'gpt-5.5', input }, `/k/${key}/v1/responses`)
    const { body } = await as(keys.ann, [hi]).expect(200)
    await as(keys.ben, [hi, ...ids(body.output)]).expect(400)
    await as(keys.ann, [hi, ...ids(body.output)]).expect(200)
  })
})

describe('a request that the backend takes goes as it came', () => {
  const fitting = JSON.stringify({ ...turn(), custom: [1.0, 'ü'] }).replace('[1', '[ 1.0')
  const bodies: [string, string, Record<string, string>][] = [
    [
      'of Codex',
      fitting.replace('"instructions"', '"none"'),
      { 'x-openai-internal-codex-responses-lite': 'true' },
    ],
    ['of another client', fitting, { originator: 'pi', 'user-agent': 'pi' }],
  ]
  for (const [name, body, headers] of bodies)
    test(name, async (t) => {
      const pool = await startPool(t, two)
      const answer = await open(pool, { body, headers })
      assert.equal(answer.statusCode, 200)
      const { bytes } = await drain(answer)
      assert.equal(String(pool.sim.requests[0]?.body), body)
      assert.match(String(bytes), /^event: response\.created\ndata: /)
    })

  test('and every event of its answer comes as it is', async (t) => {
    const pool = await startPool(t, two)
    const taken = intercept(pool.sim)
    const opened = open(pool, { headers: { originator: 'pi' } })
    const { response } = await taken
    const events = `: ping\n\nevent: response.created\ndata: {"type": "response.created"}\n\n${frame('response.output_text.delta', { delta: 'ü' })}`
    const last = frame('response.completed', { response: { output: [{ type: 'message' }] } })
    response.writeHead(200, EVENT_STREAM).end(events + last)
    assert.equal(String((await drain(await opened)).bytes), events + last)
  })
})

test('a client that did not ask for a stream gets one JSON answer, and its tokens are counted', async (t) => {
  const pool = await startPool(t, two)
  pool.sim.reply(() => ({
    items: [{ reasoning: 'Hm.' }, { text: 'Yes.' }, { call: 'f', arguments: { a: 1 } }],
    usage: { input: 7, output: 5 },
  }))
  const answer = await plain(pool, { model: 'gpt-5.5', input: 'hi' })
    .expect(200)
    .expect('content-type', /^application\/json/)
  const { body } = answer
  assert.equal(body.status, 'completed')
  assert.deepEqual(
    body.output.map(({ type }: { type: string }) => type),
    ['reasoning', 'message', 'function_call'],
  )
  assert.equal(body.output[1].content[0].text, 'Yes.')
  assert.equal(body.usage.input_tokens, 7)
  const metrics = await pool.request.get('/metrics').expect(200)
  assert.match(
    metrics.text,
    /codexpool_tokens_total\{account="codex\/alice",kind="output"\} 5|kind="output"[^\n]*\} 5/,
  )
})

test('a client that asked for a stream finds the output in its last event', async (t) => {
  const pool = await startPool(t, two)
  const answer = await plain(pool, { model: 'gpt-5.5', input: 'hi', stream: true }).expect(200)
  assert.match(answer.get('content-type') ?? '', /^text\/event-stream/)
  const completed = eventsOf(answer.text).at(-1)
  assert.equal(field(completed, 'type'), 'response.completed')
  assert.equal(field(completed, 'response', 'output', 0, 'content', 0, 'text'), 'Hello from the simulator.')
})

describe('an error is told as the API tells it', () => {
  const created = frame('response.created', { response: { id: 'resp_1' } })
  const delta = frame('response.output_text.delta', { delta: 'x' })
  const failed = (code: string) =>
    frame('response.failed', { response: { error: { code, message: 'It is so.' } } })
  const ends: Record<string, [events: string, status: number, code: string]> = {
    'the request is wrong': [created + failed('invalid_prompt'), 400, 'invalid_prompt'],
    'the model fails late': [created + delta + failed('server_error'), 500, 'server_error'],
    'a limit comes late': [created + delta + failed('rate_limit_exceeded'), 429, 'rate_limit_exceeded'],
    'the stream ends early': [created + delta, 502, 'upstream_unavailable'],
  }
  for (const [name, [events, status, code]] of Object.entries(ends))
    test(`where ${name}`, async (t) => {
      const pool = await startPool(t, two)
      pool.sim.fail({ with: (_request, response) => void response.writeHead(200, EVENT_STREAM).end(events) })
      const { body } = await plain(pool, { model: 'gpt-5.5', input: 'hi' }).expect(status)
      assert.equal(codeOf(body), code)
    })

  test('where the upstream breaks off after its first output', async (t) => {
    const pool = await startPool(t, two)
    const taken = intercept(pool.sim)
    const asked = plain(pool, { model: 'gpt-5.5', input: 'hi' }).then((answer) => answer)
    const { response } = await taken
    response.writeHead(200, EVENT_STREAM).write(created + delta, () => response.destroy())
    const { status, body } = await asked
    assert.deepEqual([status, codeOf(body)], [502, 'upstream_unavailable'])
  })

  test('where the backend refuses in its own shape', async (t) => {
    const pool = await startPool(t, two)
    pool.sim.fail({ times: 2, with: { status: 400, body: { detail: 'Unsupported parameter: foo' } } })
    const { body } = await plain(pool, { model: 'gpt-5.5', input: 'hi' }).expect(400)
    assert.deepEqual(body.error, {
      message: 'Unsupported parameter: foo',
      type: 'invalid_request_error',
      param: 'foo',
      code: 'unsupported_parameter',
    })
  })
})

test('an answer cut short is an answer: incomplete, with status 200', async (t) => {
  const pool = await startPool(t, two)
  const item = { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'Ye' }] }
  const response = {
    id: 'resp_1',
    status: 'incomplete',
    incomplete_details: { reason: 'content_filter' },
    output: [],
  }
  const events =
    frame('response.output_item.done', { item, output_index: 0 }) + frame('response.incomplete', { response })
  pool.sim.fail({ with: (_request, answer) => void answer.writeHead(200, EVENT_STREAM).end(events) })
  const { body } = await plain(pool, { model: 'gpt-5.5', input: 'hi' }).expect(200)
  assert.deepEqual([body.status, body.output], ['incomplete', [item]])
})

test('a limit before the first output moves the turn, unseen', async (t) => {
  const pool = await startPool(t, two)
  pool.sim.account('alice').exhaust()
  await plain(pool, { model: 'gpt-5.5', input: 'hi' }).expect(200)
  assert.deepEqual(pool.asked(), ['alice', 'bob'])
})

test('an answer that is no stream of events is asked for elsewhere', async (t) => {
  const pool = await startPool(t, two)
  pool.sim.fail({ account: 'alice', with: { status: 200, body: { object: 'response', output: [] } } })
  const { body } = await plain(pool, { model: 'gpt-5.5', input: 'hi' }).expect(200)
  assert.equal(body.output[0].content[0].text, 'Hello from the simulator.')
  assert.deepEqual(pool.asked(), ['alice', 'bob'])
})

test('a client that leaves ends the upstream request', async (t) => {
  const pool = await startPool(t, two)
  const taken = intercept(pool.sim)
  const client = send(pool, {
    headers: { originator: 'x' },
    body: JSON.stringify({ model: 'gpt-5.5', input: 'hi' }),
  })
  const { response } = await taken
  response.writeHead(200, EVENT_STREAM).write(frame('response.output_text.delta', { delta: 'x' }))
  const closed = once(response, 'close')
  client.destroy()
  await closed
  assert.equal(response.writableFinished, false)
})

describe('in a mixed pool the form is the account’s', () => {
  const config = {
    ...inOrder,
    providers: { codex: { type: 'codex' as const, apiKeys: 'when-exhausted' as const } },
  }
  const mixed: PoolOptions = { codex: [{ id: 'alice' }], codexApiKeys: [{ id: 'key' }], config }
  const given = JSON.stringify({ model: 'gpt-5.5', input: 'hi', temperature: 0.5 })

  test('an API key gets the request as it came, once the subscription is used up', async (t) => {
    const pool = await startPool(t, mixed)
    pool.sim.account('alice').exhaust()
    const answer = await open(pool, { body: given, headers: { originator: 'x' } })
    assert.equal(answer.statusCode, 200)
    await drain(answer)
    assert.deepEqual(
      pool.sim.requests.map(({ kind }) => kind),
      ['codex', 'openai'],
    )
    assert.equal(String(pool.sim.requests[1]?.body), given)
    assert.equal(field(pool.sim.requests[0]?.json, 'temperature'), undefined)
  })

  const stored = { model: 'gpt-5.5', input: 'hi', background: true }
  const uses = [
    ['never', 400, []],
    ['when-needed', 200, ['openai']],
    ['when-exhausted', 200, ['openai']],
  ] as const
  for (const [apiKeys, status, kinds] of uses)
    test(`a request that no subscription can serve, with API keys used ${apiKeys}`, async (t) => {
      const providers = { codex: { type: 'codex' as const, apiKeys } }
      const retry = { default: { attempts: 1 } }
      const accounts = { codex: [{ id: 'alice' }, { id: 'bob' }], codexApiKeys: [{ id: 'key' }] }
      const pool = await startPool(t, { ...accounts, config: { ...inOrder, providers, retry } })
      pool.sim.account('bob').exhaust()
      await plain(pool, stored).expect(status)
      assert.deepEqual(
        pool.sim.requests.map(({ kind }) => kind),
        kinds,
      )
    })
})

test('adapt: false leaves every request as it came', async (t) => {
  const config = { ...inOrder, providers: { codex: { type: 'codex' as const, adapt: false } } }
  const pool = await startPool(t, { ...two, config })
  const { body } = await plain(pool, { model: 'gpt-5.5', input: 'hi' }).expect(400)
  assert.deepEqual(body, { detail: 'Stream must be set to true' })
})

test('an SDK gets the list of models in its own form, from one account or many', async (t) => {
  const pool = await startPool(t, {
    ...two,
    codex: [
      { id: 'alice', models: ['gpt-5.5'] },
      { id: 'bob', models: ['gpt-6'] },
    ],
  })
  const ids = async () => {
    const { body } = await pool.request.get('/v1/models').expect(200)
    assert.equal(body.object, 'list')
    for (const model of body.data) assert.equal(model.object, 'model')
    return list(body, 'data')
      .map((model) => field(model, 'id'))
      .toSorted()
  }
  assert.deepEqual(await ids(), ['gpt-5.5', 'gpt-6'])
  pool.sim.fail({ account: 'bob', path: '/codex/models', with: faults.serverError(503) })
  assert.deepEqual(await ids(), ['gpt-5.5'])
  for (const { url } of pool.sim.requests) assert.match(url, /\?client_version=\d+\.\d+\.\d+$/)
})

describe('an SDK that asks for one model', () => {
  const codex = [
    { id: 'alice', models: ['gpt-5.5'] },
    { id: 'bob', models: ['gpt-6'] },
  ]
  const JSON_TYPE = { 'content-type': 'application/json' }
  const embeds = { id: 'text-embedding-3-small', object: 'model', created: 1, owned_by: 'openai' }

  test('gets it in its own form, whichever account has it', async (t) => {
    const pool = await startPool(t, { ...two, codex })
    for (const id of ['gpt-5.5', 'gpt-6']) {
      const { body } = await pool.request.get(`/v1/models/${id}`).expect(200)
      assert.deepEqual(body, { id, object: 'model', created: 0, owned_by: 'openai' })
    }
    for (const { url } of pool.sim.requests) assert.match(url, /\/models\?client_version=/)
  })

  test('hears in its own form that no account has it', async (t) => {
    const pool = await startPool(t, { ...two, codex })
    const { body } = await pool.request.get('/v1/models/gpt-9').expect(404)
    assert.equal(codeOf(body), 'model_not_found')
    assert.match(body.error.message, /"gpt-9" is not on the list/)
  })

  test('gets one that only the API keys beside ChatGPT accounts have', async (t) => {
    const pool = await startPool(t, { ...two, codex, codexApiKeys: [{ id: 'key' }] })
    pool.sim.fail({
      account: 'key',
      path: embeds.id,
      times: 2,
      with: { status: 200, headers: JSON_TYPE, body: embeds },
    })
    const { body } = await pool.request.get(`/v1/models/${embeds.id}`).expect(200)
    assert.deepEqual(body, embeds)
  })

  test('gets it from an API key of several where one has no right to it', async (t) => {
    const pool = await startPool(t, { codexApiKeys: [{ id: 'key' }, { id: 'other' }] })
    pool.sim.fail({
      account: 'other',
      path: embeds.id,
      times: 2,
      with: { status: 200, headers: JSON_TYPE, body: embeds },
    })
    for (const _ of [1, 2]) {
      const { body } = await pool.request.get(`/v1/models/${embeds.id}`).expect(200)
      assert.deepEqual(body, embeds)
    }
  })
})
