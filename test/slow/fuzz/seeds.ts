import { jwt } from '../../../src/simulator/json.js'

const inAnHour = Math.floor(Date.now() / 1000) + 3_600

/** A login that needs no refresh while the fuzzer runs. */
export const LOGIN = {
  auth_mode: 'chatgpt',
  OPENAI_API_KEY: null,
  tokens: {
    id_token: jwt({ email: 'fuzz@example.com', exp: inAnHour }),
    access_token: jwt({ exp: inAnHour, 'https://api.openai.com/auth': { chatgpt_account_id: 'acct-fuzz' } }),
    refresh_token: 'rt_fuzz',
    account_id: 'acct-fuzz',
  },
  last_refresh: '2026-01-01T00:00:00Z',
}

/** Credential files, by a name that the pool reads. */
export const CREDENTIALS: readonly (readonly [name: string, content: object])[] = [
  ['mutant.json', LOGIN],
  ['gemini_mutant.json', { access_token: 'ya29.a', refresh_token: '1//r', expiry_date: 1_900_000_000_000 }],
  ['gemini_key.json', { api_key: 'AIzaSyFuzzFuzzFuzz' }],
  ['plain_mutant.json', { token: 'a-token' }],
]

export const QUESTION = JSON.stringify({
  model: 'gpt-5.5',
  stream: true,
  input: [{ type: 'message', role: 'user', content: [{ type: 'input_text', text: 'good-question' }] }],
})

const post = (path: string, body: string, headers = ''): string =>
  `POST ${path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nsession-id: s-1\r\n${headers}` +
  `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`

const get = (path: string, headers = ''): string =>
  `GET ${path} HTTP/1.1\r\nhost: localhost\r\n${headers}connection: close\r\n\r\n`

const handshake = (path: string): string =>
  `GET ${path} HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n` +
  'sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-extensions: permessage-deflate\r\n\r\n'

/** A client's frame, masked as it has to be (with zeros, so that the text stays readable). */
export function clientFrame(text: string, opcode = 1): Buffer {
  const body = Buffer.from(text)
  const head = body.length < 126 ? Buffer.from([0x80 | opcode, 0x80 | body.length]) : Buffer.alloc(4)
  if (body.length >= 126) {
    head[0] = 0x80 | opcode
    head[1] = 0x80 | 126
    head.writeUInt16BE(body.length, 2)
  }
  return Buffer.concat([head, Buffer.alloc(4), body])
}

/** Whole requests, as bytes on a connection. */
export const REQUESTS: readonly Buffer[] = [
  post('/v1/responses', QUESTION),
  post('/plain/anything?key=secret&x=1', QUESTION, 'accept-encoding: gzip\r\n'),
  post('/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse', '{"contents":[]}'),
  post(
    '/v1internal:streamGenerateContent?alt=sse',
    '{"model":"m","project":"p","request":{"session_id":"s"}}',
  ),
  'POST /v1/responses HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\ntrailer: x\r\n\r\n',
  get('/v1/models'),
  get('/healthz'),
  get('/metrics'),
  get('/admin/accounts'),
  get('/admin/requests/x'),
  get('/backend-api/wham/usage', 'chatgpt-account-id: acct-1\r\n'),
  get('/backend-api/wham/accounts/check', 'chatgpt-account-id: acct-1\r\n'),
  get('/k/a-key-that-is-long-enough/v1/models'),
  get('/plain/ranges', 'range: bytes=0-1\r\nif-none-match: "x"\r\n'),
  'OPTIONS /v1/models HTTP/1.1\r\nhost: localhost\r\norigin: https://example.com\r\n\r\n',
  'HEAD http://localhost/v1/responses HTTP/1.0\r\n\r\n',
  handshake('/v1/responses'),
  handshake('/plain/socket'),
].map((text) => Buffer.from(text))

/** A handshake and frames behind it, as bytes on a connection. */
export const SOCKETS: readonly Buffer[] = [
  Buffer.concat([
    Buffer.from(handshake('/v1/responses')),
    clientFrame(JSON.stringify({ type: 'response.create', model: 'gpt-5.5', input: [] })),
    clientFrame('', 9),
    clientFrame('{}', 8),
  ]),
  Buffer.concat([Buffer.from(handshake('/plain/socket')), clientFrame('x'.repeat(300), 2), clientFrame('y')]),
]

/** An upstream's frame of text. */
function serverFrame(text: string): Buffer {
  const body = Buffer.from(text)
  if (body.length < 126) return Buffer.concat([Buffer.from([0x81, body.length]), body])
  const head = Buffer.from([0x81, 126, 0, 0])
  head.writeUInt16BE(body.length, 2)
  return Buffer.concat([head, body])
}

