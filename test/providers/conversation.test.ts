import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { builtinProviders } from '../../config/index.js'
import { createProvider } from '../../providers/index.js'
import { openingOf } from '../../providers/history.js'
import { type Conversation, conversationOf, createGateway, startServer } from '../../src/index.js'
import { request, type RequestParts, withUpstream } from '../kit/provider.js'

const user = { role: 'user', content: 'hi' }
const codexHeaders = { originator: 'codex_exec', 'x-client-request-id': 's' }
const byHeader = (name: string): RequestParts => ({
  headers: { [name]: 's' },
  onRead: () => assert.fail('the body was read'),
})

/** Ways to name the conversation `s`, each with what else the clients send. */
const names: Record<string, RequestParts> = {
  'session-id': byHeader('session-id'),
  session_id: byHeader('session_id'),
  'x-session-id': byHeader('x-session-id'),
  'x-session-affinity': byHeader('x-session-affinity'),
  conversation_id: byHeader('conversation_id'),
  'conversation-id': byHeader('conversation-id'),
  'x-claude-code-session-id': byHeader('x-claude-code-session-id'),
  "Codex's x-client-request-id": { headers: codexHeaders },
  'the first of two headers': {
    headers: { 'session-id': 's', 'x-client-request-id': 'r', 'x-session-id': 't' },
  },
  prompt_cache_key: { body: { prompt_cache_key: 's', conversation: 'conv_1', input: [user] } },
  'conversation as an id': { body: { conversation: 's', input: [user] } },
  'conversation as an object': { body: { conversation: { id: 's' }, input: [user] } },
  'session_id in the body': { body: { session_id: 's', messages: [user] } },
  'session_id that Code Assist wraps': { body: { request: { session_id: 's', contents: [] } } },
}
const providers = {
  codex: [createProvider('codex', builtinProviders.codex), '/v1/responses'],
  gemini: [createProvider('gemini', builtinProviders.gemini), '/v1internal:generateContent'],
  'gemini-api-key': [
    createProvider('gemini-api-key', builtinProviders['gemini-api-key']),
    '/v1beta/models/m:generateContent',
  ],
  bearer: [createProvider('b', { type: 'bearer', upstream: 'https://b.test' }), '/v1/chat/completions'],
  'a custom provider': [
    createProvider('c', {
      type: 'custom',
      upstream: 'https://c.test',
      authorize: () => ({}),
      conversation: conversationOf,
    }),
    '/v1/responses',
  ],
} as const
for (const [name, [provider, url]] of Object.entries(providers))
  describe(`a conversation of ${name} is named by`, () => {
    for (const [what, parts] of Object.entries(names))
      test(what, () => {
        // Code Assist has its session in the body, and Gemini CLI no other place for it.
        const { onRead, ...rest } = parts
        const told = provider.conversation?.(request({ url, ...rest, ...(name !== 'gemini' && { onRead }) }))
        assert.equal((told as Conversation).id, 's')
        assert.equal((told as Conversation).history, undefined)
      })
  })

const sockets = {
  codex: '/v1/realtime',
  'gemini-api-key': '/ws/google.ai.generativelanguage',
  bearer: '/live',
} as const
for (const [name, url] of Object.entries(sockets))
  test(`the handshake of a spoken conversation names it to ${name}`, () => {
    const [provider] = providers[name as keyof typeof sockets]
    const handshake = request({ method: 'GET', url, headers: { 'x-session-id': 's' } })
    assert.deepEqual(provider.conversation?.(handshake), { id: 's' })
  })

describe('what names no conversation for good', () => {
  const history = (parts: RequestParts) =>
    conversationOf(request({ url: '/v1/responses', ...parts }))?.history

  test("another client's x-client-request-id counts only if it comes again", () => {
    const headers = { 'x-client-request-id': 'r', 'user-agent': 'OpenAI/JS 7.57.0' }
    assert.deepEqual(history({ headers, body: { input: 'hi' } })?.names, ['r'])
  })

  test('with an earlier response to go on from, what is sent is no history', () => {
    const told = history({ body: { previous_response_id: 'resp_1', input: 'hi' } })
    assert.deepEqual([told?.names, told?.parts], [['resp_1'], []])
  })

  const others: Record<string, RequestParts> = {
    'a body that is no JSON': {},
    'a list': { body: [1] },
    embeddings: { url: '/v1/embeddings', body: { input: 'hi' } },
    'a moderation': { url: '/v1/moderations', body: { input: ['hi'] } },
    'a count of tokens': { url: '/v1/messages/count_tokens', body: { messages: [user] } },
    'instructions alone': { body: { input: [{ role: 'system', content: 'Be kind.' }] } },
    'an empty input': { body: { input: [], model: 'm' } },
    'values of the wrong type': {
      headers: { 'session-id': '' },
      body: {
        prompt_cache_key: 7,
        conversation: [],
        input: [7, null, 'hi', { role: 'user', content: { a: 1 } }],
      },
    },
    'messages of the wrong type': {
      url: '/v1/chat/completions',
      body: { messages: { 0: user }, metadata: 'user', request: [] },
    },
  }
  for (const [what, parts] of Object.entries(others))
    test(`${what} makes no conversation`, () =>
      assert.equal(conversationOf(request({ url: '/v1/responses', ...parts })), undefined))
})

