import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Conversation, Credential, Inspection, Provider, Verdict } from '../../config/provider.js'
import { codex } from '../../providers/codex.js'
import { account, answer, jwt, poolAccount, request, type RequestParts } from '../kit/provider.js'

const settings = {
  apiKeys: 'never' as const,
  credits: 'last' as const,
  adapt: true,
  allow: [] as string[],
  codexHome: false as const,
  responsesBase: 'https://chat.test/backend-api/codex',
  whamBase: 'https://chat.test/backend-api',
  refreshBase: 'https://auth.test',
  openaiBase: 'https://api.test/v1',
}
const provider = codex(settings) as Required<Provider>

const AUTH = 'https://api.openai.com/auth'
const login = (claims: object = {}, tokens: object = {}): Credential => ({
  auth_mode: 'chatgpt',
  OPENAI_API_KEY: null,
  tokens: {
    id_token: jwt({ exp: 1_000, email: 'alice@example.com', [AUTH]: { chatgpt_plan_type: 'plus' } }),
    access_token: jwt({ exp: 2_000_000_000, ...claims }),
    refresh_token: 'rt_1',
    account_id: 'acct-alice',
    ...tokens,
  },
  last_refresh: '2026-01-01T00:00:00Z',
})
const apiKey: Credential = { auth_mode: 'apikey', OPENAI_API_KEY: 'sk-alice' }

describe('a credential file', () => {
  const inspect = (credential: unknown) => provider.inspect(credential as Credential)
  const inspected = (credential: Credential) => inspect(credential) as Inspection

  test('of a ChatGPT login tells account, e-mail, plan, and the access token’s own end', () => {
    const { login: fingerprint, ...rest } = inspected(login())
    assert.deepEqual(rest, {
      kind: 'chatgpt',
      identity: 'acct-alice/alice@example.com',
      workspace: 'acct-alice',
      label: 'alice@example.com',
      plan: 'plus',
      expiresAt: 2_000_000_000_000,
      refreshable: true,
    })
    assert.ok(fingerprint && !fingerprint.includes('rt_1'))
  })

  test('without an account id takes it from either token', () => {
    const auth = { [AUTH]: { chatgpt_account_id: 'acct-claimed' } }
    assert.equal(inspected(login(auth, { account_id: undefined })).workspace, 'acct-claimed')
    assert.equal(
      inspected(login({}, { account_id: undefined, id_token: jwt(auth) })).workspace,
      'acct-claimed',
    )
  })

  test('with an opaque access token has no known end', () => {
    assert.equal(inspected(login({}, { access_token: 'opaque' })).expiresAt, undefined)
  })

  test('without a refresh token cannot be refreshed, and is used as long as it lasts', () => {
    const { refreshable, login: fingerprint } = inspected(login({}, { refresh_token: undefined }))
    assert.deepEqual([refreshable, fingerprint], [false, undefined])
  })

  test('with tokens and a key follows auth_mode, else the tokens', () => {
    const both = { ...login(), OPENAI_API_KEY: 'sk-alice' }
    assert.equal(inspected({ ...both, auth_mode: 'apikey' }).kind, 'api-key')
    assert.equal(inspected({ ...both, auth_mode: 'chatgpt' }).kind, 'chatgpt')
    assert.equal(inspected({ ...both, auth_mode: undefined }).kind, 'chatgpt')
  })

  test('with an API key is held back as the setting says', () => {
    const order = (apiKeys: 'never' | 'when-exhausted' | 'always') => {
      const inspection = codex({ ...settings, apiKeys }).inspect!(apiKey) as Inspection
      return [inspection.kind, inspection.order]
    }
    assert.deepEqual(order('never'), ['api-key', 'when-alone'])
    assert.deepEqual(order('when-exhausted'), ['api-key', 2])
    assert.deepEqual(order('always'), ['api-key', undefined])
  })

  const useless: [string, unknown, RegExp][] = [
    ['an access token with a line break', { personal_access_token: 'at-1\n' }, /character/],
    ['an agent identity', { agent_identity: { id: 1 } }, /agent identity/],
    ['Bedrock keys', { bedrock_api_key: 'b-1' }, /Bedrock/],
    ['a Gemini login', { access_token: 'ya29', refresh_token: '1//', expiry_date: 1 }, /gemini_NAME\.json/],
    ['a Gemini API key', { api_key: 'AIza' }, /gemini_NAME\.json/],
    ['a bearer token', { token: 't-1' }, /bearer provider/],
    ['a token object of another service', { token: { access_token: 't-1' } }, /another service/],
    ['a login of Claude', { claudeAiOauth: { accessToken: 't-1' } }, /Anthropic/],
    ['a login of Copilot', { 'github.com': { oauth_token: 't-1' } }, /Copilot/],
    ['a key of opencode', { openai: { type: 'api', key: 'sk-1' } }, /"OPENAI_API_KEY"/],
    ['a service account', { type: 'service_account', private_key: 'k-1' }, /service account/],
    ['a configuration', { poolDir: './pool', routes: [] }, /configuration/],
    ['a package.json', { name: 'x', dependencies: {} }, /program/],
    ['a list', [login()], /list/],
    ['an unfinished login', { tokens: { id_token: 'x' } }, /did not finish/],
    ['a logged-out file', { auth_mode: 'chatgpt', OPENAI_API_KEY: null, tokens: null }, /signed out/],
    ['nothing', {}, /empty/],
    ['null', null, /not a JSON object/],
    ['a token with a line break', login({}, { access_token: 'a\nb' }), /character/],
    ['a key with a line break', { OPENAI_API_KEY: 'sk-1\n' }, /line break/],
    ['something else', { hello: 'world-secret' }, /not an auth\.json/],
  ]
  for (const [what, credential, reason] of useless) {
    test(`with ${what} is refused with the reason, which repeats nothing of it`, () => {
      const said = inspect(credential)
      assert.match(said as string, reason)
      assert.doesNotMatch(said as string, /at-1|b-1|ya29|AIza|t-1|k-1|sk-1|world-secret/)
    })
  }
})

