import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type {
  Credential,
  Inspection,
  PoolAccount,
  Provider,
  QuotaWindow,
  Verdict,
} from '../../config/provider.js'
import { gemini } from '../../providers/gemini.js'
import { account, answer, jwt, poolAccount, request, type RequestParts } from '../kit/provider.js'

const settings = {
  upstream: 'https://code.test',
  refreshBase: 'https://oauth.test',
  loginBase: 'https://accounts.test',
  oauthClientId: 'client-id',
  oauthClientSecret: 'client-secret',
}
const provider = gemini(settings) as Required<Provider>

const SESSION = '617f174f-0000-4000-8000-000000000001'
const ROTATED = '4d249378-0000-4000-8000-000000000002'
const ask = (method: string, parts: RequestParts = {}) => request({ url: `/v1internal:${method}`, ...parts })

describe('a credential file', () => {
  const inspect = (credential: unknown) => provider.inspect(credential as Credential)

  test('of Gemini CLI tells its e-mail and its end', () => {
    const creds = {
      access_token: 'ya29',
      refresh_token: '1//r',
      expiry_date: 5_000,
      id_token: jwt({ email: 'a@b.c' }),
    }
    const { login, ...rest } = inspect(creds) as Inspection
    assert.deepEqual(rest, {
      kind: 'code-assist',
      identity: 'a@b.c',
      label: 'a@b.c',
      expiresAt: 5_000,
      refreshable: true,
    })
    assert.ok(login && !login.includes('1//r'))
  })

  test('without an end has no known end; without an access token it has ended', () => {
    const end = (creds: object) => (inspect({ refresh_token: '1//r', ...creds }) as Inspection).expiresAt
    assert.equal(end({ access_token: 'ya29' }), undefined)
    assert.equal(end({}), 0)
  })

  test('of gcloud, or with the login in a field of its own, is read as well', () => {
    const adc = {
      type: 'authorized_user',
      client_id: 'c',
      client_secret: 's',
      refresh_token: '1//r',
      account: 'a@b.c',
    }
    const { login: _, ...told } = inspect(adc) as Inspection
    assert.deepEqual(told, {
      kind: 'code-assist',
      identity: 'a@b.c',
      label: 'a@b.c',
      expiresAt: 0,
      refreshable: true,
    })
    const expiry = '2026-01-01T00:00:00Z'
    const nested = { token: { access_token: 'ya29', refresh_token: '1//r', expiry }, email: 'a@b.c' }
    assert.equal((inspect(nested) as Inspection).expiresAt, Date.parse(expiry))
    assert.equal((inspect(nested) as Inspection).label, 'a@b.c')
  })

  test('with an end in microseconds or beyond the calendar has no known end', () => {
    for (const expiry_date of [1_780_000_000_000_000, 1e300, -1, '9'.repeat(400)])
      assert.equal((inspect({ access_token: 'ya29', expiry_date }) as Inspection).expiresAt, undefined)
  })

  for (const [what, credential, reason] of [
    ['a workload identity', { type: 'external_account' }, /workload identity/],
    ['an API key', { api_key: 'AIza' }, /API key/],
    ['a service account', { type: 'service_account', private_key: 'k' }, /service account/],
    ['an OAuth client', { installed: {} }, /OAuth client/],
    ['a Codex login', { tokens: {} }, /Codex CLI/],
    ['a list of accounts', { active: 'a@b.c', old: [] }, /list of accounts/],
    ['nothing', {}, /neither/],
    ['a list', [], /not a JSON object/],
    ['a token with a line break', { access_token: 'a\nb' }, /character/],
  ] as const) {
    test(`with ${what} is refused with the reason`, () => assert.match(inspect(credential) as string, reason))
  }
})

test('a request keeps its path and query, whatever the client’s endpoint ended with', () => {
  const path = (url: string) => provider.path(request({ url }), account({}))
  assert.equal(path('/v1internal:streamGenerateContent?alt=sse'), '/v1internal:streamGenerateContent?alt=sse')
  assert.equal(path('//v1internal:loadCodeAssist'), '/v1internal:loadCodeAssist')
})

test('only what creates nothing may be sent twice', () => {
  for (const method of [
    'generateContent',
    'streamGenerateContent',
    'countTokens',
    'retrieveUserQuota',
    'listExperiments',
  ])
    assert.equal(provider.replayable(ask(method)), true, method)
  for (const method of ['onboardUser', 'setCodeAssistGlobalUserSetting', 'recordCodeAssistMetrics'])
    assert.equal(provider.replayable(ask(method)), false, method)
})