describe('an answer begins with', () => {
  const long = 'word '.repeat(60)
  const chunk = (content: string) => ({ choices: [{ delta: { content } }] })
  const rows: Record<string, [payloads: object[], whole: boolean, texts: string[], names?: string[]]> = {
    'a short text, once it is whole': [[chunk('Yes'), chunk('.\n')], true, ['Yes.']],
    'nothing, where a short text is not whole': [[chunk('Yes')], false, []],
    'the first 80 characters of a longer one': [[chunk(long)], false, ['word'.repeat(20)]],
    'a text with a call behind it': [
      [chunk('See:'), { choices: [{ delta: { tool_calls: [{ id: 'call_1' }] } }] }],
      false,
      ['See:'],
    ],
    'a call': [[{ choices: [{ delta: { tool_calls: [{ id: 'call_1' }] } }] }], false, ['call call_1']],
    'no thought that is not over': [[chunk(`<think>${long}`)], false, []],
    'the first item of a response that is not reasoning, and its id': [
      [
        {
          response: {
            id: 'resp_1',
            output: [
              { type: 'reasoning', id: 'rs_1', summary: [] },
              { type: 'message', id: 'msg_1', role: 'assistant', content: [{ text: 'Yes.' }] },
              { type: 'function_call', call_id: 'call_1' },
            ],
          },
        },
      ],
      true,
      ['Yes.', 'ref msg_1'],
      ['resp_1'],
    ],
    'a call of Gemini with what it is called with': [
      [
        {
          response: {
            candidates: [
              {
                content: {
                  parts: [
                    { text: 'Hm.', thought: true },
                    { functionCall: { name: 'read', args: { file: 'a b', line: 3 } }, thoughtSignature: 's' },
                  ],
                },
              },
            ],
          },
        },
      ],
      true,
      ['call read ab 3'],
    ],
    "the text of Anthropic's": [
      [
        { type: 'message_start', message: { role: 'assistant', content: [] } },
        { type: 'content_block_delta', delta: { type: 'thinking_delta', thinking: 'Hm.' } },
        { type: 'content_block_delta', delta: { type: 'text_delta', text: 'Yes.' } },
      ],
      true,
      ['Yes.'],
    ],
    'nothing, in a form of no known API': [[{ answer: 42 }], true, []],
  }
  for (const [what, [payloads, whole, texts, known = []]] of Object.entries(rows))
    test(what, () => assert.deepEqual(openingOf(payloads.at(-1), payloads, whole), { names: known, texts }))
})

test('a custom provider keeps conversations together with one line of its configuration file', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'codex-pool-'))
  t.after(() => rm(dir, { recursive: true }))
  let served = 0
  const answer = () =>
    [200, { choices: [{ message: { role: 'assistant', content: `Answer ${++served}` } }] }] as const
  await withUpstream(answer, async (upstream) => {
    await writeFile(
      join(dir, 'codex-pool.config.mjs'),
      `import { conversationOf, defineConfig } from 'codex-pool'
       export default defineConfig({
         listen: '127.0.0.1:0', poolDir: '.', database: false, log: { level: 'silent' },
         providers: { acme: {
           type: 'custom',
           upstream: '${upstream.url}',
           authorize: ({ credential }) => ({ 'api-key': credential.key }),
           conversation: conversationOf,
         } },
         routes: [{ path: '/acme', provider: 'acme', strategy: { sticky: 'round-robin' } }],
       })`,
    )
    for (const key of ['one', 'two', 'three'])
      await writeFile(join(dir, `acme_${key}.json`), JSON.stringify({ key }), { mode: 0o600 })
    const gateway = await createGateway(join(dir, 'codex-pool.config.mjs'), { env: {}, cwd: dir })
    const server = await startServer(gateway)
    t.after(async () => {
      await server.stop(0)
      await gateway.close()
    })
    const ask = async (messages: object[]) => {
      const sent = { method: 'POST', body: JSON.stringify({ messages }) }
      await (await fetch(`${server.url}/acme/chat/completions`, sent)).text()
      return upstream.received.at(-1)!.headers['api-key']
    }
    const accounts = [await ask([user]), await ask([user]), await ask([user])]
    assert.equal(new Set(accounts).size, 3)
    for (const i of [2, 0, 1]) {
      const answered = { role: 'assistant', content: `Answer ${i + 1}` }
      assert.equal(await ask([user, answered, user]), accounts[i])
    }
  })
})
