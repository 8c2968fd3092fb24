import assert from 'node:assert/strict'
import { test } from 'node:test'
import { codex } from '../../providers/codex.js'
import { request } from '../kit/provider.js'
import { inOrder, startPool, type PoolOptions, type TestPool } from '../kit/pool.js'
import { refusal } from '../kit/websocket.js'

const keys: PoolOptions = { codexApiKeys: [{ id: 'alice' }, { id: 'bob' }], config: inOrder }

/** The accounts that were asked, in order. */
const asked = ({ sim }: TestPool) => sim.requests.map(({ account }) => account)

/** A pool in which bob has made something, and alice is chosen first from now on. */
async function madeByBob(pool: TestPool, path: string, body: object, made: object): Promise<void> {
  pool.gateway.setDisabled('alice', true)
  pool.sim.fail({ account: 'bob', with: { status: 200, body: made } })
  await pool.request.post(path).send(body).expect(200)
  pool.gateway.setDisabled('alice', false)
}

test('a file stays with the key that made it, in its own path and in requests that name it', async (t) => {
  const pool = await startPool(t, keys)
  await madeByBob(pool, '/v1/files', {}, { id: 'file-1', object: 'file' })
  const content = [{ type: 'input_file', file_id: 'file-1' }]
  await pool.request.get('/v1/files/file-1')
  await pool.ask(undefined, { body: { input: [{ type: 'message', role: 'user', content }] } }).expect(200)
  assert.deepEqual(asked(pool), ['bob', 'bob', 'bob'])
})

test('a stored response stays with the key that made it; one that is not stored binds nothing', async (t) => {
  const pool = await startPool(t, keys)
  const model = { model: 'gpt-5.5', input: 'hi' }
  await madeByBob(pool, '/v1/responses', model, { id: 'resp_1', object: 'response', store: true })
  await madeByBob(pool, '/v1/responses', model, { id: 'resp_2', object: 'response', store: false })
  await pool.request.get('/v1/responses/resp_1')
  await pool.ask(undefined, { body: { previous_response_id: 'resp_1' } })
  await pool.ask(undefined, { body: { previous_response_id: 'resp_2' } })
  assert.deepEqual(asked(pool), ['bob', 'bob', 'bob', 'bob', 'alice'])
})

const { resources, resourcesMade } = codex({
  responsesBase: 'https://upstream.test/codex',
  whamBase: 'https://upstream.test',
  refreshBase: 'https://issuer.test',
  openaiBase: 'https://openai.test/v1',
  apiKeys: 'never',
  allow: [],
  codexHome: false,
  credits: 'last',
  adapt: true,
})
const named = (body: object, url = '/v1/responses', method = 'POST') =>
  [...resources!(request({ method, url, body }))].sort()

