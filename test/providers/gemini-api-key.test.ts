import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Conversation, Credential, Provider, Verdict } from '../../config/provider.js'
import { geminiApiKey, nextPacificMidnight } from '../../providers/gemini-api-key.js'
import { startSimulator } from '../../src/simulator/index.js'
import { account, answer, request } from '../kit/provider.js'

const providerAt = (upstream: string) => geminiApiKey({ upstream }) as Required<Provider>
const provider = providerAt('https://api.test')
const url = '/v1beta/models/gemini-x:streamGenerateContent?alt=sse'

test('a file with an API key is an account, and no other file is', () => {
  const inspect = (credential: unknown) => provider.inspect(credential as Credential)
  assert.deepEqual(inspect({ api_key: 'AIza' }), { kind: 'api-key', label: 'API key' })
  assert.match(inspect({ access_token: 'ya29' }) as string, /"api_key"/)
  assert.match(inspect({ api_key: '' }) as string, /"api_key"/)
  assert.match(inspect({ api_key: 'AIza\n' }) as string, /line break/)
  assert.match(inspect([]) as string, /"api_key"/)
})

test('the key goes where the API expects it, and the caller’s bearer goes nowhere', async () => {
  const headers = await provider.authorize({
    credential: { api_key: 'AIza' },
    model: undefined,
    request: request(),
  })
  assert.deepEqual(headers, { 'x-goog-api-key': 'AIza', authorization: undefined })
})

test('path, model and what may be sent twice are in the path', () => {
  assert.equal(provider.path(request({ url: `/${url}` }), account({})), url)
  assert.equal(provider.model(request({ url })), 'gemini-x')
  assert.equal(provider.model(request({ url: '/v1beta/models' })), undefined)
  assert.equal(provider.replayable(request({ url })), true)
  for (const path of ['/v1beta/files', '/v1beta/cachedContents', '/v1beta/models/x:predictLongRunning'])
    assert.equal(provider.replayable(request({ url: path })), false, path)
})

describe('a conversation', () => {
  const turn = (text: string) => ({ role: 'user', parts: [{ text }] })
  const history = (body: object, at = url) =>
    (provider.conversation(request({ url: at, body })) as Conversation | undefined)?.history?.parts

  test('is known by what was said, whatever the instruction', () => {
    const begun = { systemInstruction: { parts: [{ text: 'be kind' }] }, contents: [turn('hi')] }
    const later = { contents: [turn('hi'), { role: 'model', parts: [{ text: 'hello' }] }, turn('more')] }
    assert.deepEqual(history(begun), [{ byModel: false, text: 'hi' }])
    assert.deepEqual(history(later)?.slice(0, 1), history(begun))
    const chat = {
      messages: [
        { role: 'system', content: 'be kind' },
        { role: 'user', content: 'hi' },
      ],
    }
    assert.deepEqual(history(chat, '/v1beta/openai/chat/completions'), history(begun))
  })

  test('is unknown without a body or an answer to come, and a person’s where no model is asked', () => {
    assert.equal(provider.conversation(request({ url })), undefined)
    const counting = url.replace(/:.*/, ':countTokens')
    assert.equal(
      provider.conversation(request({ url: counting, body: { contents: [turn('hi')] } })),
      undefined,
    )
    assert.deepEqual(provider.conversation(request({ url: '/v1beta/files', client: 'c' })), {
      id: 'caller:c',
    })
  })
})

