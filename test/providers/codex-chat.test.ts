import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { field, list, type ReplyScript } from '../../src/simulator/index.js'
import { codeOf, eventsOf, inOrder, startPool, type PoolOptions, type TestPool } from '../kit/pool.js'
import { drain, EVENT_STREAM, frame, intercept, open } from '../kit/stream.js'

const two: PoolOptions = { codex: [{ id: 'alice' }, { id: 'bob' }], config: inOrder }
const user = { role: 'user', content: 'hi' }
const chat = (more: object = {}) => ({ model: 'gpt-5.5', messages: [user], ...more })

function ask(pool: TestPool, body: object) {
  return pool.request.post('/v1/chat/completions').set('authorization', 'Bearer sk-of-the-client').send(body)
}

const sent = (pool: TestPool) => pool.sim.requests.at(-1)?.json as Record<string, unknown>
const spoken = (role: string, ...content: object[]) => ({ type: 'message', role, content })
const text = (value: string) => ({ type: 'input_text', text: value })
const said = (value: string) => ({ type: 'output_text', text: value, annotations: [] })
const called = { id: 'call_1', type: 'function', function: { name: 'f', arguments: '{"a":1}' } }
const call = { type: 'function_call', call_id: 'call_1', name: 'f', arguments: '{"a":1}' }

describe('messages become the input', () => {
  const forms: Record<string, [messages: object[], input: object[], instructions?: string]> = {
    'of a user, as a text': [[user], [spoken('user', text('hi'))]],
    'of a user, in parts': [
      [
        {
          role: 'user',
          content: [
            { type: 'text', text: 'a' },
            { type: 'text', text: 'b' },
          ],
        },
      ],
      [spoken('user', text('a'), text('b'))],
    ],
    'of a user with a name': [[{ ...user, name: 'ann' }], [spoken('user', text('ann:'), text('hi'))]],
    'of the system': [
      [{ role: 'system', content: 'Be brief.' }, user],
      [spoken('user', text('hi'))],
      'Be brief.',
    ],
    'of the developer, later': [
      [user, { role: 'developer', content: 'Be brief.' }],
      [spoken('user', text('hi')), spoken('developer', text('Be brief.'))],
    ],
    'of the system, later': [
      [user, { role: 'system', content: [{ type: 'text', text: 'Be brief.' }] }],
      [spoken('user', text('hi')), spoken('developer', text('Be brief.'))],
    ],
    'with images': [
      [
        {
          role: 'user',
          content: [
            { type: 'image_url', image_url: { url: 'https://a.test/x.png', detail: 'low' } },
            { type: 'image_url', image_url: { url: 'data:image/png;base64,AA==' } },
          ],
        },
      ],
      [
        spoken(
          'user',
          { type: 'input_image', image_url: 'https://a.test/x.png', detail: 'low' },
          { type: 'input_image', image_url: 'data:image/png;base64,AA==', detail: 'auto' },
        ),
      ],
    ],
    'with a file': [
      [
        {
          role: 'user',
          content: [
            { type: 'file', file: { filename: 'a.pdf', file_data: 'data:application/pdf;base64,AA' } },
          ],
        },
      ],
      [
        spoken('user', {
          type: 'input_file',
          file_data: 'data:application/pdf;base64,AA',
          filename: 'a.pdf',
        }),
      ],
    ],
    'of the assistant, with a call and its result': [
      [
        user,
        { role: 'assistant', content: 'I look.', tool_calls: [called] },
        { role: 'tool', tool_call_id: 'call_1', content: '42' },
      ],
      [
        spoken('user', text('hi')),
        spoken('assistant', said('I look.')),
        call,
        { type: 'function_call_output', call_id: 'call_1', output: '42' },
      ],
    ],
    'of the assistant, without a text': [
      [
        user,
        { role: 'assistant', content: null, tool_calls: [called] },
        { role: 'tool', tool_call_id: 'call_1', content: [{ type: 'text', text: '42' }] },
      ],
      [
        spoken('user', text('hi')),
        call,
        { type: 'function_call_output', call_id: 'call_1', output: [text('42')] },
      ],
    ],
    'of the assistant, refused and in parts': [
      [
        user,
        {
          role: 'assistant',
          content: [
            { type: 'text', text: 'a' },
            { type: 'refusal', refusal: 'no' },
          ],
        },
        { role: 'assistant', content: '', refusal: 'never' },
        user,
      ],
      [
        spoken('user', text('hi')),
        spoken('assistant', said('a'), { type: 'refusal', refusal: 'no' }),
        spoken('assistant', { type: 'refusal', refusal: 'never' }),
        spoken('user', text('hi')),
      ],
    ],
    'with a free-form tool': [
      [
        user,
        {
          role: 'assistant',
          tool_calls: [{ id: 'c', type: 'custom', custom: { name: 'exec', input: 'ls' } }],
        },
        { role: 'tool', tool_call_id: 'c', content: 'a' },
      ],
      [
        spoken('user', text('hi')),
        { type: 'custom_tool_call', call_id: 'c', name: 'exec', input: 'ls' },
        { type: 'custom_tool_call_output', call_id: 'c', output: 'a' },
      ],
    ],
  }
  for (const [form, [messages, input, instructions = 'You are a helpful assistant.']] of Object.entries(
    forms,
  ))
    test(form, async (t) => {
      const pool = await startPool(t, two)
      await ask(pool, chat({ messages })).expect(200)
      assert.equal(pool.sim.requests[0]?.path, '/backend-api/codex/responses')
      assert.deepEqual(sent(pool), { model: 'gpt-5.5', input, instructions, store: false, stream: true })
    })
})

