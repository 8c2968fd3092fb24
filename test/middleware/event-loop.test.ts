import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { gzipSync } from 'node:zlib'
import { decode } from '../../middleware/decode.js'
import { LARGE, parseLarge, parseSmall, writeLarge } from '../../middleware/large-json.js'
import { EchoUpstream } from '../kit/echo-upstream.js'
import { staysFree } from '../kit/event-loop.js'
import { codeOf, startPool, within } from '../kit/pool.js'
import { drain, open } from '../kit/stream.js'
import { dial } from '../kit/websocket.js'
import { hostileSequences, tinyBlocks } from '../kit/zstd.js'

const MB = 1024 * 1024
const JSON_TYPE = { 'content-type': 'application/json' }

/** So many empty objects, three bytes each. */
const objects = (count: number): string => `[${'{},'.repeat(count)}0]`

/** An object of so many fields, each with a name of its own. */
const fields = (count: number): string =>
  `{${Array.from({ length: count }, (_, at) => `"k${at}":1`).join(',')}}`

/** A gateway that rewrites every body for an upstream that answers as the test says. */
async function rewriting(t: TestContext, answer: (response: ServerResponse, body: string) => void) {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => answer(response, String(Buffer.concat(chunks))))
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.after(() => server.close())
  const acme = {
    type: 'custom' as const,
    upstream: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    authorize: () => ({}),
    rewriteBody: (body: unknown) => ({ body }),
    usage: () => ({ totalTokens: 7 }),
  }
  const config = { providers: { acme }, routes: [{ path: '/acme', provider: 'acme' }] }
  const prepare = ({ poolDir }: { poolDir: string }) => writeFile(join(poolDir, 'acme_a.json'), '{}')
  const pool = await startPool(t, { config, prepare })
  return async (body: string | Buffer, headers: Record<string, string> = {}) => {
    const answered = await open(pool, {
      path: '/acme/responses',
      body,
      headers: { ...JSON_TYPE, ...headers },
    })
    const text = String((await drain(answered)).bytes)
    return { status: answered.statusCode, text }
  }
}

const tooLarge: Record<
  string,
  { body: () => string | Buffer; headers?: Record<string, string>; code: string }
> = {
  'millions of small objects': { body: () => objects(2e6), code: 'body_too_large' },
  'the same, packed to a thousandth': {
    body: () => gzipSync(objects(2e6)),
    headers: { 'content-encoding': 'gzip' },
    code: 'body_too_large',
  },
  'an object of half a million fields': { body: () => fields(490_000), code: 'body_too_large' },
  'brackets that only open': { body: () => '['.repeat(8 * MB), code: 'bad_json' },
  'a text of quotes that does not end': { body: () => `"${'\\"'.repeat(4 * MB)}`, code: 'bad_json' },
  'one number of many digits': { body: () => '1'.repeat(8 * MB), code: 'bad_json' },
  'white space alone': { body: () => ' '.repeat(8 * MB), code: 'bad_json' },
}
for (const [name, { body, headers, code }] of Object.entries(tooLarge))
  test(`a body of ${name} is refused, and other requests go on meanwhile`, async (t) => {
    const ask = await rewriting(t, (response) => response.end('{}'))
    const bytes = body()
    const blocking = objects(2e6)
    await staysFree(
      async () => assert.equal(codeOf(JSON.parse((await ask(bytes, headers)).text)), code),
      () => JSON.parse(blocking),
    )
  })

test('a large body is rewritten and sent on as what it was, and other requests go on meanwhile', async (t) => {
  let got = ''
  const ask = await rewriting(t, (response, body) => {
    got = body
    response.end('{}')
  })
  const sent = {
    many: Array.from({ length: 90_000 }, (_, at) => ({ at, ü: '\n"é😀' })),
    picture: 'x'.repeat(5e6),
  }
  const body = JSON.stringify(sent)
  const blocking = objects(2e6)
  await staysFree(
    () => ask(body),
    () => JSON.parse(blocking),
  )
  assert.deepEqual(JSON.parse(got), { body: sent })
})

for (const [name, body] of Object.entries({
  '300,000 small objects': objects(300_000),
  'an object of 90,000 fields': fields(90_000),
  'a text of 4 MB': JSON.stringify({ text: 'é'.repeat(2e6) }),
}))
  test(`a body of ${name}, under the size that counts as large, is rewritten, and other requests go on meanwhile`, async (t) => {
    let got = ''
    const ask = await rewriting(t, (response, body) => {
      got = body
      response.end('{}')
    })
    assert.ok(Buffer.byteLength(body) < LARGE)
    const blocking = fields(250_000)
    await staysFree(
      () => ask(body),
      () => JSON.parse(blocking),
    )
    assert.deepEqual(JSON.parse(got), { body: JSON.parse(body) })
  })

