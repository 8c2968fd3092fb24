import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Credential, Provider, Verdict } from '../../config/provider.js'
import { codex } from '../../providers/codex.js'
import { Account } from '../../src/accounts/account.js'
import { answer, request } from '../kit/provider.js'

const provider = codex({
  apiKeys: 'never',
  credits: 'last',
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

/** One thing that an upstream says. */
interface Wording {
  readonly what: string
  readonly status: number
  readonly code?: string
  readonly message?: string
  /** More fields beside the code. */
  readonly more?: object
  readonly headers?: Record<string, string>
  readonly verdict: Partial<Verdict>
}

/** What follows from a verdict: for the client, the account, and the next request for the same model. */
const OUTCOMES: Record<Verdict['kind'], readonly [client: string, account: string, next: string]> = {
  pass: ['hears it', 'ready', 'same account'],
  repair: ['is served without the unreadable part', 'ready', 'same account'],
  unavailable: ['is served by another account', 'ready', 'same account'],
  refused: ['is served by another account', 'ready', 'an account that serves the model'],
  unauthorized: ['is served after one refresh, or by another account', 'ready', 'same account'],
  cooling: ['is served by another account', 'cooling', 'another account'],
  exhausted: ['is served by another account', 'exhausted', 'another account'],
  'needs-login': ['is served by another account', 'needs-login', 'another account'],
}

const exhausted = { kind: 'exhausted' } as const
const WORDINGS: readonly Wording[] = [
  {
    what: 'the usage limit',
    status: 429,
    code: 'usage_limit_reached',
    verdict: { ...exhausted, model: undefined },
  },
  { what: 'a limit in capitals', status: 429, code: 'USAGE-LIMIT-REACHED', verdict: exhausted },
  { what: 'a plan without Codex', status: 429, code: 'usage_not_included', verdict: exhausted },
  { what: 'a used-up balance', status: 402, code: 'insufficient_quota', verdict: exhausted },
  { what: 'depleted credits', status: 403, code: 'workspace_member_credits_depleted', verdict: exhausted },
  {
    what: 'the limit of one model by its header',
    status: 429,
    code: 'usage_limit_reached',
    headers: { 'X-Codex-Active-Limit': 'codex_spark' },
    verdict: { ...exhausted, model: MODEL },
  },
  {
    what: 'the account’s own limit by its header',
    status: 429,
    code: 'usage_limit_reached',
    headers: { 'x-codex-active-limit': 'premium' },
    verdict: { ...exhausted, model: undefined },
  },
  { what: 'too many requests', status: 429, code: 'rate_limit_exceeded', verdict: { kind: 'cooling' } },
  {
    what: 'a wait in words',
    status: 429,
    code: 'rate_limit_exceeded',
    message: 'Please try again in 1.5s.',
    verdict: { kind: 'cooling', retryAfterMs: 1_500 },
  },
  { what: 'overload', status: 503, code: 'server_is_overloaded', verdict: { kind: 'unavailable' } },
  { what: 'capacity', status: 429, code: 'model_at_capacity', verdict: { kind: 'unavailable' } },
  { what: 'a fault of the server', status: 500, code: 'server_error', verdict: { kind: 'unavailable' } },
  { what: 'an expired token', status: 401, code: 'token_expired', verdict: { kind: 'unauthorized' } },
  { what: 'a wrong key', status: 401, code: 'invalid_api_key', verdict: { kind: 'unauthorized' } },
  { what: 'an invalidated token', status: 401, code: 'token_invalidated', verdict: { kind: 'needs-login' } },
  { what: 'a revoked token', status: 401, code: 'token_revoked', verdict: { kind: 'needs-login' } },
  {
    what: 'a deactivated account',
    status: 403,
    code: 'account_deactivated',
    verdict: { kind: 'needs-login' },
  },
  {
    what: 'a deactivated workspace',
    status: 402,
    code: 'deactivated_workspace',
    verdict: { kind: 'needs-login' },
  },
  {
    what: 'a forbidden workspace',
    status: 403,
    code: 'invalid_workspace_selected',
    verdict: { kind: 'refused' },
  },
  {
    what: 'an unknown model',
    status: 404,
    code: 'model_not_found',
    verdict: { kind: 'refused', model: MODEL },
  },
  {
    what: 'a file of another account',
    status: 403,
    code: 'file_not_found',
    verdict: { kind: 'refused', model: undefined },
  },
  {
    what: 'content that another account encrypted',
    status: 400,
    code: 'invalid_encrypted_content',
    verdict: { kind: 'repair' },
  },
  {
    what: 'a context that is too long',
    status: 400,
    code: 'context_length_exceeded',
    verdict: { kind: 'pass' },
  },
  { what: 'a policy', status: 400, code: 'content_policy_violation', verdict: { kind: 'pass' } },
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
  'an error in an error': (error) => ({ error: { error } }),
  'JSON in a text': (error) => ({ error: { message: JSON.stringify({ error }) } }),
}

/** What carries it. A provider's WebSocket messages are judged by the function that judges events. */
const CARRIERS: Readonly<Record<string, (wording: Wording, body: object) => Verdict | 'output' | undefined>> =
  {
    'an answer': ({ status, headers = {} }, body) => {
      const lower = Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value])
      return provider.classify(answer(status, body, Object.fromEntries(lower)), asked)
    },
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
    'a frame': ({ status, headers }, body) =>
      provider.classifyEvent({ ...body, type: 'error', status, headers }, asked),
  }

for (const [carrier, judge] of Object.entries(CARRIERS))
  describe(`${carrier} with`, () => {
    for (const wording of WORDINGS) {
      const { kind } = wording.verdict as Verdict
      for (const [form, write] of Object.entries(FORMS))
        test(`${wording.what} as ${form}: the client ${OUTCOMES[kind][0]}`, () => {
          const { code, message, more } = wording
          const verdict = judge(wording, write({ code, message, ...more } as { code?: string }))
          assert.ok(typeof verdict === 'object')
          matches(verdict, wording.verdict)
          assert.deepEqual(stateAfter(verdict), expectedState(wording.verdict as Verdict))
        })
    }
  })

function matches(verdict: object, expected: object): void {
  const told = Object.keys(expected).map((name) => [name, (verdict as Record<string, unknown>)[name]])
  assert.deepEqual(Object.fromEntries(told), expected)
}

/** The account's state for this model and for another one, once the verdict is applied. */
function stateAfter(verdict: Verdict): unknown[] {
  const account = new Account('alice', 'codex', '/pool/alice.json', {} as Credential, {}, 'digest')
  const now = Date.now()
  if (verdict.kind === 'needs-login') account.loginNeeded = { reason: verdict.reason, since: now }
  if (verdict.kind === 'cooling' || verdict.kind === 'exhausted') account.cool(verdict, now)
  return [account.state(now, MODEL), account.state(now, 'another')]
}

function expectedState(verdict: Verdict): unknown[] {
  const [, state] = OUTCOMES[verdict.kind]
  return 'model' in verdict && verdict.model !== undefined && verdict.kind === 'exhausted'
    ? [state, 'ready']
    : [state, state]
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
