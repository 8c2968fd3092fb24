import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Provider, Verdict } from '../../config/provider.js'
import { codex } from '../../providers/codex.js'
import { outcomeOf, outcomes } from '../kit/outcome.js'
import { answer, request } from '../kit/provider.js'

const provider = codex({
  apiKeys: 'never',
  credits: 'last',
  adapt: true,
  allow: [],
  codexHome: false,
  responsesBase: 'https://chat.test/backend-api/codex',
  whamBase: 'https://chat.test/backend-api',
  refreshBase: 'https://auth.test',
  openaiBase: 'https://api.test/v1',
}) as Required<Provider>

const MODEL = 'gpt-x'
const ENCRYPTED = { type: 'reasoning', id: 'rs_1', summary: [], encrypted_content: 'gAAA' }
const asked = request({ url: '/v1/responses', body: { model: MODEL, input: [ENCRYPTED] } })
const RESET = Date.UTC(2033, 4, 18, 3, 33, 20)

/** One thing that an upstream says, and what follows from it. */
type Wording = readonly [
  what: string,
  status: number,
  code: string,
  outcome: keyof typeof outcomes,
  more?: { readonly message?: string; readonly headers?: Record<string, string> },
]

const exhausted = { kind: 'exhausted' } as const
const spark = { 'X-Codex-Active-Limit': 'codex_spark' }
const WORDINGS: readonly Wording[] = [
  ['the usage limit', 429, 'usage_limit_reached', 'exhausts the account'],
  ['a limit in capitals', 429, 'USAGE-LIMIT-REACHED', 'exhausts the account'],
  ['a usage limit under 402', 402, 'usage_limit_reached', 'exhausts the account'],
  ['a usage limit under 403', 403, 'usage_limit_reached', 'exhausts the account'],
  ['a usage limit under 400', 400, 'weekly_usage_limit_reached', 'exhausts the account'],
  ['a limit without a verb', 429, 'usage_limit', 'exhausts the account'],
  ['a plan without Codex', 429, 'usage_not_included', 'exhausts the account'],
  ['a used-up balance', 402, 'insufficient_quota', 'exhausts the account'],
  ['depleted credits', 403, 'workspace_member_credits_depleted', 'exhausts the account'],
  ['credits that ran out', 429, 'out_of_credits', 'exhausts the account'],
  [
    'the limit of one model by its header',
    429,
    'usage_limit_reached',
    'exhausts the model',
    { headers: spark },
  ],
  [
    'the account’s own limit by its header',
    429,
    'usage_limit_reached',
    'exhausts the account',
    { headers: { 'x-codex-active-limit': 'premium' } },
  ],
  ['too many requests', 429, 'rate_limit_exceeded', 'cools the account'],
  ['too many requests by the name of an RPC', 429, 'RESOURCE_EXHAUSTED', 'cools the account'],
  [
    'a wait in words',
    429,
    'rate_limit_exceeded',
    'cools the account',
    { message: 'Please wait 30 seconds.' },
  ],
  ['overload', 503, 'server_is_overloaded', 'is the upstream’s trouble'],
  ['capacity', 429, 'model_at_capacity', 'is the upstream’s trouble'],
  ['a fault of the server', 500, 'server_error', 'is the upstream’s trouble'],
  ['a fault of processing', 500, 'processing_error', 'is the upstream’s trouble'],
  ['a deadline', 504, 'DEADLINE_EXCEEDED', 'is the upstream’s trouble'],
  ['an expired token', 401, 'token_expired', 'refreshes the token'],
  ['a wrong key', 401, 'invalid_api_key', 'refreshes the token'],
  ['a token under 400', 400, 'invalid_token', 'refreshes the token'],
  ['an invalidated token', 401, 'token_invalidated', 'asks for a login'],
  ['a revoked token', 401, 'token_revoked', 'asks for a login'],
  ['a deactivated account', 403, 'account_deactivated', 'asks for a login'],
  ['a deactivated workspace', 402, 'deactivated_workspace', 'asks for a login'],
  ['a forbidden workspace', 403, 'invalid_workspace_selected', 'refuses the model'],
  ['a country', 403, 'unsupported_country_region_territory', 'refuses the model'],
  ['an unknown model', 404, 'model_not_found', 'refuses the model'],
  ['a file of another account', 403, 'file_not_found', 'goes to another account'],
  ['content that another account encrypted', 400, 'invalid_encrypted_content', 'repairs the history'],
  ['a context that is too long', 400, 'context_length_exceeded', 'is the request’s own'],
  ['a policy', 400, 'content_policy_violation', 'is the request’s own'],
]

