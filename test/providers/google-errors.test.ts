import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Provider, Verdict } from '../../config/provider.js'
import { geminiApiKey } from '../../providers/gemini-api-key.js'
import { gemini } from '../../providers/gemini.js'
import { outcomeOf, outcomes } from '../kit/outcome.js'
import { answer, request } from '../kit/provider.js'

const settings = { refreshBase: 'r', loginBase: 'l', oauthClientId: 'i', oauthClientSecret: 's' }
const MODEL = 'gemini-x'
const contents = [{ role: 'model', parts: [{ text: 'so', thoughtSignature: 'of another' }] }]
const providers = {
  'Code Assist': {
    provider: gemini({ upstream: 'https://code.test', ...settings }) as Required<Provider>,
    asked: request({
      url: '/v1internal:streamGenerateContent?alt=sse',
      body: { model: MODEL, request: { contents } },
    }),
    /** An event as this API wraps it. */
    wrap: (error: object) => ({ response: { error }, traceId: 't' }),
  },
  'an API key': {
    provider: geminiApiKey({ upstream: 'https://api.test' }) as Required<Provider>,
    asked: request({ url: `/v1beta/models/${MODEL}:streamGenerateContent?alt=sse`, body: { contents } }),
    wrap: (error: object) => ({ error }),
  },
}
type Name = keyof typeof providers

const RPC = 'type.googleapis.com/google.rpc'
const info = (reason: string, metadata: object = {}) => ({
  '@type': `${RPC}.ErrorInfo`,
  reason,
  domain: 'googleapis.com',
  metadata,
})
const retry = (retryDelay: unknown) => ({ '@type': `${RPC}.RetryInfo`, retryDelay })
const quota = (violation: object) => ({ '@type': `${RPC}.QuotaFailure`, violations: [violation] })
const HTTP: Record<number, string> = {
  400: 'INVALID_ARGUMENT',
  401: 'UNAUTHENTICATED',
  403: 'PERMISSION_DENIED',
  404: 'NOT_FOUND',
  429: 'RESOURCE_EXHAUSTED',
  499: 'CANCELLED',
  500: 'INTERNAL',
  503: 'UNAVAILABLE',
  504: 'DEADLINE_EXCEEDED',
}
const err = (code: number, message: string, ...details: object[]) => ({
  code,
  message,
  status: HTTP[code],
  details,
})
const precondition = (message: string) => ({ ...err(400, message), status: 'FAILED_PRECONDITION' })
const legacy = (code: number, reason: string) => ({
  code,
  message: 'x',
  errors: [{ message: 'x', domain: 'usageLimits', reason }],
})

const now = Date.now()

type Row = readonly [what: string, error: object, outcome: keyof typeof outcomes]

