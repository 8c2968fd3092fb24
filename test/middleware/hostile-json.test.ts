import assert from 'node:assert/strict'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { parseJson } from '../../config/index.js'
import { codeOf, startPool } from '../kit/pool.js'
import { drain, open } from '../kit/stream.js'

const deep = (levels: number) => `${'['.repeat(levels)}${']'.repeat(levels)}`

/** A gateway in front of an upstream of OpenAI's kind that answers as the test says. */
async function poolBefore(t: TestContext, answer: (response: ServerResponse) => void) {
  const server = createServer((request, response) => {
    request.resume()
    answer(response)
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.after(() => server.close())
  const upstream = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const pool = await startPool(t, {
    config: {
      providers: { acme: { type: 'bearer', upstream } },
      routes: [{ path: '/acme', provider: 'acme' }],
    },
    prepare: ({ poolDir }) => writeFile(join(poolDir, 'acme_a.json'), '{"token":"token-of-acme"}'),
  })
  const ask = async () => {
    const { status, text } = await open(pool, {
      path: '/acme/chat/completions',
      body: '{"model":"m"}',
    }).then(read)
    return { status, body: parseJson(text) }
  }
  return { pool, ask }
}

async function read(answer: IncomingMessage): Promise<{ status: number | undefined; text: string }> {
  return { status: answer.statusCode, text: String((await drain(answer)).bytes) }
}

const JSON_TYPE = { 'content-type': 'application/json' }

test('JSON is read to a depth of 200, whatever stands in its texts', () => {
  assert.ok(parseJson(deep(200)))
  assert.equal(parseJson(deep(201)), undefined)
  const texts = ['[['.repeat(500), '"'.repeat(300), '\\'.repeat(301), '{"a":"'.repeat(300)]
  for (const text of texts) assert.deepEqual(parseJson(JSON.stringify([text])), [text])
  assert.deepEqual(parseJson(`[${'{"a":[]},'.repeat(1_000)}{}]`) instanceof Array, true)
  for (const broken of ['', '"', '"\\', '[', ']', '{"a', undefined, 5])
    assert.equal(parseJson(broken), undefined)
})

test('a body that is nested too deeply is refused with 400 where it has to be read', async (t) => {
  const { pool } = await poolBefore(t, (response) => response.writeHead(200, JSON_TYPE).end('{}'))
  const send = (body: string) => pool.request.post('/acme/chat/completions').set(JSON_TYPE).send(body)
  const refused = await send(`{"model":${deep(100_000)}}`)
  assert.equal(refused.status, 400)
  assert.equal(codeOf(refused.body), 'bad_json')
  await send('{"model":"m"}').expect(200)
})

for (const status of [200, 400, 401, 429, 500])
  test(`an answer of ${status} that is nested too deeply is no error of the gateway's own`, async (t) => {
    const body = `{"error":${deep(100_000)}}`
    const { ask, pool } = await poolBefore(t, (response) => response.writeHead(status, JSON_TYPE).end(body))
    const answered = await ask()
    assert.notEqual(codeOf(answered.body), 'internal_error')
    assert.notEqual(answered.status, undefined)
    await pool.request.get('/healthz').expect(200)
  })

for (const count of [`1${'0'.repeat(399)}`, '-5', '"many"', '1e999', 'null', deep(150)])
  test(`a token count of ${count.slice(0, 8)} is no number for the metrics, and ends nothing`, async (t) => {
    const usage = `{"prompt_tokens":${count},"completion_tokens":${count},"input_tokens":${count}}`
    const { ask, pool } = await poolBefore(t, (response) =>
      response.writeHead(200, JSON_TYPE).end(`{"object":"chat.completion","usage":${usage}}`),
    )
    assert.equal((await ask()).status, 200)
    const { text } = await pool.request.get('/metrics').expect(200)
    for (const [line] of text.matchAll(/^codexpool_tokens_total\{.*/gm)) assert.match(line, / \d{1,10}$/)
    assert.equal((await ask()).status, 200)
  })
