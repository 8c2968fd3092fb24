import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Provider, Verdict } from '../../config/provider.js'
import { createProvider } from '../../providers/index.js'
import { durationMs, retryAfterMs, waitInMessage } from '../../providers/http.js'
import { account, answer, request } from '../kit/provider.js'

const bearer = createProvider('acme', { type: 'bearer', upstream: 'https://acme.test' }) as Required<Provider>

describe('a bearer provider', () => {
  test('reads files of its own name, each with a token', () => {
    assert.equal(bearer.credentials, 'acme_*.json')
    assert.deepEqual(bearer.inspect({ token: 't-1' }), { kind: 'token' })
    assert.match(bearer.inspect({ key: 't-1' }) as string, /"token"/)
    assert.match(bearer.inspect({ token: 't 1' }) as string, /space/)
    const named = createProvider('acme', {
      type: 'bearer',
      upstream: 'https://acme.test',
      credentials: 'mine-*.json',
    })
    assert.equal(named.credentials, 'mine-*.json')
  })

  test('sends the token of the account', async () => {
    const credential = { token: 't-1' }
    assert.deepEqual(await bearer.authorize({ credential, model: undefined, request: request() }), {
      authorization: 'Bearer t-1',
    })
  })

  for (const [route, url, path] of [
    ['/acme', '/acme/v1/chat?x=1', '/v1/chat?x=1'],
    ['/acme', '/acme', '/'],
    ['/acme', '/acme?x=1', '/?x=1'],
    ['/acme/', '/acme/v1', '/v1'],
    ['/', '/v1', '/v1'],
  ] as const) {
    test(`takes the route ${route} off ${url}`, () =>
      assert.equal(bearer.path(request({ route, url }), account({})), path))
  }

  const rows: [status: number, headers: Record<string, string>, verdict: Partial<Verdict>][] = [
    [200, {}, { kind: 'pass' }],
    [400, {}, { kind: 'pass' }],
    [401, {}, { kind: 'unauthorized' }],
    [402, {}, { kind: 'exhausted' }],
    [403, {}, { kind: 'refused' }],
    [403, { 'content-type': 'text/html; charset=utf-8' }, { kind: 'unavailable' }],
    [404, {}, { kind: 'pass' }],
    [408, {}, { kind: 'unavailable' }],
    [429, { 'retry-after': '7' }, { kind: 'cooling', retryAfterMs: 7_000 }],
    [429, {}, { kind: 'cooling', retryAfterMs: undefined }],
    [500, {}, { kind: 'unavailable' }],
    [503, { 'retry-after': '2' }, { kind: 'unavailable', retryAfterMs: 2_000 }],
    [529, {}, { kind: 'unavailable' }],
  ]
  for (const [status, headers, expected] of rows) {
    test(`judges ${status} ${JSON.stringify(headers)} as ${expected.kind}`, () => {
      const verdict = bearer.classify(answer(status, '{}', headers), request())
      assert.deepEqual({ ...verdict, ...expected }, verdict)
    })
  }

  test('reads the usage of a chat completion', () => {
    const usage = {
      prompt_tokens: 3,
      prompt_tokens_details: { cached_tokens: 1 },
      completion_tokens: 2,
      total_tokens: 5,
    }
    assert.deepEqual(bearer.usage({ usage }), {
      inputTokens: 3,
      cachedTokens: 1,
      outputTokens: 2,
      reasoningTokens: undefined,
      totalTokens: 5,
    })
  })

  test('says in OpenAI’s shape what went wrong', () => {
    const failed = bearer.failure({ status: 503, code: 'accounts_cooling', message: 'why' }, request())
    const error = { message: 'why', type: 'codex_pool_error', code: 'accounts_cooling' }
    assert.deepEqual(failed, { status: 503, body: { error } })
    assert.equal(bearer.exhausted({}, request()).status, 429)
  })
})

describe('a provider of one’s own', () => {
  const authorize = () => ({ 'api-key': 'k' })

  test('needs three facts, and has the defaults for the rest', () => {
    const own = createProvider('azure', { type: 'custom', upstream: 'https://me.test', authorize })
    assert.deepEqual([own.upstream, own.credentials], ['https://me.test', 'azure_*.json'])
    assert.deepEqual(own.authorize({ credential: {}, model: undefined, request: request() }), {
      'api-key': 'k',
    })
    assert.equal(own.classify?.(answer(429), request()).kind, 'cooling')
    assert.equal(own.inspect, undefined)
  })

  test('keeps what it states, and an undefined states nothing', () => {
    const classify = () => ({ kind: 'pass' }) as const
    const stated = {
      upstream: 'https://me.test',
      authorize,
      classify,
      credentials: 'x-*.json',
      usage: undefined,
    }
    const own = createProvider('azure', { type: 'custom', ...stated })
    assert.deepEqual(own.classify?.(answer(429), request()), { kind: 'pass' })
    assert.equal(own.credentials, 'x-*.json')
    assert.ok(own.usage)
  })
})

test('every built-in type makes its provider', () => {
  const bases = {
    responsesBase: 'a',
    whamBase: 'b',
    refreshBase: 'c',
    openaiBase: 'd',
    apiKeys: 'never',
    allow: [],
    codexHome: false,
  } as const
  const codex = createProvider('codex', { type: 'codex', ...bases, allow: [] })
  const gemini = createProvider('gemini', {
    type: 'gemini',
    upstream: 'u',
    refreshBase: 'r',
    loginBase: 'l',
    oauthClientId: 'i',
    oauthClientSecret: 's',
  })
  const key = createProvider('gemini-api-key', { type: 'gemini-api-key', upstream: 'u' })
  assert.deepEqual(
    [codex.credentials, gemini.credentials, key.credentials],
    ['*.json', 'gemini_*.json', 'gemini_*.json'],
  )
})

test('Retry-After is seconds or a date, and nothing else', () => {
  const now = Date.parse('2026-01-01T00:00:00Z')
  for (const [value, ms] of [
    ['120', 120_000],
    ['1.5', 1_500],
    ['Thu, 01 Jan 2026 00:00:30 GMT', 30_000],
    ['Wed, 31 Dec 2025 00:00:00 GMT', 0],
    ['-1', undefined],
    ['soon', undefined],
    ['', undefined],
    [undefined, undefined],
  ] as const)
    assert.equal(retryAfterMs(value, now), ms, value)
})

test('durations are read as upstreams write them', () => {
  for (const [value, ms] of [
    ['1h2m3s', 3_723_000],
    ['33740.910400305s', 33_740_911],
    ['250ms', 250],
    ['20 seconds', 20_000],
    ['1 hour 5 minutes', 3_900_000],
    ['1', undefined],
    ['', undefined],
    [5, undefined],
  ] as const)
    assert.equal(durationMs(value), ms, String(value))
  assert.equal(waitInMessage('Rate limit reached. Please try again in 11.054s. Visit …'), 11_054)
  assert.equal(waitInMessage('Try again in 2 days 3 hours.'), 183_600_000)
  assert.equal(waitInMessage('It resets at noon'), undefined)
})