const inBodies: Record<string, { body: object; ids: string[] }> = {
  'the response before': { body: { previous_response_id: 'resp_1', input: 'hi' }, ids: ['resp_1'] },
  'a conversation': { body: { conversation: 'conv_1' }, ids: ['conv_1'] },
  'a conversation as an object': { body: { conversation: { id: 'conv_1' } }, ids: ['conv_1'] },
  'a stored prompt': {
    body: { prompt: { id: 'pmpt_1', variables: { doc: { file_id: 'file-2' } } } },
    ids: ['file-2', 'pmpt_1'],
  },
  'files and images in a message': {
    body: {
      input: [
        {
          role: 'user',
          content: [
            { type: 'input_file', file_id: 'file-1' },
            { type: 'input_image', file_id: 'file-2' },
          ],
        },
      ],
    },
    ids: ['file-1', 'file-2'],
  },
  'a file in the output of a function': {
    body: { input: [{ type: 'function_call_output', output: [{ type: 'input_file', file_id: 'file-1' }] }] },
    ids: ['file-1'],
  },
  'a part of a response before': {
    body: {
      input: [
        { type: 'item_reference', id: 'rs_1' },
        { type: 'item_reference', id: 'msg_2' },
      ],
    },
    ids: ['msg_2', 'rs_1'],
  },
  'vector stores and a container of tools': {
    body: {
      tools: [
        { type: 'file_search', vector_store_ids: ['vs_1', 'vs_2'] },
        { type: 'code_interpreter', container: 'cntr_1' },
        { type: 'code_interpreter', container: { type: 'auto', file_ids: ['file-1'] } },
        { type: 'shell', environment: { type: 'container_reference', container_id: 'cntr_2' } },
      ],
    },
    ids: ['cntr_1', 'cntr_2', 'file-1', 'vs_1', 'vs_2'],
  },
  'a file in a chat message': {
    body: { messages: [{ role: 'user', content: [{ type: 'file', file: { file_id: 'file-1' } }] }] },
    ids: ['file-1'],
  },
  'tool resources of an assistant': {
    body: {
      tool_resources: {
        file_search: { vector_store_ids: ['vs_1'] },
        code_interpreter: { file_ids: ['file-1'] },
      },
    },
    ids: ['file-1', 'vs_1'],
  },
  'attachments of a thread': {
    body: { assistant_id: 'asst_1', thread: { messages: [{ attachments: [{ file_id: 'file-1' }] }] } },
    ids: ['asst_1', 'file-1'],
  },
  'a batch': { body: { input_file_id: 'file-1', endpoint: '/v1/responses' }, ids: ['file-1'] },
  'a fine-tuning job': {
    body: { training_file: 'file-1', validation_file: 'file-2', model: 'gpt-5.5' },
    ids: ['file-1', 'file-2'],
  },
  'a tuned model': { body: { model: 'ft:gpt-5.5:acme::abc123' }, ids: ['ft:gpt-5.5:acme::abc123'] },
  'a data source of an eval': {
    body: { data_source: { source: { type: 'file_id', id: 'file-1' } } },
    ids: ['file-1'],
  },
  'parts of an upload': { body: { part_ids: ['part_1'] }, ids: [] },
  'the user’s own words': {
    body: {
      input: 'file-1',
      instructions: 'resp_1',
      metadata: { file_id: 'file-1', last: 'resp_1' },
      user: 'file-9',
    },
    ids: [],
  },
  'what was cited and called before': {
    body: {
      input: [
        { type: 'code_interpreter_call', id: 'ci_1', container_id: 'cntr_1', code: '' },
        {
          type: 'message',
          role: 'assistant',
          content: [{ type: 'output_text', text: 'file-1', annotations: [{ file_id: 'file-1' }] }],
        },
        { type: 'function_call', id: 'fc_1', call_id: 'call_1', arguments: '{"file_id":"file-1"}' },
      ],
    },
    ids: [],
  },
}
for (const [name, { body, ids }] of Object.entries(inBodies))
  test(`ids in a body: ${name}`, () => assert.deepEqual(named(body), ids))

const inPaths: Record<string, string[]> = {
  '/v1/responses/resp_1/cancel': ['resp_1'],
  '/v1/responses/resp_1/input_items?after=msg_1': ['resp_1'],
  '/v1/conversations/conv_1/items': ['conv_1'],
  '/v1/files/file-1/content': ['file-1'],
  '/v1/files?after=file-1': ['file-1'],
  '/v1/batches/batch_1': ['batch_1'],
  '/v1/uploads/upload_1/parts': ['upload_1'],
  '/v1/vector_stores/vs_1/files/file-1': ['file-1', 'vs_1'],
  '/v1/vector_stores/vs_1/file_batches/vsfb_1': ['vs_1', 'vsfb_1'],
  '/v1/containers/cntr_1/files/cfile_1/content': ['cfile_1', 'cntr_1'],
  '/v1/threads/thread_1/runs/run_1': ['run_1', 'thread_1'],
  '/v1/assistants/asst_1': ['asst_1'],
  '/v1/fine_tuning/jobs/ftjob-1/events': ['ftjob-1'],
  '/v1/evals/eval_1/runs/evalrun_1': ['eval_1', 'evalrun_1'],
  '/v1/videos/video_1/content': ['video_1'],
  '/v1/realtime?call_id=rtc_1': ['rtc_1'],
  '/v1/models/ft:gpt-5.5:acme::a': ['ft:gpt-5.5:acme::a'],
  '/v1/models/gpt-5.5': [],
  '/v1/responses/input_tokens': [],
  '/v1/responses/compact': [],
  '/backend-api/wham/tasks/file-1': [],
}
for (const [url, ids] of Object.entries(inPaths))
  test(`ids in the path ${url}`, () => assert.deepEqual(named({}, url, 'GET'), ids))