describe('parameters become those of the Responses API', () => {
  const schema = { type: 'object', properties: {} }
  const f = { name: 'f', description: 'F', parameters: schema }
  const forms: Record<string, [given: object, wanted: object]> = {
    'tools, loose unless they say otherwise': [
      {
        tools: [
          { type: 'function', function: f },
          { type: 'function', function: { name: 'g', strict: true } },
        ],
      },
      {
        tools: [
          { type: 'function', ...f, strict: false },
          { type: 'function', name: 'g', parameters: schema, strict: true },
        ],
      },
    ],
    'free-form and hosted tools': [
      {
        tools: [
          {
            type: 'custom',
            custom: { name: 'x', format: { type: 'grammar', grammar: { syntax: 'lark', definition: 'd' } } },
          },
          { type: 'web_search' },
        ],
      },
      {
        tools: [
          { type: 'custom', name: 'x', format: { type: 'grammar', syntax: 'lark', definition: 'd' } },
          { type: 'web_search' },
        ],
      },
    ],
    'no tools': [{ tools: [] }, {}],
    'a choice in a word': [{ tool_choice: 'required' }, { tool_choice: 'required' }],
    'a choice by name': [
      { tool_choice: { type: 'function', function: { name: 'f' } } },
      { tool_choice: { type: 'function', name: 'f' } },
    ],
    'a choice of some': [
      {
        tool_choice: {
          type: 'allowed_tools',
          allowed_tools: { mode: 'auto', tools: [{ type: 'function', function: { name: 'f' } }] },
        },
      },
      { tool_choice: { type: 'allowed_tools', mode: 'auto', tools: [{ type: 'function', name: 'f' }] } },
    ],
    'parallel calls and a cache key': [
      { parallel_tool_calls: false, prompt_cache_key: 'k' },
      { parallel_tool_calls: false, prompt_cache_key: 'k' },
    ],
    'a format of text': [{ response_format: { type: 'text' } }, { text: { format: { type: 'text' } } }],
    'a format of JSON': [
      { response_format: { type: 'json_object' } },
      { text: { format: { type: 'json_object' } } },
    ],
    'a schema': [
      {
        response_format: {
          type: 'json_schema',
          json_schema: { name: 'n', description: null, strict: true, schema },
        },
        verbosity: 'low',
      },
      { text: { format: { type: 'json_schema', name: 'n', strict: true, schema }, verbosity: 'low' } },
    ],
    effort: [{ reasoning_effort: 'high' }, { reasoning: { effort: 'high' } }],
    'limits, sampling and labels': [
      {
        max_tokens: 5,
        max_completion_tokens: 5,
        temperature: 0.5,
        top_p: 0.5,
        frequency_penalty: 1,
        presence_penalty: 1,
        seed: 1,
        user: 'u',
        metadata: {},
        store: true,
        service_tier: 'auto',
        prediction: { type: 'content', content: 'x' },
      },
      {},
    ],
    'values that ask for nothing': [
      { n: 1, stop: null, logprobs: false, top_logprobs: null, logit_bias: {}, modalities: ['text'] },
      {},
    ],
  }
  for (const [form, [given, wanted]] of Object.entries(forms))
    test(form, async (t) => {
      const pool = await startPool(t, two)
      await ask(pool, chat(given)).expect(200)
      const { model, input, instructions, store, stream, ...rest } = sent(pool)
      assert.deepEqual(rest, wanted)
      assert.deepEqual(
        [model, list(input).length, typeof instructions, store, stream],
        ['gpt-5.5', 1, 'string', false, true],
      )
    })
})