const limits: readonly Row[] = [
  [
    'a rate limit with RetryInfo',
    err(429, 'x', info('RATE_LIMIT_EXCEEDED'), retry('2.5s')),
    'cools the model',
  ],
  [
    'a rate limit with a delay as an object',
    err(429, 'x', retry({ seconds: 3, nanos: 1 })),
    'cools the model',
  ],
  ['a rate limit in words', err(429, 'Resource exhausted. Please retry in 3s'), 'cools the model'],
  ['a rate limit of the older form', legacy(403, 'rateLimitExceeded'), 'cools the model'],
  ['a rate limit of a user', legacy(403, 'userRateLimitExceeded'), 'cools the model'],
  ['a rate limit under a code of the RPC', { code: 8, message: 'Quota exceeded' }, 'cools the model'],
  [
    'a rate limit in words alone',
    { message: 'Resource has been exhausted (e.g. check quota).' },
    'cools the model',
  ],
  ['a rate limit under 503', err(503, 'x', info('RATE_LIMIT_EXCEEDED')), 'cools the model'],
  [
    'the free tier’s words for a limit',
    err(
      429,
      'You exceeded your current quota, please check your plan and billing details. Please retry in 22.5s.',
      quota({ quotaId: 'GenerateRequestsPerMinutePerProjectPerModel-FreeTier' }),
      retry('22s'),
    ),
    'cools the model',
  ],
  ['a limit per day', err(429, 'x', quota({ quotaId: 'RequestsPerDayPerModel' })), 'exhausts the model'],
  [
    'a limit per day in metadata',
    err(429, 'x', info('RATE_LIMIT_EXCEEDED', { quota_limit: 'Gemini25ProRequestsPerDay' })),
    'exhausts the model',
  ],
  ['a limit per day of the older form', legacy(403, 'dailyLimitExceeded'), 'exhausts the model'],
  [
    'a quota with a date',
    err(429, 'x', info('QUOTA_EXHAUSTED', { quotaResetTimeStamp: '2099-01-01T00:00:00Z' })),
    'exhausts the model',
  ],
  [
    'a quota with a delay',
    err(429, 'x', info('QUOTA_EXHAUSTED', { quotaResetDelay: '33740.9s' })),
    'exhausts the model',
  ],
  [
    'a quota with a date in words',
    err(429, 'Quota reached. It resets at 2099-01-01 08:00 UTC.'),
    'exhausts the model',
  ],
  ['a quota in words', err(429, 'Individual quota reached. Resets in 9h22m20s.'), 'exhausts the model'],
  [
    'a quota in the words of capacity',
    err(429, 'You have exhausted your capacity on this model. Your quota will reset after 1h2m3s.'),
    'exhausts the model',
  ],
  ['a quota under 503', err(503, 'x', info('QUOTA_EXHAUSTED')), 'exhausts the model'],
  ['a plan without the model', err(429, 'Quota exceeded, limit: 0, model: x'), 'refuses the model'],
  [
    'a plan whose quota is 0',
    err(429, 'x', quota({ quotaId: 'PerDay', quotaValue: '0' })),
    'refuses the model',
  ],
  [
    'prepaid credits that are spent',
    err(429, 'Your prepayment credits are depleted. Go on.'),
    'exhausts the account',
  ],
  ['a spending cap', err(429, 'Your project has exceeded its monthly spending cap.'), 'exhausts the account'],
  ['a lack of capacity', err(429, 'x', info('MODEL_CAPACITY_EXHAUSTED')), 'is the upstream’s trouble'],
  ['a lack of capacity in words', err(503, 'No capacity available for model x'), 'is the upstream’s trouble'],
]

/** The same in the spellings of other programs. */
const cousins: readonly Row[] = [
  ['a delay beside the message', { ...err(429, 'x'), retryDelay: '7s' }, 'cools the model'],
  ['a delay in ms', { ...err(429, 'x'), retry_after_ms: 2_500 }, 'cools the model'],
  ['a delay without a type', err(429, 'x', { retry_delay: '7s' }), 'cools the model'],
  ['a code as a text', { code: '429', message: 'x' }, 'cools the model'],
  ['a limit under its name alone', { status: 'RESOURCE_EXHAUSTED', message: 'x' }, 'cools the model'],
  ['a limit in another language', err(429, 'Ressource erschöpft'), 'cools the model'],
  ['a balance that has run out', precondition('Your prepaid balance has run out.'), 'exhausts the account'],
  ['a payment that is required', { code: 402, message: 'Payment required' }, 'exhausts the account'],
  ['a token under its name alone', { status: 'UNAUTHENTICATED', message: 'x' }, 'refreshes the token'],
  ['a right under its name alone', { status: 'PERMISSION_DENIED', message: 'x' }, 'refuses the model'],
]