/** The forms in which one error is written. */
const FORMS: Readonly<Record<string, (error: { code?: string; message?: string }) => object>> = {
  'error.code': (error) => ({ error }),
  'error.type': ({ code, ...rest }) => ({ error: { type: code, code: null, ...rest } }),
  'error.reason': ({ code, ...rest }) => ({
    error: { type: 'invalid_request_error', reason: code, ...rest },
  }),
  'detail.code': (error) => ({ detail: error }),
  'a list of details': (error) => ({ detail: [error] }),
  flat: (error) => error,
  'a list of errors': (error) => ({ errors: [error], message: 'Several errors' }),
  'the metadata of another error': (error) => ({
    error: {
      code: 'upstream_error',
      message: 'Provider returned error',
      metadata: { raw: JSON.stringify({ error }) },
    },
  }),
  'JSON behind words': ({ code, ...rest }) => ({
    error: { message: `upstream said: ${JSON.stringify({ error: { code, ...rest } })}` },
  }),
  'an error in an error': (error) => ({ error: { error } }),
  'JSON in a text': (error) => ({ error: { message: JSON.stringify({ error }) } }),
}

interface Said {
  readonly status: number
  readonly headers?: Record<string, string> | undefined
}

/** What carries it. A provider's WebSocket messages are judged by the function that judges events. */
const CARRIERS: Readonly<Record<string, (said: Said, body: object) => Verdict | 'output' | undefined>> = {
  'an answer': ({ status, headers = {} }, body) => {
    const lower = Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value])
    return provider.classify(answer(status, body, Object.fromEntries(lower)), asked)
  },
  'an answer of a gateway in front': ({ headers }, body) =>
    provider.classify(answer(502, { error: { response: { ...body, headers } } }), asked),
  'the first event': ({ headers }, body) =>
    provider.classifyEvent(
      { type: 'response.failed', response: { status: 'failed', ...body, headers } },
      asked,
    ),
  'a late event': ({ status, headers }, body) =>
    provider.classifyEvent(
      { ...body, type: 'error', sequence_number: 7, status_code: status, headers },
      asked,
    ),
  'an early end': ({ headers }, body) =>
    provider.classifyEvent(
      { type: 'response.incomplete', response: { incomplete_details: { ...body, headers } } },
      asked,
    ),
  'a frame': ({ status, headers }, body) =>
    provider.classifyEvent({ ...body, type: 'error', status: String(status), headers }, asked),
  'a frame with headers as a list': ({ status, headers = {} }, body) =>
    provider.classifyEvent(
      { ...body, type: 'error', status, response_headers: Object.entries(headers) },
      asked,
    ),
}

/** Carriers under which a request's own fault is not to be told from the upstream's trouble, or from an early end. */
const SAY_NOTHING_OF_REQUESTS = new Set(['an answer of a gateway in front', 'an early end'])