test('a message of an object of many fields ends its WebSocket, and other requests go on meanwhile', async (t) => {
  const echo = await EchoUpstream.start(t, { echo: false })
  const pool = await startPool(t, { codex: [{ id: 'alice' }], env: { UPSTREAM_RESPONSES_BASE: echo.url } })
  const blocking = fields(250_000)
  await staysFree(
    async () => {
      const client = await dial(pool, 's1')
      client.raw.send(`{"type":"response.create","input":${fields(90_000)}}`)
      assert.equal((await within(client.closed)).code, 1008)
    },
    () => JSON.parse(blocking),
  )
})

test('an answer of small objects is passed on, and other requests go on meanwhile', async (t) => {
  const body = `{"a":${objects(1e6)}}`
  const ask = await rewriting(t, (response) => response.writeHead(200, JSON_TYPE).end(body))
  await staysFree(
    async () => assert.equal((await ask('{}')).text.length, body.length),
    () => JSON.parse(`[${body},${body}]`),
  )
})

test('an answer of line feeds that is packed to a thousandth does not stop other requests', async (t) => {
  const packed = gzipSync(Buffer.alloc(40 * MB, '\n'))
  const head = { ...JSON_TYPE, 'content-encoding': 'gzip' }
  const ask = await rewriting(t, (response) => response.writeHead(200, head).end(packed))
  const blocking = objects(2e6)
  await staysFree(
    () => ask('{}'),
    () => JSON.parse(blocking),
  )
})

test('a message of small objects ends its WebSocket, and other requests go on meanwhile', async (t) => {
  const echo = await EchoUpstream.start(t, { echo: false })
  const pool = await startPool(t, { codex: [{ id: 'alice' }], env: { UPSTREAM_RESPONSES_BASE: echo.url } })
  const message = `{"type":"response.create","input":${objects(2e6)}}`
  await staysFree(
    async () => {
      const client = await dial(pool, 's1')
      client.raw.send(message)
      assert.equal((await within(client.closed)).code, 1008)
    },
    () => JSON.parse(message),
  )
})

test('a large message of a WebSocket passes in its order', async (t) => {
  const echo = await EchoUpstream.start(t, { echo: false })
  const pool = await startPool(t, { codex: [{ id: 'alice' }], env: { UPSTREAM_RESPONSES_BASE: echo.url } })
  const opened = echo.next()
  const client = await dial(pool, 's1')
  const { socket, received } = await opened
  const large = JSON.stringify({ type: 'x', text: 'x'.repeat(LARGE) })
  for (const text of [large, '{"type":"y"}']) client.raw.send(text)
  client.raw.close()
  await once(socket, 'close')
  assert.deepEqual(
    received.map(({ data }) => data.length),
    [large.length, 12],
  )
})

for (const [name, body] of Object.entries({
  'matches beyond its end': hostileSequences(),
  'tiny blocks': tinyBlocks(),
}))
  test(`zstd that keeps its decoder at work is given up: ${name}`, async () => {
    const blocking = objects(2e6)
    await staysFree(
      () => assert.rejects(decode(body, 'zstd')),
      () => JSON.parse(blocking),
    )
  })

const broken =
  '| |[|[1|[1,|[1,]|[,1]|{"a"}|{"a":}|{"a":1,}|{a:1}|[1]2|01|nul|1e|"\t"|"\\x"|"a|[}|{]|+1|.5|-|Infinity|undefined|[1 2]'
const odd = [
  ...broken.split('|'),
  '{"__proto__":{"a":1},"":[],"a":{},"a":[null,true,false,-1.5e+3,0]}',
  ' [ 1 , { "a" : "\\u00e9\\ud83d\\ude00\\\\" } ] \n',
  '\ufeff[]',
  '"é😀"',
  '['.repeat(200) + ']'.repeat(200),
  '['.repeat(201) + ']'.repeat(201),
  JSON.stringify({ text: '\\"é😀\n'.repeat(50_000) }),
]
for (const text of odd)
  test(`JSON is read in pieces as it is read at once: ${text.slice(0, 30)}`, async () => {
    const large = await parseLarge(Buffer.from(text))
    const plain = text.replace(/^\ufeff/, '')
    assert.deepEqual(large, parseSmall(Buffer.from(plain))?.value)
    if (large !== undefined) assert.deepEqual(JSON.parse(String(await writeLarge(large))), JSON.parse(plain))
  })