const others: readonly Row[] = [
  ['a bad request', err(400, 'Invalid JSON payload received.'), 'is the request’s own'],
  ['a prompt about billing', err(400, 'Invalid value "enable billing is not set"'), 'is the request’s own'],
  ['too long a prompt', err(400, 'The input token count exceeds the maximum'), 'is the request’s own'],
  ['a foreign signature', err(400, 'Corrupted thought signature.'), 'repairs the history'],
  ['a token that is over', err(401, 'Request had invalid credentials.'), 'refreshes the token'],
  ['a model that is not there', err(404, `models/${MODEL} is not found`), 'refuses the model'],
  ['a model that is forbidden', err(403, 'Permission denied'), 'refuses the model'],
  ['a call that Google cancelled', err(499, 'x'), 'is the upstream’s trouble'],
  ['an internal error', err(500, 'x'), 'is the upstream’s trouble'],
  ['an overload', err(503, 'The model is overloaded.'), 'is the upstream’s trouble'],
  ['a late answer', err(504, 'x'), 'is the upstream’s trouble'],
  ['an error under its name alone', { status: 'UNAVAILABLE', message: 'x' }, 'is the upstream’s trouble'],
  ['a country', precondition('User location is not supported for the API use.'), 'exhausts the account'],
  [
    'a country under 403',
    err(403, 'User location is not supported for the API use.'),
    'exhausts the account',
  ],
  [
    'a country without a free tier',
    precondition('Gemini API free tier is not available in your country. Please enable billing.'),
    'exhausts the account',
  ],
  ['billing that is off', err(403, 'x', info('BILLING_DISABLED')), 'exhausts the account'],
  [
    'billing that is off, in words',
    precondition('This API requires billing to be enabled.'),
    'exhausts the account',
  ],
  [
    'prepaid credits under 400',
    precondition('Your prepayment credits are depleted.'),
    'exhausts the account',
  ],
  ['prepaid credits under 403', err(403, 'Your prepayment credits are depleted.'), 'exhausts the account'],
  ['a territory', err(403, 'Your country, region, or territory is not supported.'), 'exhausts the account'],
  ['a prepaid balance', err(403, 'Your prepaid balance is exhausted.'), 'exhausts the account'],
  ['credits that ran out', precondition('Your project has run out of credits.'), 'exhausts the account'],
  ['a bill that is not paid', err(403, 'Lightning dunning decision is deny.'), 'exhausts the account'],
  [
    'a model for paying projects',
    err(400, 'Imagen API is only accessible to billed users at this time.'),
    'refuses the model',
  ],
  ['a suspended project', err(403, 'x', info('CONSUMER_SUSPENDED')), 'exhausts the account'],
  ['a project without access', err(403, 'Your project has been denied access.'), 'exhausts the account'],
  ['a plan without a model', err(403, 'Gemini 3 is not available on the free tier.'), 'refuses the model'],
  ['a plan without a model under 400', precondition('Please upgrade your plan.'), 'refuses the model'],
]

const own: Record<Name, readonly Row[]> = {
  'Code Assist': [
    ['a person to be verified', err(403, 'x', info('VALIDATION_REQUIRED')), 'asks for a login'],
    ['an account that is closed', err(403, 'x', info('TOS_VIOLATION')), 'asks for a login'],
    ['no licence', err(403, 'You do not have a valid license. (#3501)'), 'asks for a login'],
    ['a foreign project', err(403, 'x', info('CONSUMER_INVALID')), 'refuses the model'],
    ['a foreign project in words', err(403, 'Permission denied on resource project p.'), 'refuses the model'],
    ['a project that is gone', err(404, "Project 'p' not found or deleted."), 'refuses the model'],
    ['an API that is off', err(403, 'x', info('SERVICE_DISABLED')), 'refuses the model'],
  ],
  'an API key': [
    ['a key that is not valid', err(400, 'API key not valid.', info('API_KEY_INVALID')), 'asks for a login'],
    ['a key that is over', err(400, 'API key expired. Please renew the API key.'), 'asks for a login'],
    ['a key that is disabled', err(403, 'API key has been disabled.'), 'asks for a login'],
    ['a leaked key', err(403, 'Your API key was reported as leaked.'), 'asks for a login'],
    ['a key of the older form', legacy(400, 'keyInvalid'), 'asks for a login'],
    ['an API that is off', err(403, 'x', info('SERVICE_DISABLED')), 'exhausts the account'],
    [
      'an API that is off, in words',
      err(403, 'Generative Language API has not been used in project 1 before or it is disabled.'),
      'exhausts the account',
    ],
    ['a restricted key', err(403, 'x', info('API_KEY_IP_ADDRESS_BLOCKED')), 'exhausts the account'],
    ['a project that is gone', err(403, 'x', info('CONSUMER_INVALID')), 'exhausts the account'],
    ['a path that takes no keys', err(401, 'x', info('CREDENTIALS_MISSING')), 'goes to another account'],
  ],
}