for (const [carrier, judge] of Object.entries(CARRIERS))
  describe(`${carrier} with`, () => {
    const told = WORDINGS.filter(
      ([, , , outcome]) => outcome !== 'is the request’s own' || !SAY_NOTHING_OF_REQUESTS.has(carrier),
    )
    for (const [what, status, code, outcome, { message, headers } = {}] of told)
      test(`${what} ${outcome}, in whatever fields it is written`, () => {
        for (const [form, write] of Object.entries(FORMS)) {
          const verdict = judge({ status, headers }, write({ code, ...(message && { message }) }))
          assert.ok(typeof verdict === 'object', form)
          assert.deepEqual(
            outcomeOf(verdict, MODEL),
            outcomes[outcome],
            `${form}: ${JSON.stringify(verdict)}`,
          )
        }
      })
  })

function matches(verdict: object, expected: object): void {
  const told = Object.keys(expected).map((name) => [name, (verdict as Record<string, unknown>)[name]])
  assert.deepEqual(Object.fromEntries(told), expected)
}

describe('a text for people, where no code says anything,', () => {
  const rows: [message: string, verdict: Partial<Verdict>][] = [
    ['The usage limit has been reached', exhausted],
    ['You exceeded your current quota, please check your plan and billing details.', exhausted],
    ["You've hit your usage limit for gpt-x.", { ...exhausted, model: MODEL }],
    ['Your workspace is out of credits.', exhausted],
    [
      'Rate limit reached for gpt-x on tokens per min. Please try again in 20s.',
      { kind: 'cooling', model: MODEL },
    ],
    ['Too many concurrent requests', { kind: 'cooling' }],
    ['Our servers are currently overloaded. Please try again later.', { kind: 'unavailable' }],
    ['Selected model is at capacity. Please try a different model.', { kind: 'unavailable' }],
    ['An error occurred while processing your request.', { kind: 'unavailable' }],
    ['Your authentication token has expired. Please try signing in again.', { kind: 'unauthorized' }],
    [
      "The 'gpt-x' model is not supported when using Codex with a ChatGPT account.",
      { kind: 'refused', model: MODEL },
    ],
    ['The encrypted content gAAA...Rg== could not be verified.', { kind: 'repair' }],
    [
      'The encrypted content for item cmp_34 could not be verified. Reason: it could not be parsed.',
      { kind: 'repair' },
    ],
    ['Failed to decrypt the reasoning of item rs_1', { kind: 'repair' }],
    [
      "Item with id 'rs_1' not found. Items are not persisted when `store` is set to false.",
      { kind: 'repair' },
    ],
    ['No file found with id file-1 in this organization', { kind: 'refused', model: undefined }],
    ['Unsupported parameter: temperature', { kind: 'pass' }],
  ]
  for (const [message, verdict] of rows)
    for (const [form, event] of Object.entries({
      event: { type: 'response.failed', response: { error: { message } } },
      frame: { type: 'error', error: { type: 'invalid_request_error', message } },
      'frame without a type': { error: message },
    }))
      test(`decides in an ${form}: ${message}`, () => {
        const judged = provider.classifyEvent(event, asked)
        assert.ok(typeof judged === 'object')
        matches(judged, verdict)
      })

  test('changes nothing about a request that the status calls wrong', () => {
    for (const message of ['Field "rate limit" is unknown', 'The server is overloaded with fields'])
      assert.equal(provider.classify(answer(400, { error: { message } }), asked).kind, 'pass')
  })
})

test('a status is read in each of its fields, as a number, a text, or the name of an RPC', () => {
  const fields = [
    'status',
    'status_code',
    'statusCode',
    'http_status',
    'httpStatus',
    'http_status_code',
    'code',
  ]
  const kindOf = (event: object) => {
    const verdict = provider.classifyEvent({ type: 'error', message: 'x', ...event }, asked)
    return typeof verdict === 'object' ? verdict.kind : verdict
  }
  for (const field of fields) {
    assert.equal(kindOf({ [field]: 429 }), 'cooling', field)
    assert.equal(kindOf({ error: { [field]: '401' } }), 'unauthorized', field)
    assert.equal(kindOf({ [field]: 'RESOURCE_EXHAUSTED' }), 'cooling', field)
  }
})