test('a login is authorized under its own account, a key under none', async () => {
  const authorize = (credential: Credential) =>
    provider.authorize({ credential, model: undefined, request: request() })
  const credential = login()
  assert.deepEqual(await authorize(credential), {
    authorization: `Bearer ${credential.tokens.access_token}`,
    'chatgpt-account-id': 'acct-alice',
    'x-openai-fedramp': undefined,
  })
  const government = login({ [AUTH]: { chatgpt_account_is_fedramp: true } })
  assert.equal((await authorize(government))['x-openai-fedramp'], 'true')
  const byKey = await authorize(apiKey)
  assert.equal(byKey.authorization, 'Bearer sk-alice')
  assert.equal(byKey['chatgpt-account-id'], undefined)
})

describe('a path', () => {
  const responses = settings.responsesBase
  const wham = settings.whamBase
  const rows: [client: string, chatgpt: string, key: string | undefined][] = [
    ['/v1/responses', `${responses}/responses`, 'https://api.test/v1/responses'],
    ['/v1/responses/compact', `${responses}/responses/compact`, 'https://api.test/v1/responses/compact'],
    [
      '/v1/models?client_version=1',
      `${responses}/models?client_version=1`,
      'https://api.test/v1/models?client_version=1',
    ],
    ['/v1/alpha/search', `${responses}/alpha/search`, 'https://api.test/v1/alpha/search'],
    ['/responses', `${responses}/responses`, 'https://api.test/v1/responses'],
    ['/responses/compact', `${responses}/responses/compact`, 'https://api.test/v1/responses/compact'],
    ['//v1//responses', `${responses}/responses`, 'https://api.test/v1/responses'],
    ['/backend-api/codex/responses', `${responses}/responses`, undefined],
    ['/backend-api/wham/usage', `${wham}/wham/usage`, undefined],
    ['/backend-api/ps/plugins/installed?limit=2', `${wham}/ps/plugins/installed?limit=2`, undefined],
    ['/api/codex/tasks/list?limit=1', `${wham}/wham/tasks/list?limit=1`, undefined],
    ['/api/codex/usage', `${wham}/wham/usage`, undefined],
  ]
  for (const [url, chatgpt, key] of rows) {
    test(`${url} leads where it should, with every kind of account that knows it`, () => {
      const asked = request({ url })
      assert.equal(provider.path(asked, account(login())), chatgpt)
      assert.equal(provider.serves(account(login()), asked), true)
      assert.equal(provider.serves(account(apiKey), asked), key !== undefined)
      if (key !== undefined) assert.equal(provider.path(asked, account(apiKey)), key)
    })
  }

  test('of images and Realtime is Codex’s own on a ChatGPT account, and an API key’s for other clients', () => {
    const metadata = { 'x-codex-turn-metadata': '{}' }
    for (const path of ['images/generations', 'images/edits', 'realtime', 'realtime/calls']) {
      const url = `/v1/${path}`
      assert.equal(provider.path(request({ url }), account(login())), `${responses}/${path}`)
      assert.equal(provider.serves(account(login()), request({ url, headers: metadata })), true)
      assert.equal(provider.serves(account(login()), request({ url })), false)
      assert.equal(provider.serves(account(apiKey), request({ url })), true)
    }
  })

  test('of a generation may be sent twice, of anything that creates something never', () => {
    const twice = (url: string) => provider.replayable(request({ url }))
    for (const path of [
      'responses',
      'responses/compact',
      'alpha/search',
      'images/generations',
      'images/edits',
    ]) {
      assert.equal(twice(`/v1/${path}`), true, path)
      assert.equal(twice(`/backend-api/codex/${path}`), true, path)
    }
    for (const path of [
      '/backend-api/wham/tasks',
      '/backend-api/ps/mcp',
      '/api/codex/tasks',
      '/v1/files',
      '/v1/responses/x/cancel',
    ])
      assert.equal(twice(path), false, path)
    assert.equal(twice('/backend-api/wham/usage/thread-estimates/query'), true)
  })
})

