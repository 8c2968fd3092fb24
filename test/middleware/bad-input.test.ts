import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { test, type TestContext } from 'node:test'
import { brotliCompressSync, constants, deflateSync, gzipSync } from 'node:zlib'
import { codeOf, startPool, turn, type PoolOptions, type TestPool } from '../kit/pool.js'
import { EVENT_STREAM, OUTPUT, intercept } from '../kit/stream.js'
import { rleZstd, zstdOf } from '../kit/zstd.js'

const MB = 1024 * 1024
const everyone: PoolOptions = {
  codex: [{ id: 'alice' }],
  gemini: [{ id: 'g1' }],
  geminiApiKeys: [{ id: 'k1' }],
}
const CODEX = '/v1/responses'
const GEMINI = '/v1internal:streamGenerateContent?alt=sse'
const GEMINI_API = '/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse'

interface Answered {
  readonly status: number
  readonly body: unknown
}

/** Sends bytes as they are, and reads what comes until the gateway closes. `end`: half-closes first. */
async function raw(pool: TestPool, bytes: string | Buffer, end = false): Promise<Answered> {
  const { port, hostname } = new URL(pool.url)
  const socket = net.connect(Number(port), hostname)
  // The gateway may have hung up before all has been written.
  socket.on('error', () => {})
  socket.write(bytes)
  if (end) socket.end()
  const chunks: Buffer[] = []
  socket.on('data', (chunk) => chunks.push(chunk))
  await once(socket, 'close')
  const [head = '', body = ''] = Buffer.concat(chunks).toString().split('\r\n\r\n')
  return { status: Number(head.split(' ')[1]), body: body.startsWith('{') ? JSON.parse(body) : body }
}

const head = (line: string, ...headers: string[]): string =>
  [line, 'host: localhost', 'connection: close', ...headers, '', ''].join('\r\n')

const json = 'content-type: application/json'

function post(path: string, body: string | Buffer, ...headers: string[]): Buffer {
  const bytes = Buffer.from(body)
  const lines = [json, `content-length: ${bytes.length}`, ...headers]
  return Buffer.concat([Buffer.from(head(`POST ${path} HTTP/1.1`, ...lines)), bytes])
}

/** Refused clearly, no upstream has heard of it, and the next request is served. */
async function refused(t: TestContext, bytes: string | Buffer, code: string, end = false): Promise<void> {
  const pool = await startPool(t, everyone)
  const { status, body } = await raw(pool, bytes, end)
  assert.ok(status >= 400 && status < 500, `status ${status}`)
  assert.equal(reasonOf(body) ?? codeOf(body), code)
  assert.deepEqual(
    pool.sim.requests.filter(({ path }) => !path.endsWith(':loadCodeAssist')),
    [],
  )
  for (const { inFlight } of pool.gateway.accounts()) assert.equal(inFlight, 0)
  await pool.ask('next').expect(200)
}

/** The code of an error of the gateway's own in Google's form, where `code` is the status. */
function reasonOf(body: unknown): unknown {
  return (body as { error?: { details?: { reason?: string }[] } }).error?.details?.[0]?.reason
}

const deep = `{"a":${'['.repeat(200_000)}${']'.repeat(200_000)}}`
const notJson: Record<string, string | Buffer> = {
  'cut off': '{"model":"gpt-5.5","input":[',
  'no JSON at all': 'hello',
  'JSON behind a byte order mark': '\ufeff{"model":"gemini-2.5-pro","project":"mine"}',
  'two JSON values': '{}{}',
}
for (const [name, body] of Object.entries(notJson))
  for (const path of [CODEX, GEMINI])
    test(`a body that had to be read and is not JSON is refused: ${name}, ${path}`, (t) =>
      refused(t, post(path, body), 'bad_json'))

test('a body that need not be read is the upstream’s to judge', async (t) => {
  const pool = await startPool(t, everyone)
  const named = ['session-id: s1', 'x-codex-routing-hint: model=gpt-5.5']
  const { status } = await raw(pool, post(CODEX, '{"model":', ...named))
  assert.equal(status, 400)
  assert.equal(pool.sim.requests[0]?.raw.toString(), '{"model":')
  assert.equal((await raw(pool, post(GEMINI_API, '{"contents":'))).status, 400)
})

test('JSON nested too deeply to be written again is refused', (t) =>
  refused(t, post(GEMINI, deep), 'bad_json'))