const inAnswers: Record<string, { answer: object; headers?: Record<string, string>; ids: string[] }> = {
  'a file': { answer: { id: 'file-1', object: 'file' }, ids: ['file-1'] },
  'a list': {
    answer: { object: 'list', data: [{ id: 'vs_1' }, { id: 'vs_2' }], first_id: 'vs_1' },
    ids: ['vs_1', 'vs_2'],
  },
  'a batch with its files': {
    answer: { id: 'batch_1', input_file_id: 'file-1', output_file_id: 'file-2', error_file_id: null },
    ids: ['batch_1', 'file-1', 'file-2'],
  },
  'an upload with its file': {
    answer: { id: 'upload_1', file: { id: 'file-1' } },
    ids: ['file-1', 'upload_1'],
  },
  'a stored response, its parts, its conversation and its container': {
    answer: {
      id: 'resp_1',
      object: 'response',
      store: true,
      conversation: { id: 'conv_1' },
      output: [
        { type: 'reasoning', id: 'rs_1' },
        { type: 'code_interpreter_call', id: 'ci_1', container_id: 'cntr_1' },
        {
          type: 'message',
          id: 'msg_1',
          content: [{ text: 'file-9', annotations: [{ file_id: 'cfile_1' }] }],
        },
      ],
    },
    ids: ['cfile_1', 'ci_1', 'cntr_1', 'conv_1', 'msg_1', 'resp_1', 'rs_1'],
  },
  'the first event of a stream': {
    answer: { type: 'response.created', response: { id: 'resp_1', object: 'response', output: [] } },
    ids: ['resp_1'],
  },
  'a response that is not stored': {
    answer: { response: { id: 'resp_1', object: 'response', store: false, output: [{ id: 'msg_1' }] } },
    ids: [],
  },
  'a run': {
    answer: { id: 'run_1', thread_id: 'thread_1', assistant_id: 'asst_1' },
    ids: ['asst_1', 'run_1', 'thread_1'],
  },
  'a tuned model': {
    answer: { id: 'ftjob-1', fine_tuned_model: 'ft:gpt-5.5:acme::a', result_files: ['file-1'] },
    ids: ['file-1', 'ft:gpt-5.5:acme::a', 'ftjob-1'],
  },
  'a call whose address is in a header': {
    answer: {},
    headers: { location: '/v1/realtime/calls/rtc_1' },
    ids: ['rtc_1'],
  },
  'a chat completion': { answer: { id: 'chatcmpl-1', object: 'chat.completion', model: 'gpt-5.5' }, ids: [] },
}
for (const [name, { answer, headers = {}, ids }] of Object.entries(inAnswers))
  test(`ids learnt from ${name}`, () =>
    assert.deepEqual([...new Set(resourcesMade!(answer, headers))].sort(), ids))

test('more ids than any request has cost no more', () => {
  const file_ids = Array.from({ length: 100_000 }, (_, number) => `file-${number}`)
  assert.equal(named({ file_ids }).length, 64)
  assert.equal(resourcesMade!({ data: file_ids.map((id) => ({ id })) }, {}).length, 1_000)
})

test('a body of a session of Codex is not read for ids', () => {
  let reads = 0
  const asked = request({ url: '/v1/responses', headers: { 'session-id': 's1' }, onRead: () => reads++ })
  assert.deepEqual([resources!(asked), reads], [[], 0])
})

test('a spoken call stays with the key that took it, in its paths and on the WebSocket beside it', async (t) => {
  const pool = await startPool(t, keys)
  pool.gateway.setDisabled('alice', true)
  pool.sim.fail({
    account: 'bob',
    with: { status: 201, headers: { location: '/v1/realtime/calls/rtc_1' }, body: 'v=0' },
  })
  await pool.request.post('/v1/realtime/calls').set('content-type', 'application/sdp').send('v=0').expect(201)
  pool.gateway.setDisabled('alice', false)
  await pool.request.post('/v1/realtime/calls/rtc_1/hangup').send({})
  // The simulator has no calls: it refuses the handshake.
  await refusal(`${pool.url}/v1/realtime?call_id=rtc_1`)
  assert.deepEqual(asked(pool), ['bob', 'bob', 'bob'])
})