describe('a conversation', () => {
  const metadata = JSON.stringify({ session_id: 'from-metadata', model: 'gpt-from-metadata' })
  const rows: [string, RequestParts, string | undefined][] = [
    ['the session header', { headers: { 'session-id': 's', 'x-codex-turn-metadata': metadata } }, 's'],
    [
      'the turn metadata',
      { headers: { 'x-codex-turn-metadata': metadata }, body: { prompt_cache_key: 'k' } },
      'from-metadata',
    ],
    [
      'the prompt cache key',
      { headers: { 'x-codex-turn-metadata': '{broken' }, body: { prompt_cache_key: 'k' } },
      'k',
    ],
    ['the id of a search', { url: '/v1/alpha/search', body: { id: 'search-1' } }, 'search-1'],
    ['no id of any other body', { body: { id: 'x' } }, undefined],
  ]
  for (const [what, parts, id] of rows) {
    test(`is known by ${what}`, () => {
      const found = provider.conversation(request({ url: '/v1/responses', ...parts }))
      assert.deepEqual(found, id === undefined ? undefined : { id })
    })
  }

  test('that a header names needs no look into the body', () => {
    const onRead = () => assert.fail('the body was read')
    const headers = { 'session-id': 's', 'x-codex-turn-metadata': metadata }
    const asked = request({ url: '/v1/responses', headers, onRead })
    provider.conversation(asked)
    assert.equal(provider.model(asked), 'gpt-from-metadata')
  })

  const personal: [method: string, url: string, ownerOnly: boolean][] = [
    ['GET', '/v1/models', false],
    ['GET', '/backend-api/wham/settings/user', false],
    ['GET', '/backend-api/wham/rate-limit-reset-credits', false],
    ['GET', '/backend-api/ps/plugins/installed', false],
    ['POST', '/backend-api/wham/tasks', true],
    ['POST', '/api/codex/tasks', true],
    ['POST', '/backend-api/wham/usage/thread-estimates/query', false],
    ['POST', '/backend-api/wham/rate-limit-reset-credits/consume', true],
    ['PATCH', '/backend-api/wham/settings/user', true],
    ['POST', '/backend-api/wham/accounts/send_add_credits_nudge_email', true],
    ['POST', '/api/codex/accounts/send_add_credits_nudge_email', true],
    ['DELETE', '/backend-api/ps/plugins/x', true],
    ['POST', '/backend-api/ps/mcp', true],
    ['GET', '/backend-api/ps/mcp', true],
    ['POST', '/backend-api/wham/apps', true],
    ['POST', '/api/codex/apps', true],
    ['GET', '/backend-api/connectors/directory/list?tier=categorized', true],
    ['GET', '/backend-api//connectors/directory/list_workspace', true],
    ['GET', '/backend-api/plugins/featured', true],
    ['GET', '/backend-api/ps//mcp', true],
    ['GET', '/backend-api/ps/%6dcp', true],
    ['GET', '/backend-api/ps/mcp%2f', true],
  ]
  for (const [method, url, ownerOnly] of personal) {
    test(`${method} ${url} belongs to a person${ownerOnly ? ' alone' : ''}`, () => {
      const token = jwt({ [AUTH]: { chatgpt_user_id: 'user-me' } })
      const own = { 'chatgpt-account-id': 'acct-me', 'session-id': 's', authorization: `Bearer ${token}` }
      const found = provider.conversation(request({ method, url, headers: own })) as {
        owner?: string
        ownerOnly?: boolean
      }
      assert.deepEqual([found.owner, found.ownerOnly], ['acct-me/user-me', ownerOnly])
    })
  }

  test('of a caller that tells no person needs no person’s account for a task, and never has one for a change', () => {
    const headers = { 'chatgpt-account-id': 'acct-me', authorization: 'Bearer opaque' }
    const found = (url: string) => provider.conversation(request({ url, headers })) as Conversation
    const { owner, workspace, ownerOnly } = found('/backend-api/wham/tasks')
    assert.deepEqual([owner, workspace, ownerOnly], [undefined, 'acct-me', false])
    assert.equal(found('/backend-api/wham/settings/user').ownerOnly, true)
  })

  test('is bound to its account once an encrypted summary stands for all that was said', () => {
    const summary = { type: 'compaction', encrypted_content: 'gAAA' }
    const said = { type: 'message', role: 'user', content: 'hi' }
    const bound = (window: string, input?: object[], more: object = {}) => {
      const headers = { 'session-id': 's', 'x-codex-window-id': `t:${window}`, ...more }
      const body = input && { input }
      return (provider.conversation(request({ url: '/v1/responses', headers, body })) as Conversation).bound
    }
    assert.equal(bound('1', [summary, said]), true)
    assert.equal(bound('1', [said, summary]), undefined, 'what was said stays readable')
    assert.equal(bound('1', [said]), undefined)
    const hint = { 'x-codex-routing-hint': 'model=gpt-x' }
    assert.equal(bound('1', undefined, hint), true, 'a handshake')
    assert.equal(bound('1'), undefined, 'a handshake where summaries are plain text')
    assert.equal(bound('0', [summary]), undefined, 'the body is not read')
  })

  test('of a person is the same each time, and another person’s another', () => {
    const id = (client: string, headers = {}) =>
      (
        provider.conversation(request({ method: 'GET', url: '/v1/models', client, headers })) as {
          id: string
        }
      ).id
    assert.equal(id('a'), id('a'))
    assert.notEqual(id('a'), id('b'))
    assert.notEqual(id('a'), id('a', { 'chatgpt-account-id': 'acct-me' }))
  })
})