describe('a request that cannot be translated is refused by name, and nothing is sent', () => {
  const part = (given: object) => ({ messages: [{ role: 'user', content: [given] }] })
  const forms: Record<string, object> = {
    n: { n: 2 },
    stop: { stop: ['\n'] },
    logprobs: { logprobs: true },
    top_logprobs: { top_logprobs: 3 },
    logit_bias: { logit_bias: { 1: 5 } },
    audio: { audio: { voice: 'alloy' } },
    modalities: { modalities: ['text', 'audio'] },
    functions: { functions: [{ name: 'f' }] },
    function_call: { function_call: 'auto' },
    web_search_options: { web_search_options: {} },
    messages: { messages: [] },
    'messages[0]': { messages: ['hi'] },
    'messages[1].role': { messages: [user, { role: 'function', name: 'f', content: '' }] },
    'messages[0].content': { messages: [{ role: 'user' }] },
    'messages[0].content[0]': part({ type: 'input_audio', input_audio: {} }),
    'messages[0].content[0].file.file_id': part({ type: 'file', file: { file_id: 'file-1' } }),
    'messages[0].function_call': { messages: [{ role: 'assistant', function_call: { name: 'f' } }] },
  }
  for (const [param, given] of Object.entries(forms))
    test(param, async (t) => {
      const pool = await startPool(t, two)
      const { body } = await ask(pool, chat(given)).expect(400)
      assert.deepEqual([body.error.param, body.error.type], [param, 'invalid_request_error'])
      assert.ok(body.error.message.length > 20, body.error.message)
      assert.deepEqual(pool.asked(), [])
    })

  test('a body that is no JSON', async (t) => {
    const pool = await startPool(t, two)
    const { status, body } = await pool.request.post('/v1/chat/completions').type('json').send('{"model":')
    assert.deepEqual([status, codeOf(body)], [400, 'bad_json'])
  })
})

const everything: ReplyScript = () => ({
  items: [
    { reasoning: 'Hm.' },
    { text: 'Yes, it is.' },
    { call: 'f', arguments: { a: 1 } },
    { call: 'g', arguments: {} },
  ],
  usage: { input: 9, cached: 4, output: 5, reasoning: 2 },
})
const usage = {
  prompt_tokens: 9,
  completion_tokens: 5,
  total_tokens: 14,
  prompt_tokens_details: { cached_tokens: 4 },
  completion_tokens_details: { reasoning_tokens: 2 },
}

test('the answer is a chat completion', async (t) => {
  const pool = await startPool(t, two)
  pool.sim.reply(everything)
  const { body } = await ask(pool, chat())
    .expect(200)
    .expect('content-type', /^application\/json/)
  assert.match(body.id, /^chatcmpl-/)
  assert.equal(body.object, 'chat.completion')
  assert.equal(body.model, 'gpt-5.5')
  assert.equal(typeof body.created, 'number')
  assert.deepEqual(body.usage, usage)
  const [{ message, finish_reason }] = body.choices
  assert.deepEqual(
    [body.choices.length, message.role, message.content, finish_reason],
    [1, 'assistant', 'Yes, it is.', 'tool_calls'],
  )
  assert.deepEqual(
    message.tool_calls.map(({ type, function: given }: { type: string; function: object }) => ({
      type,
      ...given,
    })),
    [
      { type: 'function', name: 'f', arguments: '{"a":1}' },
      { type: 'function', name: 'g', arguments: '{}' },
    ],
  )
  const metrics = await pool.request.get('/metrics')
  assert.match(metrics.text, /codexpool_tokens_total\{[^}]*kind="cached"[^}]*\} 4/)
})

/** The chunks of a stream, and what they make together. */
function chunksOf(raw: string) {
  assert.ok(raw.endsWith('data: [DONE]\n\n'), raw.slice(-200))
  const chunks = eventsOf(raw.replace('data: [DONE]\n\n', ''))
  const choices = chunks.flatMap((chunk) => list(chunk, 'choices'))
  const deltas = choices.map((choice) => field(choice, 'delta'))
  const calls: { id?: unknown; name?: unknown; arguments: string }[] = []
  for (const one of deltas.flatMap((delta) => list(delta, 'tool_calls'))) {
    const index = field(one, 'index') as number
    const call = (calls[index] ??= { arguments: '' })
    call.id ??= field(one, 'id')
    call.name ??= field(one, 'function', 'name')
    call.arguments += String(field(one, 'function', 'arguments') ?? '')
  }
  const content = deltas.map((delta) => field(delta, 'content') ?? '').join('')
  return { chunks, choices, deltas, calls, content, reason: field(choices.at(-1), 'finish_reason') }
}