const text = JSON.stringify(turn())
const encodings: Record<string, { body: Buffer | string; encoding: string; code: string; path?: string }> = {
  'gzip that is none': { body: text, encoding: 'gzip', code: 'bad_content_encoding' },
  'br that is none': { body: text, encoding: 'br', code: 'bad_content_encoding' },
  'deflate that is none': { body: text, encoding: 'deflate', code: 'bad_content_encoding' },
  'zstd that is none': { body: text, encoding: 'zstd', code: 'bad_content_encoding' },
  'gzip cut off': { body: gzipSync(text).subarray(0, 50), encoding: 'gzip', code: 'bad_content_encoding' },
  'zstd cut off': { body: zstdOf(text).subarray(0, 50), encoding: 'zstd', code: 'bad_content_encoding' },
  'br named gzip': { body: brotliCompressSync(text), encoding: 'gzip', code: 'bad_content_encoding' },
  'an encoding that nobody knows, where the body must be rewritten': {
    body: text,
    encoding: 'rot13',
    code: 'unknown_encoding',
    path: GEMINI,
  },
  'two encodings, where the body must be rewritten': {
    body: gzipSync(gzipSync(text)),
    encoding: 'gzip, gzip',
    code: 'unknown_encoding',
    path: GEMINI,
  },
}
for (const [name, { body, encoding, code, path = CODEX }] of Object.entries(encodings))
  test(`a wrong content-encoding is refused: ${name}`, (t) =>
    refused(t, post(path, body, `content-encoding: ${encoding}`), code))

const zeros = Buffer.alloc(32 * MB)
const bombs: Record<string, () => Buffer> = {
  gzip: () => gzipSync(zeros),
  deflate: () => deflateSync(zeros),
  br: () => brotliCompressSync(zeros, { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } }),
  zstd: () => rleZstd(100 * MB),
  'zstd in one huge piece': () => rleZstd(200 * MB),
}
for (const [name, bomb] of Object.entries(bombs))
  test(`a bomb is refused before it has grown: ${name}`, (t) =>
    refused(t, post(CODEX, bomb(), `content-encoding: ${name.split(' ')[0]}`), 'body_too_large'))

for (const frames of [1, 2])
  test(`zstd that asks for a window of 2 GB is refused, in frame ${frames}`, async (t) => {
    const before = process.memoryUsage().rss
    const body = Buffer.concat([...Array(frames - 1).fill(zstdOf('{')), rleZstd(1000, 2_000_000_000)])
    await refused(t, post(CODEX, body, 'content-encoding: zstd'), 'body_too_large')
    assert.ok(process.memoryUsage().rss - before < 150 * MB, 'room was made for it')
  })

test('a Content-Length that promises more than comes reaches nobody', (t) =>
  refused(t, head(`POST ${CODEX} HTTP/1.1`, json, 'content-length: 1000') + text, 'malformed_request', true))

test('what comes beyond the Content-Length is a request of its own', async (t) => {
  const pool = await startPool(t, everyone)
  const first = `POST ${CODEX} HTTP/1.1\r\nhost: localhost\r\n${json}\r\ncontent-length: ${text.length}\r\n\r\n${text}`
  const { status } = await raw(pool, first + head('GET /v2/nobody HTTP/1.1'))
  assert.equal(status, 200)
  assert.deepEqual(
    pool.sim.requests.map(({ raw }) => raw.toString()),
    [text],
  )
})

test('what is no HTTP behind a request ends its answer, and is not mixed into it', async (t) => {
  const pool = await startPool(t, everyone)
  const taken = intercept(pool.sim)
  const { port, hostname } = new URL(pool.url)
  const socket = net.connect(Number(port), hostname)
  socket.write(`POST ${CODEX} HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${text.length}\r\n\r\n${text}`)
  const { response } = await taken
  response.writeHead(200, EVENT_STREAM).write(OUTPUT)
  const [begun] = await once(socket, 'data')
  assert.match(String(begun), /^HTTP\/1.1 200/)
  const more: string[] = []
  socket.on('data', (chunk) => more.push(String(chunk)))
  socket.write('this is no HTTP\r\n\r\n')
  await once(socket, 'close')
  assert.doesNotMatch(more.join(''), /HTTP/)
})

for (const path of [CODEX, GEMINI, GEMINI_API])
  test(`a body of 300 MB is refused before it arrives: ${path}`, (t) =>
    refused(t, head(`POST ${path} HTTP/1.1`, json, `content-length: ${300 * MB}`), 'body_too_large'))