test('the model is the routing hint’s, the turn’s, the body’s; an image’s only the body’s', () => {
  const metadata = { 'x-codex-turn-metadata': JSON.stringify({ model: 'turn' }) }
  const model = (url: string, headers: Record<string, string>) =>
    provider.model(request({ url, headers, body: { model: 'body' } }))
  assert.equal(model('/v1/responses', { ...metadata, 'x-codex-routing-hint': 'model=hint' }), 'hint')
  assert.equal(model('/v1/responses', metadata), 'turn')
  assert.equal(model('/v1/responses', {}), 'body')
  assert.equal(model('/v1/images/generations', metadata), 'body')
})

describe('a verdict', () => {
  const asked = request({ url: '/v1/responses', body: { model: 'gpt-x' } })
  const judge = (...parts: Parameters<typeof answer>) => provider.classify(answer(...parts), asked)
  const error = (fields: object) => ({ error: fields })
  const full = {
    'x-codex-primary-used-percent': '100',
    'x-codex-primary-reset-at': '2000000000',
    'x-codex-secondary-used-percent': '12',
    'x-codex-secondary-reset-at': '2100000000',
  }

  const rows: [what: string, parts: Parameters<typeof answer>, verdict: Partial<Verdict>][] = [
    ['200', [200], { kind: 'pass' }],
    ['400', [400, { detail: 'Stream must be set to true' }], { kind: 'pass' }],
    [
      '400 model not supported',
      [400, { detail: "The 'gpt-x' model is not supported when using Codex with a ChatGPT account." }],
      { kind: 'refused', reason: 'model_not_available', model: 'gpt-x' },
    ],
    [
      '400 model_not_found',
      [400, error({ code: 'model_not_found' })],
      { kind: 'refused', reason: 'model_not_available', model: 'gpt-x' },
    ],
    [
      '400 of a model that a key has no access to',
      [400, error({ message: 'The model `gpt-x` does not exist or you do not have access to it.' })],
      { kind: 'refused', reason: 'model_not_available', model: 'gpt-x' },
    ],
    [
      '403 on a file, under a code that does not say so',
      [403, error({ code: 'permission_denied', message: 'You do not have access to file file-1.' })],
      { kind: 'refused', reason: 'permission_denied: You do not have access to file file-1.' },
    ],
    [
      '403 at a spending limit',
      [403, error({ code: 'spend_control_reached' })],
      { kind: 'exhausted', reason: 'spend_control_reached' },
    ],
    ['401', [401, error({ code: 'token_expired' })], { kind: 'unauthorized', reason: 'token_expired' }],
    [
      '401 of a closed account',
      [401, error({ code: 'account_deactivated' })],
      { kind: 'needs-login', reason: 'account_deactivated' },
    ],
    ['402', [402, {}], { kind: 'exhausted', reason: 'http_402', resetsAt: undefined }],
    [
      '402 of a closed workspace',
      [402, { detail: { code: 'deactivated_workspace' } }],
      { kind: 'needs-login', reason: 'deactivated_workspace' },
    ],
    [
      '403',
      [403, { detail: 'You are not a member of this workspace.' }],
      { kind: 'refused', reason: 'http_403: You are not a member of this workspace.', model: 'gpt-x' },
    ],
    [
      '403 challenge',
      [403, '<!DOCTYPE html><title>Just a moment...</title>', { 'content-type': 'text/html' }],
      { kind: 'unavailable', reason: 'challenge_page' },
    ],
    [
      '403 challenge by header',
      [403, '{}', { 'cf-mitigated': 'challenge' }],
      { kind: 'unavailable', reason: 'challenge_page' },
    ],
    ['404', [404, { detail: 'Not Found' }], { kind: 'refused', reason: 'http_404: Not Found' }],
    [
      '404 of a model',
      [404, error({ code: 'model_not_found' })],
      { kind: 'refused', reason: 'model_not_available', model: 'gpt-x' },
    ],
    ['408', [408], { kind: 'unavailable', reason: 'http_408' }],
    ['422', [422], { kind: 'pass' }],
    [
      '429 with seconds',
      [429, error({ type: 'rate_limit_exceeded' }), { 'retry-after': '30' }],
      { kind: 'cooling', reason: 'rate_limit_exceeded', retryAfterMs: 30_000 },
    ],
    [
      '429 with a past date',
      [429, '', { 'retry-after': 'Wed, 21 Oct 2015 07:28:00 GMT' }],
      { kind: 'cooling', reason: 'rate_limited', retryAfterMs: 0 },
    ],
    [
      '429 with a hint',
      [429, error({ code: 'rate_limit_exceeded', message: 'Please try again in 1.5s.' })],
      { kind: 'cooling', reason: 'rate_limit_exceeded: Please try again in 1.5s.', retryAfterMs: 1_500 },
    ],
    ['429 with nothing', [429], { kind: 'cooling', reason: 'rate_limited', retryAfterMs: undefined }],
    [
      '429 page',
      [429, '<html>1015</html>', { 'retry-after': '5' }],
      { kind: 'unavailable', reason: 'challenge_page', retryAfterMs: 5_000 },
    ],
    [
      '429 resets_at',
      [429, error({ type: 'usage_limit_reached', plan_type: 'pro', resets_at: 2_000_000_000 })],
      { kind: 'exhausted', reason: 'usage_limit_reached', resetsAt: 2_000_000_000_000, plan: 'pro' },
    ],
    [
      '429 windows',
      [429, error({ type: 'usage_limit_reached' }), full],
      { kind: 'exhausted', reason: 'usage_limit_reached', resetsAt: 2_000_000_000_000 },
    ],
    ['429 full window without words', [429, '', full], { kind: 'exhausted', resetsAt: 2_000_000_000_000 }],
    [
      '429 without a reset',
      [429, error({ type: 'usage_limit_reached' })],
      { kind: 'exhausted', resetsAt: undefined },
    ],
    [
      '429 usage_not_included',
      [429, error({ type: 'usage_not_included' })],
      { kind: 'exhausted', reason: 'usage_not_included' },
    ],
    [
      '429 insufficient_quota',
      [429, error({ code: 'insufficient_quota' })],
      { kind: 'exhausted', reason: 'insufficient_quota' },
    ],
    [
      '429 of one model’s limit',
      [429, error({ type: 'usage_limit_reached' }), { 'x-codex-active-limit': 'codex_spark' }],
      { kind: 'exhausted', model: 'gpt-x' },
    ],
    [
      '429 of the common limit',
      [429, error({ type: 'usage_limit_reached' }), { 'x-codex-active-limit': 'codex' }],
      { kind: 'exhausted', model: undefined },
    ],
    ['500', [500], { kind: 'unavailable', reason: 'http_500' }],
    ['502 page', [502, '<html>'], { kind: 'unavailable', reason: 'http_502' }],
    [
      '503 overloaded',
      [503, error({ code: 'server_is_overloaded' }), { 'retry-after': '2' }],
      { kind: 'unavailable', reason: 'server_is_overloaded', retryAfterMs: 2_000 },
    ],
    ['529', [529], { kind: 'unavailable', reason: 'http_529' }],
  ]
  for (const [what, parts, expected] of rows) {
    test(`on ${what} is ${expected.kind}`, () => {
      const verdict = judge(...parts)
      assert.deepEqual({ ...verdict, ...expected }, verdict)
    })
  }

  test('tells a reset that is a distance, or only a Retry-After, as a time', () => {
    for (const [body, headers] of [
      [{ resets_in_seconds: 3_600 }, {}],
      [{}, { 'retry-after': '3600' }],
    ] as const) {
      const before = Date.now()
      const verdict = judge(429, error({ type: 'usage_limit_reached', ...body }), headers)
      assert.ok(verdict.kind === 'exhausted' && verdict.resetsAt! >= before + 3_600_000)
      assert.ok(verdict.resetsAt! <= Date.now() + 3_600_000)
    }
  })

  test('on a model is none where the request names no model', () => {
    const nameless = request({ method: 'GET', url: '/backend-api/wham/tasks/1' })
    assert.equal(provider.classify(answer(404, error({ code: 'model_not_found' })), nameless).kind, 'pass')
  })
})