/** What an upstream sends on a WebSocket. */
export const UPSTREAM_FRAMES: readonly Buffer[] = [
  [
    { type: 'response.created', response: { id: 'r' } },
    { type: 'response.output_text.delta', delta: 'yes' },
  ],
  [
    {
      type: 'error',
      status: 429,
      error: { type: 'usage_limit_reached', resets_at: 1_900_000_000 },
      headers: {},
    },
  ],
  [{ type: 'error', status_code: 401, error: { code: 'token_expired' } }],
  [
    {
      type: 'codex.rate_limits',
      plan_type: 'pro',
      rate_limits: { primary: { used_percent: 77, window_minutes: 300, reset_at: 1_900_000_000 } },
      credits: { has_credits: true, unlimited: false, balance: '12.5' },
    },
    { type: 'response.completed', response: { id: 'r', usage: { input_tokens: 1, output_tokens: 2 } } },
  ],
].map((frames) => Buffer.concat(frames.map((frame) => serverFrame(JSON.stringify(frame)))))

const answer = (status: string, headers: string, body: string): string =>
  `HTTP/1.1 ${status}\r\n${headers}content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`

const event = (data: object): string => `data: ${JSON.stringify(data)}\n\n`

const STREAM = [
  event({ type: 'response.created', response: { id: 'r1' } }),
  event({ type: 'response.output_text.delta', delta: 'yes' }),
  event({
    type: 'response.completed',
    response: { id: 'r1', usage: { input_tokens: 1, output_tokens: 1, total_tokens: 2 } },
  }),
].join('')

const SSE = 'content-type: text/event-stream\r\n'
const JSON_TYPE = 'content-type: application/json\r\n'

/** The answer to a good question. */
export const GOOD_ANSWER = Buffer.from(answer('200 OK', SSE, STREAM))

/** Whole answers of an upstream, as bytes on a connection. */
export const ANSWERS: readonly Buffer[] = [
  answer('200 OK', SSE, STREAM),
  answer(
    '200 OK',
    `${SSE}x-codex-primary-used-percent: 50\r\nx-codex-primary-window-minutes: 300\r\nx-codex-primary-reset-at: 1900000000\r\n`,
    STREAM,
  ),
  answer('200 OK', `${JSON_TYPE}content-encoding: gzip\r\n`, '{"usage":{"input_tokens":1}}'),
  answer('200 OK', 'trailer: x-end\r\nset-cookie: a=b\r\n', 'plain'),
  answer(
    '200 OK',
    SSE,
    event({
      type: 'response.failed',
      response: { error: { code: 'rate_limit_exceeded', message: 'Please try again in 1.5s' } },
    }),
  ),
  answer('200 OK', SSE, event({ error: { code: 429, status: 'RESOURCE_EXHAUSTED', details: [] } })),
  answer(
    '429 Too Many',
    `${JSON_TYPE}retry-after: 1\r\n`,
    JSON.stringify({ error: { type: 'usage_limit_reached', resets_at: 1_900_000_000, plan_type: 'pro' } }),
  ),
  answer('401 No', JSON_TYPE, '{"error":{"code":"token_expired"}}'),
  answer('403 No', 'content-type: text/html\r\n', '<html>challenge</html>'),
  answer(
    '400 Bad',
    JSON_TYPE,
    '{"detail":"The \'x\' model is not supported when using Codex with a ChatGPT account."}',
  ),
  answer('404 Not', JSON_TYPE, '[{"error":{"code":404,"errors":[{"reason":"notFound"}]}}]'),
  answer('503 Busy', JSON_TYPE, '{"error":{"code":"server_is_overloaded"}}'),
  'HTTP/1.1 204 No Content\r\n\r\n',
  'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\ndata\r\n0\r\nx-end: 1\r\n\r\n',
  'HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n',
].map((text) => Buffer.from(text))

/** Configurations that load. */
export const CONFIGS: readonly Buffer[] = [
  { listen: '127.0.0.1:0', routes: [{ path: '/x', provider: 'codex', strategy: { sticky: 'round-robin' } }] },
  {
    providers: { mine: { type: 'bearer', upstream: 'https://example.com' }, gemini: false },
    retry: { slow: { attempts: 2 } },
  },
  {
    access: { hosts: ['a.example'], origins: ['https://a.example'], keys: { me: 'a-key-of-enough-letters' } },
    log: { level: 'warn' },
  },
].map((config) => Buffer.from(JSON.stringify(config)))