describe('a conversation', () => {
  const of = (method: string, body: unknown) => provider.conversation(ask(method, { body }))
  const rows: [what: string, method: string, body: object, conversation: unknown][] = [
    [
      'the session id',
      'streamGenerateContent',
      { request: { session_id: SESSION }, user_prompt_id: `${SESSION}########1` },
      { id: SESSION },
    ],
    [
      'the session id and the prompt’s after a rotation',
      'generateContent',
      { request: { session_id: ROTATED }, user_prompt_id: `${SESSION}########1` },
      { id: ROTATED, aliases: [SESSION] },
    ],
    [
      'no random prompt id',
      'generateContent',
      { request: { session_id: SESSION }, user_prompt_id: '0123456789abc' },
      { id: SESSION },
    ],
    ['the prompt id alone', 'generateContent', { request: {}, user_prompt_id: SESSION }, { id: SESSION }],
    ['nothing', 'generateContent', { request: {} }, undefined],
    [
      'the trajectory of a report',
      'recordCodeAssistMetrics',
      { metrics: [{ conversationOffered: { trajectoryId: SESSION, traceId: 't' } }] },
      { id: SESSION },
    ],
    [
      'the trace of a report',
      'recordCodeAssistMetrics',
      { metrics: [{ conversationInteraction: { traceId: 't' } }] },
      { id: 't' },
    ],
    ['nobody where only tokens are counted', 'countTokens', { request: { model: 'models/x' } }, undefined],
  ]
  for (const [what, method, body, conversation] of rows) {
    test(`is known by ${what}`, () => assert.deepEqual(of(method, body), conversation))
  }

  test('finds the trace by which a later report names it', () => {
    assert.deepEqual(provider.aliases({ response: {}, traceId: 't' }), ['t'])
    assert.equal(provider.aliases({ response: {} }), undefined)
  })

  test('of settings and experiments is the person’s', () => {
    for (const method of ['listExperiments', 'setCodeAssistGlobalUserSetting', 'retrieveUserQuota'])
      assert.deepEqual(provider.conversation(ask(method, { client: 'laptop' })), { id: 'caller:laptop' })
  })
})

test('the model is the body’s, in either place', () => {
  assert.equal(provider.model(ask('generateContent', { body: { model: 'gemini-x' } })), 'gemini-x')
  assert.equal(
    provider.model(ask('countTokens', { body: { request: { model: 'models/gemini-x' } } })),
    'gemini-x',
  )
})

describe('the project', () => {
  const rewrite = (body: unknown) => provider.rewriteBody(body, account({}, { project: 'own' }), ask('x'))

  test('becomes the account’s own in every field that carries one', () => {
    const body = {
      project: 'p',
      cloudaicompanionProject: 'p',
      metadata: { duetProject: 'p', platform: 'X' },
      model: 'm',
    }
    assert.deepEqual(rewrite(body), {
      project: 'own',
      cloudaicompanionProject: 'own',
      metadata: { duetProject: 'own', platform: 'X' },
      model: 'm',
    })
    assert.equal(body.project, 'p')
  })

  test('is the one in the file, whatever was found', () => {
    const file = account({ project_id: 'mine' }, { project: 'found' })
    assert.deepEqual(provider.rewriteBody({ project: 'p' }, file, ask('x')), { project: 'mine' })
  })

  test('is not added where the client names none', () => {
    const body = { request: { model: 'm', project: 'mine' }, metadata: { platform: 'X' } }
    assert.deepEqual(rewrite(body), body)
    assert.deepEqual(rewrite([1]), [1])
  })
})

const RPC = 'type.googleapis.com/google.rpc'
const info = (reason: string, metadata: object = {}) => ({
  '@type': `${RPC}.ErrorInfo`,
  reason,
  domain: 'cloudcode-pa.googleapis.com',
  metadata,
})
const retry = (retryDelay: string) => ({ '@type': `${RPC}.RetryInfo`, retryDelay })
const violation = (quotaId: string) => ({ '@type': `${RPC}.QuotaFailure`, violations: [{ quotaId }] })
const error = (code: number, message: string, ...details: object[]) => ({
  error: { code, message, status: 'X', details },
})