describe('the first events of a stream', () => {
  const failed = (code: string, message = '') => ({
    type: 'response.failed',
    response: { error: { code, message } },
  })
  const rows: [string, unknown, unknown][] = [
    ['created', { type: 'response.created', response: {} }, undefined],
    ['in progress', { type: 'response.in_progress' }, undefined],
    ['rate limits', { type: 'codex.rate_limits' }, undefined],
    ['keepalive', { type: 'keepalive' }, undefined],
    ['rate limits of the response', { type: 'response.rate_limits.updated' }, undefined],
    ['keepalive of the response', { type: 'response.keep-alive' }, undefined],
    ['metadata that change', { type: 'response.metadata.updated' }, undefined],
    ['an event of the backend’s own', { type: 'response.codex.rate_limits' }, undefined],
    ['a part of an image', { type: 'image_generation.partial_image', b64_json: 'x' }, 'output'],
    [
      'an answer that ends because it is long enough',
      { type: 'response.incomplete', response: { incomplete_details: { reason: 'max_output_tokens' } } },
      'output',
    ],
    [
      'an answer that ends at a limit',
      { type: 'response.incomplete', response: { incomplete_details: { reason: 'usage_limit_reached' } } },
      { kind: 'exhausted', reason: 'usage_limit_reached' },
    ],
    [
      'a response that is created as a failure',
      { type: 'response.created', response: { status: 'failed', error: { code: 'usage_limit_reached' } } },
      { kind: 'exhausted', reason: 'usage_limit_reached' },
    ],
    [
      'a response that is completed as a failure',
      { type: 'response.completed', response: { status: 'failed', error: { code: 'server_error' } } },
      { kind: 'unavailable', reason: 'server_error' },
    ],
    [
      'an error of the backend’s own',
      { type: 'codex.error', error: { code: 'rate_limit_exceeded' } },
      { kind: 'cooling', reason: 'rate_limit_exceeded' },
    ],
    [
      'an error among the details of the status',
      { type: 'response.failed', response: { status_details: { error: { code: 'unauthorized' } } } },
      { kind: 'unauthorized', reason: 'unauthorized', ofLogin: true },
    ],
    [
      'a flat error without a type',
      { status: 429, message: 'Too Many Requests' },
      { kind: 'cooling', reason: 'rate_limited: Too Many Requests' },
    ],
    [
      'a failure without a word',
      { type: 'response.failed', response: { error: null } },
      { kind: 'unavailable', reason: 'response_failed' },
    ],
    ['no event at all', 'x', undefined],
    ['an item', { type: 'response.output_item.added', item: {} }, 'output'],
    ['a delta', { type: 'response.output_text.delta', delta: 'H' }, 'output'],
    ['completed', { type: 'response.completed', response: {} }, 'output'],
    [
      'rate limit',
      failed('rate_limit_exceeded', 'Please try again in 2s'),
      { kind: 'cooling', reason: 'rate_limit_exceeded: Please try again in 2s', retryAfterMs: 2_000 },
    ],
    [
      'usage limit',
      failed('usage_limit_reached'),
      { kind: 'exhausted', reason: 'usage_limit_reached', resetsAt: undefined, plan: undefined },
    ],
    [
      'quota',
      failed('insufficient_quota'),
      { kind: 'exhausted', reason: 'insufficient_quota', resetsAt: undefined, plan: undefined },
    ],
    ['overload', failed('server_is_overloaded'), { kind: 'unavailable', reason: 'server_is_overloaded' }],
    ['the request’s own fault', failed('context_length_exceeded'), { kind: 'pass' }],
    [
      'an error event',
      { type: 'error', error: { type: 'usage_limit_reached', resets_at: 2_000_000_000, plan_type: 'pro' } },
      { kind: 'exhausted', reason: 'usage_limit_reached', resetsAt: 2_000_000_000_000, plan: 'pro' },
    ],
    [
      'a flat error event',
      { type: 'error', code: 'rate_limit_exceeded', message: '' },
      { kind: 'cooling', reason: 'rate_limit_exceeded', retryAfterMs: undefined },
    ],
    [
      'an error event with a status',
      { type: 'error', status: 503, error: { message: 'x' } },
      { kind: 'unavailable', reason: 'http_503' },
    ],
  ]
  for (const [what, event, verdict] of rows) {
    test(`are read: ${what}`, () => {
      // A verdict's unknown fields may be left out or undefined.
      const judged: unknown = JSON.parse(JSON.stringify(provider.classifyEvent(event) ?? null))
      assert.deepEqual(judged, verdict === undefined ? null : JSON.parse(JSON.stringify(verdict)))
    })
  }
})