const statusOf = (error: object): number => {
  const { code = 'status' in error ? 503 : 429 } = error as { code?: number }
  return code < 100 ? 429 : code
}
/** The ways in which an error arrives. */
const carriers: Record<string, (error: object, name: Name) => Verdict | 'output' | undefined> = {
  'as the body of a status': (error, name) => judge(statusOf(error), { error }, name),
  'as a list': (error, name) => judge(statusOf(error), [{ error }], name),
  'as an event in the body of a status': (error, name) =>
    judge(statusOf(error), `data: ${JSON.stringify({ error })}\r\n\r\n`, name),
  'as a list of errors': (error, name) => judge(statusOf(error), { errors: [error] }, name),
  'behind words in a 502': (error, name) =>
    judge(502, { error: { message: `got status: 500. ${JSON.stringify({ error })}` } }, name),
  'as JSON in the message of another': (error, name) =>
    judge(statusOf(error), { error: { code: 500, message: JSON.stringify({ error }) } }, name),
  'in a 200 stream': (error, name) => event({ error }, name),
  'in a 200 stream, as this API wraps it': (error, name) => event(providers[name].wrap(error), name),
  'in a 200 stream that is a list': (error, name) => event([{ error }], name),
}

function judge(status: number, body: object | string, name: Name): Verdict {
  const { provider, asked } = providers[name]
  return provider.classify(answer(status, body), asked)
}

function event(payload: unknown, name: Name): Verdict | 'output' | undefined {
  const { provider, asked } = providers[name]
  return provider.classifyEvent(payload, asked)
}

for (const name of Object.keys(providers) as Name[])
  describe(`with ${name},`, () => {
    for (const [what, error, outcome] of [...limits, ...cousins, ...others, ...own[name]])
      test(`${what} ${outcome}, however it comes`, () => {
        for (const [carrier, read] of Object.entries(carriers)) {
          const verdict = read(error, name)
          assert.ok(typeof verdict === 'object', carrier)
          assert.deepEqual(
            outcomeOf(verdict, MODEL),
            outcomes[outcome],
            `${carrier}: ${JSON.stringify(verdict)}`,
          )
        }
      })
  })