test('a thousand headers are refused', (t) => {
  const headers = Array.from({ length: 1000 }, (_, index) => `x-${index}: 1`)
  return refused(t, head('GET /v1/models HTTP/1.1', ...headers), 'too_many_headers')
})

test('headers beyond all measure are refused', (t) =>
  refused(t, head('GET /v1/models HTTP/1.1', `x-long: ${'x'.repeat(70_000)}`), 'headers_too_large'))

const body = 'hello'
const shapes: Record<string, string> = {
  'Content-Length and Transfer-Encoding': head(
    `POST ${CODEX} HTTP/1.1`,
    'content-length: 5',
    'transfer-encoding: chunked',
  ),
  'two Content-Lengths': head(`POST ${CODEX} HTTP/1.1`, 'content-length: 5', 'content-length: 6') + body,
  'a list of Content-Lengths': head(`POST ${CODEX} HTTP/1.1`, 'content-length: 5, 5') + body,
  'a Content-Length with a sign': head(`POST ${CODEX} HTTP/1.1`, 'content-length: +5') + body,
  'Transfer-Encoding that does not end in chunked': head(
    `POST ${CODEX} HTTP/1.1`,
    'transfer-encoding: chunked, gzip',
  ),
  'a disguised Transfer-Encoding': head(`POST ${CODEX} HTTP/1.1`, 'transfer-encoding: xchunked'),
  'a folded header': head(`POST ${CODEX} HTTP/1.1`, 'x-folded: a', ' transfer-encoding: chunked'),
  'a space before the colon': head(`POST ${CODEX} HTTP/1.1`, 'content-length : 5') + body,
  'a bare line feed in a header': head(`POST ${CODEX} HTTP/1.1`, 'x-a: b\ntransfer-encoding: chunked'),
  'a zero byte in a header': head(`POST ${CODEX} HTTP/1.1`, 'x-a: b\0c'),
  'a chunk whose size is no number': `${head(`POST ${CODEX} HTTP/1.1`, 'transfer-encoding: chunked')}zz\r\nhello\r\n`,
  'a chunk longer than it says': `${head(`POST ${CODEX} HTTP/1.1`, 'transfer-encoding: chunked')}3\r\nhello\r\n0\r\n\r\n`,
  'a method that nobody knows': head(`SMUGGLE ${CODEX} HTTP/1.1`),
  'a version that nobody knows': head(`GET ${CODEX} HTTP/9.9`),
  'no HTTP': 'hello\r\n\r\n',
}
for (const [name, bytes] of Object.entries(shapes))
  test(`what could be read in two ways is refused: ${name}`, (t) => refused(t, bytes, 'malformed_request'))

const targets: Record<string, { target: string; code: string }> = {
  'in absolute form, of another host': { target: 'http://chatgpt.com/v1/models', code: 'host_not_allowed' },
  'in asterisk form': { target: '*', code: 'no_route' },
  'with dot segments': { target: '/v1/../admin', code: 'bad_path' },
  'with dot segments in disguise': { target: '/v1/%2e%2e/backend-api/wham/usage', code: 'bad_path' },
  'with dot segments behind a backslash': { target: '/v1/x\\..\\..\\y', code: 'bad_path' },
  'with dot segments behind a coded slash': { target: '/v1/x%2f..%2fy', code: 'bad_path' },
  'with a backslash': { target: '/backend-api/ps\\mcp', code: 'bad_path' },
  'with a coded backslash': { target: '/backend-api/ps%5Cmcp', code: 'bad_path' },
  'with a fragment': { target: '/backend-api/ps/mcp#x', code: 'bad_path' },
  'with a zero': { target: '/backend-api/ps/mcp%00', code: 'bad_path' },
  'with a broken percent sign': { target: '/v1/models%', code: 'bad_path' },
  'of nobody': { target: '/v2/models', code: 'no_route' },
}
for (const [name, { target, code }] of Object.entries(targets))
  test(`a target is refused: ${name}`, (t) => refused(t, head(`GET ${target} HTTP/1.1`), code))

for (const method of ['TRACE', 'PROPFIND', 'LINK'])
  test(`the method ${method} is refused`, (t) =>
    refused(t, head(`${method} /v1/models HTTP/1.1`), 'bad_method'))

test('a tunnel is refused', (t) => refused(t, head('CONNECT chatgpt.com:443 HTTP/1.1'), 'no_tunnels'))