test('usage comes from the end of a stream and from plain JSON alike', () => {
  const usage = {
    input_tokens: 10,
    input_tokens_details: { cached_tokens: 4 },
    output_tokens: 5,
    output_tokens_details: { reasoning_tokens: 2 },
    total_tokens: 15,
  }
  const expected = { inputTokens: 10, cachedTokens: 4, outputTokens: 5, reasoningTokens: 2, totalTokens: 15 }
  const event = { type: 'response.completed', response: { usage } }
  assert.deepEqual(provider.usage(event), expected)
  assert.deepEqual(provider.usage({ usage }), expected)
  assert.equal(provider.usage({ type: 'response.created', response: { usage: null } }), undefined)
  assert.ok(JSON.stringify(event).includes(provider.usageMarker))
  const spoken = { type: 'response.output_text.delta', delta: JSON.stringify(event) }
  assert.ok(!JSON.stringify(spoken).includes(provider.usageMarker))
})

describe('quota in headers', () => {
  test('is read as it is, by position and with its length', () => {
    const quota = provider.quota({
      'x-codex-primary-used-percent': '42',
      'x-codex-primary-window-minutes': '10080',
      'x-codex-primary-reset-at': '2000000000',
      'x-codex-plan-type': 'pro',
      'x-codex-credits-has-credits': 'True',
      'x-codex-credits-unlimited': 'False',
      'x-codex-credits-balance': '12.5',
    })
    assert.deepEqual(quota, {
      windows: [{ name: 'primary', usedPercent: 42, lengthMinutes: 10_080, resetsAt: 2_000_000_000_000 }],
      plan: 'pro',
      credits: { hasCredits: true, unlimited: false, balance: '12.5', use: 'last' },
    })
  })

  test('that a plan does not have is unknown, not empty', () => {
    const none = { 'used-percent': '0', 'window-minutes': '0', 'reset-after-seconds': '0', 'reset-at': '' }
    const headers = Object.fromEntries(
      Object.entries(none).map(([name, value]) => [`x-codex-secondary-${name}`, value]),
    )
    assert.equal(provider.quota(headers), undefined)
    assert.equal(provider.quota({ 'x-codex-primary-used-percent': '' }), undefined)
    assert.equal(provider.quota({}), undefined)
  })
})

test('a balance of credits is read as a text and as a number, whatever carries it', () => {
  for (const balance of ['12.5', 12.5]) {
    const credits = { has_credits: true, unlimited: false, balance }
    const message = { type: 'codex.rate_limits', credits }
    const expected = { hasCredits: true, unlimited: false, balance: '12.5', use: 'last' }
    assert.deepEqual(provider.socket.quota!(message)?.credits, expected)
  }
})