describe('the reason of a refusal', () => {
  const reasonOf = (error: object): string => {
    const verdict = judge(statusOf(error), { error }, 'an API key')
    assert.ok('reason' in verdict)
    return verdict.reason
  }

  test('is a stable word and Google’s own first sentence', () => {
    const depleted =
      'Your prepayment credits are depleted. Please go to AI Studio at https://ai.studio/projects.'
    assert.equal(reasonOf(err(429, depleted)), 'out_of_credits: Your prepayment credits are depleted.')
    assert.match(reasonOf(err(400, 'API key expired. Please renew it.')), /"API key expired\."/)
  })

  test('is one line of a bounded length, whatever Google writes', () => {
    const long = `Permission\n\u001b[31m denied ${'x'.repeat(5_000)}`
    assert.match(reasonOf(err(403, long)), /^http_403: Permission \[31m denied x{100,}…$/)
    assert.ok(reasonOf(err(403, long)).length < 250)
  })

  test('tells the client why nobody serves it, but for words that make it wait in silence', () => {
    const told = (reason: string, name: Name = 'Code Assist') => {
      const { provider, asked } = providers[name]
      return JSON.stringify(provider.exhausted({ reason }, asked).body)
    }
    assert.match(
      told('out_of_credits: Your prepayment credits are depleted.'),
      /prepayment credits are depleted/,
    )
    assert.match(told('x: User location is not supported.', 'an API key'), /User location is not supported/)
    const chat = request({ url: '/v1beta/openai/chat/completions', body: {} })
    const answer = providers['an API key'].provider.exhausted({ reason: 'x: No credits.' }, chat)
    assert.match(JSON.stringify(answer.body), /No credits.*insufficient_quota/)
    assert.doesNotMatch(told('x: You have exhausted your capacity on this model.'), /exhausted your/)
    assert.doesNotMatch(told('http_429'), /Google says/)
  })
})

describe('a thing of another account', () => {
  const file = { fileData: { fileUri: 'https://generativelanguage.googleapis.com/v1beta/files/abc-1' } }
  const path = `/v1beta/models/${MODEL}:generateContent`
  const { provider } = providers['an API key']
  const asking = {
    'a file in a prompt': { url: path, body: { contents: [{ parts: [file] }] } },
    'a file in the instructions': { url: path, body: { system_instruction: { parts: [file] } } },
    'a file of the snake-case form': {
      url: path,
      body: { contents: [{ parts: [{ file_data: { file_uri: 'files/abc-1' } }] }] },
    },
    'a cached content': { url: path, body: { cachedContent: 'cachedContents/abc' } },
    'a file in its path': { url: '/v1beta/files/abc-1', method: 'GET' },
    'a download': { url: '/download/v1beta/files/abc-1:download?alt=media', method: 'GET' },
    'an upload that goes on': { url: '/upload/v1beta/files?upload_id=AB_c-1&upload_protocol=resumable' },
    'a tuned model': { url: '/v1beta/tunedModels/mine:generateContent' },
    'a search store': {
      url: path,
      body: { tools: [{ fileSearch: { fileSearchStoreNames: ['fileSearchStores/s'] } }] },
    },
    'a file in a system instruction': {
      url: path,
      body: { systemInstruction: { parts: [{ fileData: { fileUri: 'https://x/v1beta/files/a' } }] } },
    },
    'a file in a request of a batch': {
      url: `/v1beta/models/${MODEL}:batchGenerateContent`,
      body: {
        batch: {
          inputConfig: {
            requests: {
              requests: [{ request: { contents: [{ parts: [{ fileData: { fileUri: 'files/a' } }] }] } }],
            },
          },
        },
      },
    },
    'a file of a batch': {
      url: `/v1beta/models/${MODEL}:batchGenerateContent`,
      body: { batch: { inputConfig: { fileName: 'files/a' } } },
    },
    'an interaction before': { url: '/v1beta/interactions', body: { previous_interaction_id: 'v1_abc' } },
    'a tuned model of a generation': { url: '/v1beta/tunedModels/t:generateContent', body: {} },
    'a file of OpenAI’s side': { url: '/v1beta/openai/batches', body: { input_file_id: 'files/a' } },
    'an operation': { url: '/v1beta/models/veo/operations/op1', method: 'GET' },
    'a batch': { url: '/v1beta/batches/b1', method: 'GET' },
  }
  for (const [what, parts] of Object.entries(asking))
    test(`is asked of another account and refuses no model: ${what}`, () => {
      const asked = request(parts)
      assert.equal(provider.resources(asked).length, 1)
      for (const error of [
        err(403, 'You do not have permission to access the File abc-1 or it may not exist.'),
        err(403, 'CachedContent not found (or permission denied)'),
        err(404, 'Requested entity was not found.'),
        err(400, 'Invalid or unsupported file uri: https://x/files/abc-1'),
      ]) {
        const verdict = provider.classify(answer(error.code, { error }), asked)
        assert.equal(verdict.kind, 'refused')
        assert.equal('model' in verdict && verdict.model, false)
      }
    })

  test('is not blamed for a model that is not there', () => {
    const asked = request(asking['a file in a prompt'])
    const error = err(404, `models/${MODEL} is not found for API version v1beta`)
    assert.deepEqual(
      { ...provider.classify(answer(404, { error }), asked), reason: '' },
      { kind: 'refused', reason: '', model: MODEL },
    )
  })

  test('is known from the answer that made it, or that lists it', () => {
    const made = (payload: unknown, headers = {}) => provider.resourcesMade(payload, headers)
    assert.deepEqual(made({ file: { name: 'files/a' } }), ['files/a'])
    assert.deepEqual(made({ name: 'cachedContents/c', model: 'models/x' }), ['cachedContents/c'])
    assert.deepEqual(made({ name: 'models/veo/operations/o' }), ['models/veo/operations/o'])
    assert.deepEqual(made({ files: [{ name: 'files/a' }, { name: 'files/b' }] }), ['files/a', 'files/b'])
    assert.deepEqual(made(undefined, { 'x-goog-upload-url': 'https://g/upload/v1beta/files?upload_id=U1' }), [
      'uploads/U1',
    ])
    assert.deepEqual(made({ id: 'batches/b', object: 'batch' }), ['batches/b'])
    assert.deepEqual(made({ object: 'interaction', id: 'v1_abc' }), ['interactions/v1_abc'])
    assert.deepEqual(made({ interaction: { id: 'v1_abc' } }), ['interactions/v1_abc'])
    const video = { uri: 'https://g/v1beta/files/v:download?alt=media' }
    const response = { generateVideoResponse: { generatedSamples: [{ video }] } }
    assert.deepEqual(made({ name: 'models/veo/operations/o', done: true, response }), [
      'models/veo/operations/o',
      'files/v',
    ])
    for (const payload of [undefined, 5, [], { models: [{ name: 'models/x' }] }, { candidates: [] }])
      assert.deepEqual(made(payload), [])
  })

  test('is not looked for in what a person or a function says', () => {
    const parts = [
      { text: 'files/a' },
      { functionCall: { name: 'read', args: { fileUri: 'files/a' } } },
      { functionResponse: { name: 'read', response: { uri: 'files/a', name: 'files/b' } } },
    ]
    const tools = [{ functionDeclarations: [{ name: 'f', parameters: { id: 'files/a' } }] }]
    const body = { contents: [{ parts }], tools, labels: { name: 'files/a' } }
    assert.deepEqual(provider.resources(request({ url: path, body })), [])
  })

  test('is not looked for in the bytes of an upload', () => {
    const onRead = () => assert.fail('the file was parsed')
    assert.deepEqual(provider.resources(request({ url: '/upload/v1beta/files', onRead })), [])
  })
})

describe('nothing that a stranger writes takes long or breaks a number', () => {
  const size = 64 * 1024
  const texts = {
    blanks: ' '.repeat(size),
    digits: '1'.repeat(size),
    'blanks after a hint': `Please retry in 1${' '.repeat(size)}`,
    hints: 'retry in '.repeat(size / 9),
    'units without an end': `resets in ${'1d, '.repeat(size / 4)}`,
    quotes: '"'.repeat(size),
    colons: ':a'.repeat(size / 2),
    slashes: '/'.repeat(size),
    brackets: '['.repeat(size),
    'names of models': 'models/'.repeat(size / 7),
    'the beginning of a project': `project ${'project '.repeat(size / 8)}`,
  }
  for (const [what, text] of Object.entries(texts))
    test(`64 KiB of ${what}`, () => {
      const error = {
        code: 429,
        message: text,
        status: text,
        details: [
          info(text, { quotaResetDelay: text, quotaResetTimeStamp: text, quota_limit: text }),
          retry(text),
        ],
        errors: [{ reason: text }],
      }
      const start = performance.now()
      for (const name of Object.keys(providers) as Name[]) {
        judge(429, { error }, name)
        judge(403, { error: { ...error, code: 403 } }, name)
        judge(429, text, name)
        const { provider } = providers[name]
        const asked = request({
          url: `/v1beta/${text}`,
          headers: { 'retry-after': text },
          body: { model: text },
        })
        provider.classify(answer(404, { error }, { 'retry-after': text, 'content-type': text }), asked)
        provider.path(asked, { id: 'a', credential: {}, inspection: {}, facts: {} })
        provider.conversation(asked)
        provider.resourcesMade({ name: text, file: { name: text } }, { 'x-goog-upload-url': text })
      }
      assert.ok(performance.now() - start < 250, `took ${performance.now() - start} ms`)
    })

  for (const [what, error] of Object.entries({
    'a delay of ages': err(429, 'x', info('QUOTA_EXHAUSTED', { quotaResetDelay: '9'.repeat(19) + 's' })),
    'a delay in digits': err(429, 'x', retry({ seconds: 1e300 })),
    'a date beyond the calendar': err(
      429,
      'x',
      info('QUOTA_EXHAUSTED', { quotaResetTimeStamp: '+275760-09-13T00:00:00Z' }),
    ),
    'words of ages': err(429, 'Resets in 99999999999999999999h.'),
  }))
    test(`${what} is no time that a clock cannot show`, () => {
      const verdict = judge(429, { error }, 'Code Assist')
      assert.ok(verdict.kind === 'exhausted' || verdict.kind === 'cooling')
      const at = verdict.kind === 'exhausted' ? verdict.resetsAt : now + (verdict.retryAfterMs ?? 0)
      assert.ok(at === undefined || at < Date.UTC(2100))
    })

  test('counts of tokens are counts', () => {
    const { provider } = providers['an API key']
    const used = (totalTokenCount: unknown) =>
      provider.usage({ usageMetadata: { totalTokenCount } })?.totalTokens
    assert.deepEqual(
      [used(5), used('7'), used(-1), used(1e300), used('9'.repeat(400)), used(Number.NaN), used({})],
      [5, 7, undefined, undefined, undefined, undefined, undefined],
    )
  })
})