test('a stream comes in chunks: the role first, texts and calls as they grow, the reason last', async (t) => {
  const pool = await startPool(t, two)
  pool.sim.reply(everything)
  const answer = await ask(pool, chat({ stream: true })).expect(200)
  assert.match(answer.get('content-type') ?? '', /^text\/event-stream/)
  const { chunks, choices, deltas, calls, content, reason } = chunksOf(answer.text)
  assert.deepEqual(deltas[0], { role: 'assistant', content: '', refusal: null })
  assert.deepEqual([content, reason], ['Yes, it is.', 'tool_calls'])
  assert.ok(deltas.filter((delta) => field(delta, 'content')).length > 1, 'the text comes in pieces')
  assert.deepEqual(
    calls.map(({ name, arguments: given }) => [name, given]),
    [
      ['f', '{"a":1}'],
      ['g', '{}'],
    ],
  )
  for (const { id } of calls) assert.match(String(id), /^call_/)
  assert.equal(new Set(chunks.map((chunk) => field(chunk, 'id'))).size, 1)
  for (const chunk of chunks) {
    assert.equal(field(chunk, 'object'), 'chat.completion.chunk')
    assert.ok(!('usage' in (chunk as object)))
  }
  assert.equal(choices.length, chunks.length)
})

test('a stream tells the usage where it is asked for', async (t) => {
  const pool = await startPool(t, two)
  pool.sim.reply(everything)
  const body = chat({ stream: true, stream_options: { include_usage: true } })
  const { chunks } = chunksOf((await ask(pool, body).expect(200)).text)
  const last = chunks.pop()
  assert.deepEqual([field(last, 'choices'), field(last, 'usage')], [[], usage])
  for (const chunk of chunks) assert.equal(field(chunk, 'usage'), null)
})

describe('an answer ends as it ended upstream', () => {
  const message = (...content: object[]) =>
    frame('response.output_item.done', { output_index: 0, item: spoken('assistant', ...content) })
  const incomplete = (reason: string) =>
    frame('response.incomplete', { response: { status: 'incomplete', incomplete_details: { reason } } })
  const completed = frame('response.completed', { response: { status: 'completed', output: [] } })
  const custom = frame('response.output_item.done', {
    output_index: 0,
    item: { type: 'custom_tool_call', call_id: 'c', name: 'exec', input: 'ls' },
  })
  const ends: Record<string, [events: string, reason: string, content: string | null]> = {
    'at a limit of tokens': [message(said('Ye')) + incomplete('max_output_tokens'), 'length', 'Ye'],
    'by the filter': [message(said('Ye')) + incomplete('content_filter'), 'content_filter', 'Ye'],
    'with a text that came at once': [message(said('Yes')) + completed, 'stop', 'Yes'],
    'with a refusal': [message({ type: 'refusal', refusal: 'No.' }) + completed, 'stop', null],
    'with a free-form call': [custom + completed, 'tool_calls', null],
    'with its output in the last event alone': [
      frame('response.completed', { response: { output: [spoken('assistant', said('Yes'))] } }),
      'stop',
      'Yes',
    ],
  }
  for (const [name, [events, reason, content]] of Object.entries(ends))
    test(name, async (t) => {
      const pool = await startPool(t, two)
      pool.sim.fail({
        times: 2,
        with: (_request, response) => void response.writeHead(200, EVENT_STREAM).end(events),
      })
      const { body } = await ask(pool, chat()).expect(200)
      const [choice] = body.choices
      assert.deepEqual([choice.finish_reason, choice.message.content], [reason, content])
      const streamed = chunksOf((await ask(pool, chat({ stream: true })).expect(200)).text)
      assert.deepEqual([streamed.reason, streamed.content], [reason, content ?? ''])
      const refusals = streamed.deltas.map((delta) => field(delta, 'refusal') ?? '').join('')
      assert.equal(refusals, choice.message.refusal ?? '')
      const [call] = streamed.deltas.flatMap((delta) => list(delta, 'tool_calls'))
      assert.equal(field(call, 'custom', 'name'), field(choice.message.tool_calls, 0, 'custom', 'name'))
    })
})