describe('quota of one model', () => {
  const spark = {
    'x-codex-active-limit': 'codex_bengalfox',
    'x-codex-primary-used-percent': '100',
    'x-codex-primary-window-minutes': '299',
    'x-codex-primary-reset-at': '2000000000',
    'x-codex-bengalfox-limit-name': 'GPT-5.3-Codex-Spark',
    'x-codex-bengalfox-primary-used-percent': '100',
    'x-codex-bengalfox-primary-window-minutes': '299',
    'x-codex-bengalfox-primary-reset-at': '2000000000',
  }
  const model = 'gpt-5.3-codex-spark'
  const window = { name: 'codex_bengalfox primary', model, usedPercent: 100, lengthMinutes: 300 }

  test('in headers is not read as the account’s, which only repeat it', () => {
    assert.deepEqual(provider.quota(spark)?.windows, [{ ...window, resetsAt: 2_000_000_000_000 }])
    const both = provider.quota({ ...spark, 'x-codex-active-limit': 'premium' })!
    assert.deepEqual(
      both.windows.map((one) => [one.name, one.model]),
      [
        ['primary', undefined],
        ['codex_bengalfox primary', model],
      ],
    )
  })

  test('in a refusal exhausts that model alone, by the windows of its own headers', () => {
    const asked = request({ url: '/v1/responses', body: { model } })
    const verdict = provider.classify(answer(429, {}, spark), asked)
    assert.deepEqual([verdict.kind, (verdict as { model?: string }).model], ['exhausted', model])
  })

  test('in wham/usage and in a message is read from its own list', () => {
    const limit = {
      limit_name: 'GPT-5.3-Codex-Spark',
      metered_feature: 'codex_bengalfox',
      rate_limit: {
        primary_window: { used_percent: 100, limit_window_seconds: 17_940, reset_at: 2_000_000_000 },
      },
    }
    const message = { type: 'codex.rate_limits', rate_limits: {}, additional_rate_limits: [limit] }
    assert.deepEqual(provider.socket.quota!(message)?.windows, [{ ...window, resetsAt: 2_000_000_000_000 }])
  })

  test('in a message about that limit alone is no word about the account', () => {
    const rate_limits = { primary: { used_percent: 100, window_minutes: 300, reset_at: 2_000_000_000 } }
    const read = (limit: object) =>
      provider.socket.quota!({ type: 'codex.rate_limits', rate_limits, ...limit })!.windows.map(
        (one) => one.model,
      )
    assert.deepEqual(read({ metered_limit_name: 'codex_bengalfox', limit_name: 'GPT-5.3-Codex-Spark' }), [
      model,
    ])
    assert.deepEqual(read({ metered_limit_name: 'codex_bengalfox' }), [])
    assert.deepEqual(read({ metered_limit_name: 'codex' }), [undefined])
    assert.deepEqual(read({}), [undefined])
  })

  test('is told for the whole pool, in wham/usage, in headers and in messages', () => {
    const reset = Date.now() + 3_600_000
    const accounts = [20, 60].map((usedPercent) =>
      poolAccount({ quota: { windows: [{ ...window, usedPercent, resetsAt: reset }] } }),
    )
    const usage = provider.answer(request({ method: 'GET', url: '/backend-api/wham/usage' }), {
      accounts,
      now: Date.now(),
    })!.body as { rate_limit: unknown; additional_rate_limits: Record<string, any>[] }
    assert.equal(usage.rate_limit, null)
    const [limit] = usage.additional_rate_limits
    assert.deepEqual(
      [limit!.limit_name, limit!.metered_feature, limit!.rate_limit.primary_window.used_percent],
      [model, 'codex_bengalfox', 40],
    )
    const headers = provider.poolHeaders(spark, accounts, Date.now())
    assert.deepEqual(
      [headers['x-codex-primary-used-percent'], headers['x-codex-bengalfox-primary-used-percent']],
      ['40', '40'],
    )
    const message = { type: 'codex.rate_limits', metered_limit_name: 'codex_bengalfox', limit_name: model }
    const told = provider.socket.withPoolQuota!(message, accounts, Date.now()) as Record<string, any>
    assert.equal(told.rate_limits.primary.used_percent, 40)
    const whole = {
      type: 'codex.rate_limits',
      rate_limits: {},
      additional_rate_limits: [{ limit_name: model }],
    }
    const { additional_rate_limits: all } = provider.socket.withPoolQuota!(
      whole,
      accounts,
      Date.now(),
    ) as typeof usage
    assert.equal(all[0]?.rate_limit.primary_window.used_percent, 40)
  })
})

test('a window of 299 or 10,079 minutes is the one of 5 hours or 7 days', () => {
  const lengths = ['299', '300', '301', '10079', '10080', '1439', '43199', '60', '1000'].map((minutes) => {
    const headers = { 'x-codex-primary-used-percent': '5', 'x-codex-primary-window-minutes': minutes }
    return provider.quota(headers)!.windows[0]!.lengthMinutes
  })
  assert.deepEqual(lengths, [300, 300, 300, 10_080, 10_080, 1_440, 43_200, 60, 1_000])
})