describe('a verdict', () => {
  const RPC = 'type.googleapis.com/google.rpc'
  const info = (reason: string) => ({ '@type': `${RPC}.ErrorInfo`, reason, domain: 'googleapis.com' })
  const retry = (retryDelay: string) => ({ '@type': `${RPC}.RetryInfo`, retryDelay })
  const quota = (id: string) => ({
    '@type': `${RPC}.QuotaFailure`,
    violations: [{ quotaId: id, quotaDimensions: {} }],
  })
  const error = (code: number, message: string, ...details: object[]) => ({
    error: { code, message, details },
  })
  const judge = (status: number, body: object) => provider.classify(answer(status, body), request({ url }))
  const model = 'gemini-x'

  const rows: [what: string, status: number, body: object, verdict: Partial<Verdict>][] = [
    ['a request’s own fault', 400, error(400, 'Invalid JSON payload'), { kind: 'pass' }],
    [
      'a key that is not valid',
      400,
      error(400, 'API key not valid.', info('API_KEY_INVALID')),
      { kind: 'needs-login' },
    ],
    ['a key for other APIs', 403, error(403, 'x', info('API_KEY_SERVICE_BLOCKED')), { kind: 'exhausted' }],
    ['a leaked key', 403, error(403, 'Your API key was reported as leaked.'), { kind: 'needs-login' }],
    [
      'a place where free keys are not served',
      400,
      error(400, 'User location is not supported for the API use.'),
      { kind: 'exhausted', reason: 'not_served: User location is not supported for the API use.' },
    ],
    ['a model that is not there', 404, error(404, 'x'), { kind: 'refused', model }],
    [
      'a limit per minute',
      429,
      error(429, 'x', quota('GenerateRequestsPerMinutePerProjectPerModel-FreeTier'), retry('38s')),
      { kind: 'cooling', model, retryAfterMs: 38_000 },
    ],
    [
      'a limit per minute without a delay',
      429,
      error(429, 'x', quota('GenerateRequestsPerMinutePerProjectPerModel')),
      { kind: 'cooling', retryAfterMs: 60_000 },
    ],
    ['an overload', 503, error(503, 'The model is overloaded.'), { kind: 'unavailable' }],
  ]
  for (const [what, status, body, expected] of rows) {
    test(`on ${what} is ${expected.kind}`, () => {
      const verdict = judge(status, body)
      assert.deepEqual({ ...verdict, ...expected }, verdict)
    })
  }

  const perDay = quota('GenerateRequestsPerDayPerProjectPerModel-FreeTier')
  const midnightOf = (...details: object[]) => {
    // The midnight of before or after the call: the test may run over it.
    const around = [nextPacificMidnight(Date.now())]
    const verdict = judge(429, error(429, 'x', perDay, ...details))
    around.push(nextPacificMidnight(Date.now()))
    assert.ok(verdict.kind === 'exhausted')
    return around.includes(verdict.resetsAt!)
  }

  test('on a limit per day lasts until midnight in California, whatever short delay comes with it', () => {
    assert.ok(midnightOf())
    assert.ok(midnightOf(retry('12s')))
  })

  test('on a limit per day believes a delay that is long enough for one', () => {
    const before = Date.now()
    const verdict = judge(429, error(429, 'x', perDay, retry('3600s')))
    assert.ok(verdict.kind === 'exhausted' && verdict.resetsAt! >= before + 3_600_000)
    assert.ok(verdict.resetsAt! <= Date.now() + 3_600_000)
  })
})

describe('midnight in California', () => {
  for (const [what, now, midnight] of [
    ['in winter', '2026-01-15T12:00:00Z', '2026-01-16T08:00:00Z'],
    ['in summer', '2026-07-15T12:00:00Z', '2026-07-16T07:00:00Z'],
    ['a second before', '2026-07-16T06:59:59Z', '2026-07-16T07:00:00Z'],
    ['at midnight, is the next one', '2026-07-16T07:00:00Z', '2026-07-17T07:00:00Z'],
    ['on the short day, before the change', '2026-03-08T09:00:00Z', '2026-03-09T07:00:00Z'],
    ['on the short day, after the change', '2026-03-08T18:00:00Z', '2026-03-09T07:00:00Z'],
    ['on the long day, before the change', '2026-11-01T07:30:00Z', '2026-11-02T08:00:00Z'],
    ['on the long day, after the change', '2026-11-01T20:00:00Z', '2026-11-02T08:00:00Z'],
  ] as const) {
    test(`is found ${what}`, () =>
      assert.equal(
        new Date(nextPacificMidnight(Date.parse(now))).toISOString(),
        new Date(midnight).toISOString(),
      ))
  }
})

test('a request is served by a strict upstream, and a revoked key is judged for what it is', async () => {
  const sim = await startSimulator({ geminiApiKeys: [{ id: 'alice' }] })
  try {
    const [key] = sim.gemini.apiKeys
    const here = providerAt(sim.url)
    const asked = request({ url: '/v1beta/models/gemini-2.5-pro:generateContent' })
    const credential = key!.credential()
    const { 'x-goog-api-key': sent } = await here.authorize({ credential, model: undefined, request: asked })
    const send = () =>
      fetch(sim.url + here.path(asked, account(credential)), {
        method: 'POST',
        headers: { 'x-goog-api-key': sent!, 'content-type': 'application/json' },
        body: JSON.stringify({ contents: [{ role: 'user', parts: [{ text: 'hi' }] }] }),
      })
    const served = await send()
    assert.equal(served.status, 200)
    assert.ok(here.usage(await served.json())!.totalTokens! > 0)
    key!.revoked = true
    const refused = await send()
    assert.equal(here.classify(answer(refused.status, await refused.text()), asked).kind, 'needs-login')
    assert.deepEqual(sim.violations, [])
  } finally {
    await sim.close()
  }
})
