import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { field, list, type Simulator, startSimulator } from '../../src/simulator/index.js'

const upstreams = [
  { name: 'OpenAI', path: '/openai/v1/chat/completions', key: 'sk-sim-kate', model: 'gpt-5.5' },
  {
    name: 'Gemini',
    path: '/v1beta/openai/chat/completions',
    key: 'gemini-sim-gina',
    model: 'gemini-2.5-flash',
  },
]

async function simulate(t: TestContext): Promise<Simulator> {
  const sim = await startSimulator({ codexApiKeys: [{ id: 'kate' }], geminiApiKeys: [{ id: 'gina' }] })
  t.after(() => sim.close())
  sim.reply(({ toolOutputs }) =>
    toolOutputs.length > 0
      ? `The tools said ${toolOutputs.join(' and ')}.`
      : [{ call: 'look', arguments: { at: 'the sky' } }],
  )
  return sim
}

for (const { name, path, key, model } of upstreams) {
  const ask = (sim: Simulator, body: object) =>
    fetch(sim.url + path, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model, ...body }),
    })
  const question = { role: 'user', content: [{ type: 'text', text: 'What do you see?' }] }

  test(`chat completions of ${name} call a tool and hear its output`, async (t) => {
    const sim = await simulate(t)
    const first: unknown = await (await ask(sim, { messages: [question] })).json()
    assert.equal(field(first, 'choices', 0, 'finish_reason'), 'tool_calls')
    const message = field(first, 'choices', 0, 'message')
    const [call] = list(message, 'tool_calls')
    assert.deepEqual(field(call, 'function'), { name: 'look', arguments: '{"at":"the sky"}' })
    const output = { role: 'tool', tool_call_id: field(call, 'id'), content: 'a cloud' }
    const second: unknown = await (await ask(sim, { messages: [question, message, output] })).json()
    assert.deepEqual(field(second, 'choices', 0, 'message'), {
      role: 'assistant',
      content: 'The tools said a cloud.',
    })
    // The outputs of an earlier turn are history.
    const third: unknown = await (await ask(sim, { messages: [question, message, output, question] })).json()
    assert.equal(field(third, 'choices', 0, 'finish_reason'), 'tool_calls')
  })

  test(`a stream of chat completions of ${name} brings the call in chunks, and the usage`, async (t) => {
    const sim = await simulate(t)
    const body = { messages: [question], stream: true, stream_options: { include_usage: true } }
    const lines = (await (await ask(sim, body)).text()).split('\n\n').filter(Boolean)
    assert.equal(lines.pop(), 'data: [DONE]')
    const chunks: unknown[] = lines.map((line) => JSON.parse(line.replace('data: ', '')))
    const pieces = chunks.flatMap((chunk) => list(chunk, 'choices', 0, 'delta', 'tool_calls'))
    assert.equal(pieces.map((piece) => field(piece, 'function', 'arguments')).join(''), '{"at":"the sky"}')
    assert.ok(field(chunks.at(-1), 'usage', 'total_tokens'))
  })
}

test('OpenAI tells the usage of a stream only where it is asked for', async (t) => {
  const sim = await simulate(t)
  const body = { model: 'gpt-5.5', messages: [{ role: 'user', content: 'hi' }], stream: true }
  const response = await fetch(`${sim.url}/openai/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: 'Bearer sk-sim-kate' },
    body: JSON.stringify(body),
  })
  assert.doesNotMatch(await response.text(), /usage/)
})