test('a failure ends a stream under the code on which Codex does what it would do with the answer', () => {
  const ended = (answer: Parameters<typeof provider.streamFailure>[0]) => {
    const text = provider.streamFailure(answer, request())
    assert.match(text, /^event: response\.failed\ndata: .*\n\n$/)
    return JSON.parse(text.split('data: ')[1]!).response.error as { code: string; message: string }
  }
  const body = { error: { message: 'It is so.', code: 'x' } }
  assert.equal(ended(provider.exhausted({}, request())).code, 'insufficient_quota')
  assert.deepEqual(ended({ status: 503, headers: { 'retry-after': '7' }, body }), {
    code: 'rate_limit_exceeded',
    message: 'It is so. Please try again in 7s.',
  })
  assert.equal(ended({ status: 502, body }).code, 'server_error')
  assert.equal(ended({ status: 400, body }).code, 'invalid_prompt')
  const long = { error: { code: 'context_length_exceeded', message: 'Too long.' } }
  assert.equal(ended({ status: 400, body: long }).code, 'context_length_exceeded')
  assert.match(provider.keepAlive.event, /^event: \w+\ndata: \{.*\}\n\n$/)
  assert.ok(provider.keepAlive.afterMs <= 300_000 / 3)
})

describe('what another account encrypted', () => {
  const refusal = { error: { code: 'invalid_encrypted_content', message: 'It could not be verified.' } }
  const repaired = (...input: object[]) => {
    const verdict = provider.classify(
      answer(400, refusal),
      request({ url: '/v1/responses', body: { input } }),
    )
    return verdict.kind === 'repair' ? (verdict.body as { input: Record<string, any>[] }).input : verdict
  }
  const said = { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'hi' }] }
  const encrypted_content = 'gAAA'
  const rows: [what: string, item: object, left: object[]][] = [
    ['reasoning', { type: 'reasoning', id: 'rs_1', summary: [], encrypted_content }, []],
    ['reasoning that has lost its content', { type: 'reasoning', id: 'rs_1', summary: [] }, []],
    [
      'a message with a field of it',
      {
        type: 'message',
        role: 'assistant',
        content: [{ type: 'output_text', text: 'yes' }],
        encrypted_content,
      },
      [{ type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'yes' }] }],
    ],
  ]
  for (const [what, item, left] of rows)
    test(`is taken out: ${what}`, () => {
      const other = { type: 'reasoning', id: 'rs_0', summary: [], encrypted_content }
      assert.deepEqual(repaired(said, item, other), [said, ...left])
    })

  const replaced: [what: string, item: Record<string, any>][] = [
    ['a summary beside what was said', { type: 'compaction', encrypted_content }],
    [
      'a sub-agent’s message',
      { type: 'agent_message', content: [{ type: 'encrypted_content', encrypted_content }] },
    ],
    [
      'an output of a function',
      {
        type: 'function_call_output',
        call_id: 'c',
        output: [{ type: 'encrypted_content', encrypted_content }],
      },
    ],
    ['an output that is nothing else', { type: 'function_call_output', call_id: 'c', encrypted_content }],
    ['content deep inside', { type: 'x', a: { b: [{ c: { encrypted_content, kept: 1 } }] } }],
    ['a message that is nothing else', { type: 'message', role: 'assistant', encrypted_content }],
  ]
  for (const [what, item] of replaced)
    test(`is replaced, so that the request stays valid: ${what}`, () => {
      const [first, second] = repaired(said, item) as Record<string, any>[]
      assert.deepEqual(first, said)
      const text = JSON.stringify(second)
      assert.ok(!text.includes('encrypted_content'), text)
      assert.ok(
        what === 'content deep inside' ? text.includes('"kept":1') : text.includes('cannot be read'),
        text,
      )
      if (item.type === 'function_call_output')
        assert.deepEqual([second!.call_id, second!.output === undefined], ['c', false])
    })

  test('is taken out of the arguments of a call, which keeps arguments', () => {
    const call = {
      type: 'function_call',
      call_id: 'c',
      name: 'f',
      encrypted_function_args: encrypted_content,
    }
    const { encrypted_function_args: _, ...rest } = call
    assert.deepEqual(repaired(said, call), [said, { ...rest, arguments: '{}' }])
  })

  test('is the whole context: the next account is asked, and if none can, Codex makes a new summary', () => {
    const summary = { type: 'compaction', encrypted_content }
    const surroundings = { type: 'message', role: 'user', content: '<environment_context>…' }
    const verdict = repaired(surroundings, summary, said) as Extract<Verdict, { kind: 'refused' }>
    assert.deepEqual([verdict.kind, verdict.model], ['refused', undefined])
    const { body } = verdict.replacement as { body: { response: { error: { code: string } } } }
    assert.equal(body.response.error.code, 'context_length_exceeded')
    const anew = repaired(summary, said, { type: 'compaction_trigger' }) as Record<string, any>[]
    assert.ok(Array.isArray(anew) && !JSON.stringify(anew).includes('encrypted_content'))
  })

  test('is no reason where there is none of it in the request', () => {
    assert.deepEqual(repaired(said), { kind: 'pass' })
  })
})

test('an exhausted pool says so in Codex’s words, and only what is known', () => {
  const said = (exhaustion: object) => provider.exhausted(exhaustion, request())
  assert.deepEqual(said({ resetsAt: 1_999_999_999_001, plan: 'pro' }), {
    status: 429,
    body: {
      error: {
        type: 'usage_limit_reached',
        message: 'Every account of the pool has reached its usage limit.',
        plan_type: 'pro',
        resets_at: 2_000_000_000,
      },
    },
  })
  const { error } = said({}).body as { error: object }
  assert.deepEqual(Object.keys(error), ['type', 'message'])
})