describe('a reset is read', () => {
  const seconds = RESET / 1000
  const far = Math.round((RESET - Date.now()) / 1000)
  const rows: [how: string, fields: object][] = [
    ['in seconds', { resets_at: seconds }],
    ['in milliseconds', { resets_at: RESET }],
    ['as a text of digits', { resets_at: String(seconds) }],
    ['as an ISO date', { resets_at: new Date(RESET).toISOString() }],
    ['as reset_at', { reset_at: seconds }],
    ['from a distance', { resets_in_seconds: far }],
    ['from a distance of another name', { reset_after_seconds: String(far) }],
    ['from a date in words', { message: 'Try again at May 18th, 2033 3:33 AM.' }],
    ['from a date and time in a text', { message: 'Your limit resets at 2033-05-18T03:33:20Z.' }],
    ['from seconds in a text', { message: `It resets at ${seconds}.` }],
  ]
  for (const [how, fields] of rows)
    for (const event of [
      { type: 'error', error: { type: 'usage_limit_reached', ...fields } },
      { type: 'response.failed', response: { error: { code: 'usage_limit_reached', ...fields } } },
    ])
      test(`${how} of ${event.type}`, () => {
        const verdict = provider.classifyEvent(event, asked) as Extract<Verdict, { kind: 'exhausted' }>
        assert.ok(Math.abs(verdict.resetsAt! - RESET) <= 60_000, String(verdict.resetsAt))
      })

  test('in words of durations, weeks and "an hour" too', () => {
    const wait = (message: string) => {
      const verdict = provider.classifyEvent({ type: 'error', code: 'usage_limit_reached', message }, asked)
      return Math.round(((verdict as { resetsAt: number }).resetsAt - Date.now()) / 60_000)
    }
    assert.equal(wait('Try again in 3 days 4 hours.'), 76 * 60)
    assert.equal(wait('Try again in 2 weeks'), 14 * 24 * 60)
    assert.equal(wait('Resets in an hour'), 60)
  })

  test('as unknown where it is no date, or of no known day', () => {
    for (const resets_at of [-1, 0, 1e300, 'soon', '', null, {}, 'at 9:14 AM']) {
      const verdict = provider.classifyEvent({ type: 'error', code: 'usage_limit_reached', resets_at }, asked)
      assert.equal((verdict as { resetsAt?: number }).resetsAt, undefined, String(resets_at))
    }
  })
})

test('a path that is not there is the account’s on a generation, and the request’s elsewhere', () => {
  const judged = (url: string, method = 'POST') =>
    provider.classify(answer(404, { detail: 'Not Found' }), request({ method, url })).kind
  for (const url of ['/v1/responses', '/responses', '/backend-api/codex/responses', '/v1/responses/compact'])
    assert.equal(judged(url), 'refused', url)
  assert.equal(judged('/v1/responses', 'GET'), 'refused', 'a handshake')
  for (const url of ['/v1/files/x', '/backend-api/wham/tasks/1', '/v1/models'])
    assert.equal(judged(url, 'GET'), 'pass', url)
})

test('an error that is no JSON, or nests without end, is judged by its status', () => {
  let deep: object = { code: 'usage_limit_reached' }
  for (let level = 0; level < 1_000; level++) deep = { error: deep }
  assert.equal(provider.classify(answer(500, deep), asked).kind, 'unavailable')
  assert.equal(provider.classify(answer(418, '\u0000'), asked).kind, 'pass')
  for (const payload of [null, 7, 'x', [], [[]], { type: 'error' }, { error: null }])
    assert.doesNotThrow(() => provider.classifyEvent(payload, asked))
})

test('a page for a browser is no word about an account', () => {
  for (const status of [403, 429])
    assert.equal(provider.classify(answer(status, '<!doctype html>usage limit'), asked).kind, 'unavailable')
})