describe('errors have the shape of the API', () => {
  const failure = (code: string) =>
    frame('response.failed', { response: { error: { code, message: 'It is so.' } } })
  const output = frame('response.output_text.delta', { delta: 'x', output_index: 0 })

  test('a refusal of the backend', async (t) => {
    const pool = await startPool(t, two)
    const { body } = await ask(pool, chat({ top_k: 3 })).expect(200)
    assert.equal(body.object, 'chat.completion')
    pool.sim.fail({ with: { status: 400, body: { detail: 'Unsupported parameter: top_k' } } })
    const refused = await ask(pool, chat({ top_k: 3, stream: true })).expect(400)
    assert.deepEqual(
      [refused.body.error.param, refused.body.error.message],
      ['top_k', 'Unsupported parameter: top_k'],
    )
  })

  test('a failure after the first output, told in the stream', async (t) => {
    const pool = await startPool(t, two)
    pool.sim.fail({
      with: (_request, response) =>
        void response.writeHead(200, EVENT_STREAM).end(output + failure('server_error')),
    })
    const answer = await ask(pool, chat({ stream: true })).expect(200)
    const events = eventsOf(answer.text)
    assert.equal(field(events.at(-1), 'error', 'code'), 'server_error')
    assert.equal(field(events.at(-1), 'error', 'message'), 'It is so.')
    assert.doesNotMatch(answer.text, /\[DONE\]/)
  })

  test('the same as a status, where there is no stream', async (t) => {
    const pool = await startPool(t, two)
    pool.sim.fail({
      with: (_request, response) =>
        void response.writeHead(200, EVENT_STREAM).end(output + failure('server_error')),
    })
    const { body } = await ask(pool, chat()).expect(500)
    assert.equal(codeOf(body), 'server_error')
  })

  test('a stream that ends early is no complete answer', async (t) => {
    const pool = await startPool(t, two)
    pool.sim.fail({ with: (_request, response) => void response.writeHead(200, EVENT_STREAM).end(output) })
    const answer = await ask(pool, chat({ stream: true })).expect(200)
    assert.equal(field(eventsOf(answer.text).at(-1), 'error', 'code'), 'upstream_unavailable')
  })

  test('a stream that breaks off is seen as broken', async (t) => {
    const pool = await startPool(t, two)
    const taken = intercept(pool.sim)
    const opened = open(pool, {
      path: '/v1/chat/completions',
      body: JSON.stringify(chat({ stream: true })),
      headers: { originator: 'x' },
    })
    const { response } = await taken
    response.writeHead(200, EVENT_STREAM).write(output, () => response.destroy())
    assert.equal((await drain(await opened)).broken, true)
  })

  test('every account exhausted', async (t) => {
    const pool = await startPool(t, two)
    for (const { id } of pool.sim.codex.accounts) pool.sim.account(id).exhaust()
    const { body } = await ask(pool, chat({ stream: true })).expect(429)
    assert.equal(body.error.type, 'usage_limit_reached')
  })
})

test('a limit in the prelude of a stream moves the chat to another account, unseen', async (t) => {
  const pool = await startPool(t, two)
  const limit = frame('response.failed', {
    response: { error: { code: 'usage_limit_reached', message: 'no' } },
  })
  pool.sim.fail({
    with: (_request, response) =>
      void response.writeHead(200, EVENT_STREAM).end(frame('response.created') + limit),
  })
  const { content } = chunksOf((await ask(pool, chat({ stream: true })).expect(200)).text)
  assert.equal(content, 'Hello from the simulator.')
  assert.deepEqual(pool.asked(), ['alice', 'bob'])
})

test('chats go to subscriptions first, and to API keys as they came once these are used up', async (t) => {
  const config = {
    ...inOrder,
    providers: { codex: { type: 'codex' as const, apiKeys: 'when-exhausted' as const } },
  }
  const pool = await startPool(t, { codex: [{ id: 'alice' }], codexApiKeys: [{ id: 'key' }], config })
  const given = JSON.stringify(chat({ temperature: 0.5 }))
  const post = async (body: string) => {
    const answer = await open(pool, { path: '/v1/chat/completions', body, headers: { originator: 'x' } })
    assert.equal(answer.statusCode, 200)
    await drain(answer)
  }
  await post(JSON.stringify(chat()))
  pool.sim.account('alice').exhaust()
  await post(given)
  const kinds = pool.sim.requests.map(({ kind, path }) => [kind, path])
  assert.deepEqual(kinds, [
    ['codex', '/backend-api/codex/responses'],
    ['codex', '/backend-api/codex/responses'],
    ['openai', '/openai/v1/chat/completions'],
  ])
  assert.equal(String(pool.sim.requests[2]?.body), given)
})