describe('a verdict', () => {
  const asked = ask('generateContent', { body: { model: 'gemini-x' } })
  const judge = (status: number, body: object | string = {}, headers = {}) =>
    provider.classify(answer(status, body, headers), asked)
  const model = 'gemini-x'
  const SLEEP = 'You have exhausted your capacity on this model. Your quota will reset after 1h2m3s.'

  const rows: [what: string, status: number, body: object | string, verdict: Partial<Verdict>][] = [
    ['200', 200, '', { kind: 'pass' }],
    ['400', 400, error(400, 'Corrupted thought signature.'), { kind: 'pass' }],
    ['401', 401, {}, { kind: 'unauthorized' }],
    [
      '403 of a foreign project',
      403,
      error(403, 'Permission denied on resource project X.', info('CONSUMER_INVALID')),
      { kind: 'refused', model },
    ],
    ['403 page', 403, '<html>', { kind: 'unavailable' }],
    ['404', 404, error(404, 'Not found'), { kind: 'refused', model }],
    ['408', 408, '', { kind: 'unavailable' }],
    [
      '429 with RetryInfo',
      429,
      error(429, 'x', info('RATE_LIMIT_EXCEEDED'), retry('2.5s')),
      { kind: 'cooling', model, retryAfterMs: 2_500 },
    ],
    [
      '429 as a list',
      429,
      [error(429, 'x', info('RATE_LIMIT_EXCEEDED'), retry('2s'))],
      { kind: 'cooling', retryAfterMs: 2_000 },
    ],
    [
      '429 without details',
      429,
      error(429, 'Resource exhausted. Please retry in 3s'),
      { kind: 'cooling', model, retryAfterMs: 3_000 },
    ],
    ['429 in plain text', 429, 'slow down', { kind: 'cooling', model, retryAfterMs: undefined }],
    [
      '429 per minute',
      429,
      error(429, 'x', violation('GenerateRequestsPerMinutePerProjectPerModel')),
      { kind: 'cooling', retryAfterMs: 60_000 },
    ],
    [
      '429 per day',
      429,
      error(429, 'x', violation('GenerateRequestsPerDayPerProjectPerModel-FreeTier')),
      { kind: 'exhausted', model, resetsAt: undefined },
    ],
    [
      '429 per day, older form',
      429,
      error(429, 'x', info('RATE_LIMIT_EXCEEDED', { quota_limit: 'Gemini25ProRequestsPerDay' })),
      { kind: 'exhausted', model },
    ],
    [
      '429 with a time',
      429,
      error(
        429,
        SLEEP,
        info('QUOTA_EXHAUSTED', { quotaResetTimeStamp: '2033-05-18T03:33:20Z', quotaResetDelay: '1s' }),
        retry('1s'),
      ),
      { kind: 'exhausted', model, resetsAt: 2_000_000_000_000 },
    ],
    [
      '429 of capacity',
      429,
      error(429, 'x', info('MODEL_CAPACITY_EXHAUSTED'), retry('2s')),
      { kind: 'unavailable', reason: 'model_capacity' },
    ],
    [
      '429 of capacity in words',
      429,
      error(429, 'No capacity available for model gemini-x'),
      { kind: 'unavailable' },
    ],
    [
      '429 of a plan without the model',
      429,
      error(429, 'Quota exceeded, limit: 0'),
      { kind: 'refused', model },
    ],
    [
      '429 with a limit that only begins with 0',
      429,
      error(429, 'Quota exceeded, limit: 0.5'),
      { kind: 'cooling' },
    ],
    ['429 of credits', 429, error(429, 'x', info('INSUFFICIENT_G1_CREDITS_BALANCE')), { kind: 'exhausted' }],
    ['429 page', 429, '<html>', { kind: 'unavailable' }],
    ['499', 499, '', { kind: 'unavailable' }],
    ['500', 500, '', { kind: 'unavailable' }],
    ['502 page', 502, '<html>', { kind: 'unavailable' }],
    ['503 of capacity', 503, error(503, 'x', info('MODEL_CAPACITY_EXHAUSTED')), { kind: 'unavailable' }],
    ['503 of a quota', 503, error(503, 'x', info('QUOTA_EXHAUSTED')), { kind: 'exhausted' }],
  ]
  for (const [what, status, body, expected] of rows) {
    test(`on ${what} is ${expected.kind}`, () => {
      const verdict = judge(status, body)
      assert.deepEqual({ ...verdict, ...expected }, verdict)
    })
  }

  const hour = 3_723_000
  for (const [what, body, wait] of [
    [
      'a delay in the details',
      error(429, 'x', info('QUOTA_EXHAUSTED', { quotaResetDelay: '33740.910400305s' })),
      33_740_911,
    ],
    ['RetryInfo', error(429, 'x', info('QUOTA_EXHAUSTED'), retry('3723s')), hour],
    ['the message alone', error(429, SLEEP), hour],
    ['the newer message', error(429, 'Individual quota reached. Resets in 1h2m3s.'), hour],
    ['a long RetryInfo of a rate limit', error(429, 'x', info('RATE_LIMIT_EXCEEDED'), retry('3723s')), hour],
  ] as const) {
    test(`knows the end of a quota from ${what}`, () => {
      const before = Date.now()
      const verdict = judge(429, body)
      assert.ok(verdict.kind === 'exhausted' && verdict.resetsAt !== undefined)
      assert.ok(verdict.resetsAt >= before + wait && verdict.resetsAt <= Date.now() + wait)
    })
  }

  test('on an account that must be verified names the link', () => {
    const help = { '@type': `${RPC}.Help`, links: [{ description: 'Verify', url: 'https://verify.test/' }] }
    const verdict = judge(403, error(403, 'Verify your account', info('VALIDATION_REQUIRED'), help))
    assert.ok(verdict.kind === 'needs-login')
    assert.match(verdict.reason, /https:\/\/verify\.test\//)
  })

  test('on an account without a licence names the way out', () => {
    const verdict = judge(403, error(403, 'You do not have a valid license of this product. (#3501)'))
    assert.ok(verdict.kind === 'needs-login')
    assert.match(verdict.reason, /API key/)
  })
})

describe('the first events of a stream', () => {
  const read = (event: unknown) =>
    provider.classifyEvent(event, ask('streamGenerateContent', { body: { model: 'gemini-x' } }))
  test('are output once one of them shows something', () => {
    const candidate = (content: object, more: object = {}) => ({
      response: { candidates: [{ content, ...more }] },
      traceId: 't',
    })
    for (const visible of [
      candidate({ parts: [{ text: 'so' }] }),
      candidate({ parts: [{ text: 'so', thought: true }] }),
      candidate({ parts: [{ functionCall: { name: 'shell' } }] }),
      candidate({}, { finishReason: 'SAFETY' }),
      { response: { promptFeedback: { blockReason: 'SAFETY' } } },
      { choices: [{ delta: { content: 'so' } }] },
      { choices: [{ delta: {}, finish_reason: 'stop' }] },
    ])
      assert.equal(read(visible), 'output', JSON.stringify(visible))
    for (const hidden of [
      { response: { usageMetadata: {} } },
      candidate({}),
      candidate({ parts: [{ text: '' }] }),
      candidate({ parts: [{ text: '', thoughtSignature: 's' }] }),
      { choices: [{ delta: { role: 'assistant' }, finish_reason: null }] },
      { choices: [{ delta: { role: 'assistant', content: '' } }] },
    ])
      assert.equal(read(hidden), undefined, JSON.stringify(hidden))
  })
  test('may be an error', () => {
    assert.equal((read(error(503, 'x')) as Verdict).kind, 'unavailable')
    const limit = read(error(429, 'x', info('RATE_LIMIT_EXCEEDED'), retry('2s')))
    assert.deepEqual(limit, {
      kind: 'cooling',
      reason: 'rate_limit_exceeded: x',
      retryAfterMs: 2_000,
      model: 'gemini-x',
    })
    assert.deepEqual(read(error(400, 'x')), { kind: 'pass' })
  })
})

test('usage is what the event says, wrapped or bare', () => {
  const usageMetadata = {
    promptTokenCount: 10,
    cachedContentTokenCount: 4,
    candidatesTokenCount: 5,
    thoughtsTokenCount: 2,
    totalTokenCount: 17,
  }
  const expected = { inputTokens: 10, cachedTokens: 4, outputTokens: 5, reasoningTokens: 2, totalTokens: 17 }
  assert.deepEqual(provider.usage({ response: { usageMetadata } }), expected)
  assert.deepEqual(provider.usage({ usageMetadata }), expected)
  assert.equal(provider.usage({ response: {} }), undefined)
  assert.ok(JSON.stringify({ usageMetadata }).includes(provider.usageMarker))
})

describe('the gateway itself answers', () => {
  const now = 1_900_000_000_000
  const answerTo = (method: string, accounts: PoolAccount[]) =>
    provider.answer(ask(method), { accounts, now })?.body as Record<string, any> | undefined
  const having = (...windows: QuotaWindow[]) => poolAccount({ quota: { windows } })
  const window = (name: string, usedPercent: number | undefined, resetsAt?: number): QuotaWindow => ({
    name,
    model: name,
    usedPercent,
    resetsAt,
  })

  test('loadCodeAssist and onboardUser with the pool’s project', () => {
    assert.deepEqual(answerTo('loadCodeAssist', [poolAccount()])?.cloudaicompanionProject, 'codex-pool')
    assert.equal(answerTo('loadCodeAssist', [poolAccount()])?.currentTier.id, 'standard-tier')
    const onboarded = answerTo('onboardUser', [poolAccount()])
    assert.deepEqual([onboarded?.done, onboarded?.response.cloudaicompanionProject.id], [true, 'codex-pool'])
  })

  test('nothing when no account could serve what follows, so that the client hears why', () => {
    assert.equal(answerTo('loadCodeAssist', []), undefined)
    assert.equal(
      answerTo('loadCodeAssist', [poolAccount({ state: 'needs-login' }), poolAccount({ state: 'disabled' })]),
      undefined,
    )
  })

  test('the quota of the pool, as far as it is known', () => {
    const { buckets } = answerTo('retrieveUserQuota', [
      having(window('a', 50, now + 2_000), window('preview', 0, now + 1_000)),
      having(window('a', 100, now + 1_000), window('ended', 10, now - 1), window('unknown', undefined)),
      poolAccount({ state: 'needs-login', quota: { windows: [window('a', 0)] } }),
    ])!
    assert.deepEqual(buckets, [
      {
        modelId: 'a',
        tokenType: 'REQUESTS',
        remainingFraction: 0.25,
        resetTime: new Date(now + 1_000).toISOString(),
      },
      {
        modelId: 'preview',
        tokenType: 'REQUESTS',
        remainingFraction: 1,
        resetTime: new Date(now + 1_000).toISOString(),
      },
    ])
  })

  test('no quota that nobody knows: an account is asked', () => {
    assert.equal(answerTo('retrieveUserQuota', [poolAccount()]), undefined)
  })
})

describe('what the client is told', () => {
  /** The words and numbers that decide what Gemini CLI does; from its source, `googleQuotaErrors.ts`. */
  const SLEEPS =
    /exhausted your capacity|capacity exceeded|MODEL_CAPACITY_EXHAUSTED|Please retry in|limit:\s*0/i
  const told = (said: ReturnType<Required<Provider>['failure']>) => {
    const { error } = said.body as {
      error: { code: number; message: string; details: Record<string, any>[] }
    }
    assert.equal(error.code, said.status)
    assert.doesNotMatch(error.message, SLEEPS)
    const detail = (type: string) => error.details.find((it) => it['@type'] === `${RPC}.${type}`)
    return {
      status: said.status,
      reason: detail('ErrorInfo')?.reason,
      domain: detail('ErrorInfo')?.domain,
      delay: detail('RetryInfo')?.retryDelay,
    }
  }
  const cloud = 'cloudcode-pa.googleapis.com'
  const fail = (status: number, code: string, retryAfterMs?: number) =>
    told(provider.failure({ status, code, message: 'why', retryAfterMs }, ask('x')))

  test('of an exhausted pool ends its run at once', () => {
    const far = told(provider.exhausted({ resetsAt: Date.now() + 7_200_000, model: 'gemini-x' }, ask('x')))
    assert.deepEqual([far.status, far.reason, far.domain], [429, 'QUOTA_EXHAUSTED', cloud])
    assert.ok(Number.parseInt(far.delay, 10) > 300)
    const unknown = told(provider.exhausted({}, ask('x')))
    assert.deepEqual(unknown, { status: 429, reason: 'QUOTA_EXHAUSTED', domain: cloud, delay: undefined })
  })

  test('of a quota that is back in minutes makes it wait', () => {
    const near = told(provider.exhausted({ resetsAt: Date.now() + 60_000 }, ask('x')))
    assert.deepEqual([near.status, near.reason, near.domain], [429, 'RATE_LIMIT_EXCEEDED', cloud])
    assert.ok(Number.parseInt(near.delay, 10) <= 60)
  })

  test('of cooling accounts makes it wait, for 300 seconds at most', () => {
    const cooling = (ms?: number) => fail(503, 'accounts_cooling', ms)
    assert.deepEqual(cooling(1_500), {
      status: 429,
      reason: 'RATE_LIMIT_EXCEEDED',
      domain: cloud,
      delay: '2s',
    })
    assert.equal(cooling(3_600_000).delay, '300s')
  })

  test('of logins that are over is final, and of an upstream that is down is no limit', () => {
    for (const code of ['login_required', 'no_accounts', 'accounts_disabled'])
      assert.equal(fail(400, code).status, 403)
    assert.deepEqual(fail(502, 'upstream_unavailable', 5_000), {
      status: 502,
      reason: 'upstream_unavailable',
      domain: 'codex-pool',
      delay: undefined,
    })
    assert.equal(fail(413, 'body_too_large').status, 413)
  })
})
