import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { describe, test } from 'node:test'
import type { Credential, Inspection, Provider } from '../../config/provider.js'
import { codex } from '../../providers/codex.js'
import { startPool } from '../kit/pool.js'
import { calls, jwt, withUpstream } from '../kit/provider.js'

const providerAt = (url: string) =>
  codex({
    apiKeys: 'never',
    credits: 'last',
    adapt: true,
    allow: [],
    codexHome: false,
    responsesBase: `${url}/codex`,
    whamBase: url,
    refreshBase: url,
    openaiBase: url,
  }) as Required<Provider>
const { inspect, authorize } = providerAt('https://chat.test')

const AUTH = 'https://api.openai.com/auth'
const ids = { chatgpt_account_id: 'acct-alice', chatgpt_user_id: 'user-alice', chatgpt_plan_type: 'plus' }
const token = jwt({ iss: 'https://auth.openai.com', exp: 2_000_000_000, [AUTH]: ids })
const LATER = 2_000_000_000_000

/** One login as other programs keep it. */
const forms: Record<string, Credential> = {
  'a flat file': { access_token: token, refresh_token: 'rt_1', id_token: token, account_id: 'acct-alice' },
  'a flat file with a type and an end': {
    type: 'codex',
    access_token: token,
    refresh_token: 'rt_1',
    id_token: token,
    account_id: 'acct-alice',
    email: 'alice@example.com',
    expired: '2033-05-18T03:33:20Z',
    last_refresh: '2026-01-01T00:00:00Z',
  },
  'a flat file in other letters': { accessToken: token, refreshToken: 'rt_1', accountId: 'acct-alice' },
  'a file of opencode': {
    anthropic: { type: 'oauth', access: 'sk-ant', refresh: 'r', expires: 1 },
    openai: { type: 'oauth', access: token, refresh: 'rt_1', expires: LATER, accountId: 'acct-alice' },
  },
  'a file of cockpit': {
    id: 'codex_1',
    email: 'alice@example.com',
    tokens: { access_token: token, refresh_token: 'rt_1', id_token: token },
    account_id: 'acct-alice',
    quota: { hourly_percentage: 75 },
  },
  'a file of pi': {
    anthropic: { type: 'oauth', access: 'sk-ant', refresh: 'r', expires: 1 },
    'openai-codex': {
      type: 'oauth',
      access: token,
      refresh: 'rt_1',
      expires: LATER,
      accountId: 'acct-alice',
    },
  },
  'a file with one token object': { name: 'alice', token: { access_token: token, refresh_token: 'rt_1' } },
  'a file with an oauth object': { name: 'alice', oauth: { access_token: token, refresh_token: 'rt_1' } },
  'the data of an answer': { data: { access_token: token, refresh_token: 'rt_1', id_token: token } },
  'a file with credentials': { name: 'alice', credentials: { access_token: token, refresh_token: 'rt_1' } },
}

describe('a ChatGPT login in', () => {
  for (const [form, credential] of Object.entries(forms))
    test(`${form} is read, and becomes Codex’s own form with its first refresh`, async () => {
      const inspection = inspect(credential) as Inspection
      assert.deepEqual(
        [inspection.kind, inspection.identity, inspection.plan, inspection.expiresAt, inspection.refreshable],
        ['chatgpt', 'acct-alice/user-alice', 'plus', LATER, true],
      )
      const headers = await authorize({ credential, model: undefined, request: {} as never })
      assert.deepEqual(
        [headers.authorization, headers['chatgpt-account-id']],
        [`Bearer ${token}`, 'acct-alice'],
      )
      await withUpstream(
        () => [200, { access_token: 'new', refresh_token: 'rt_2' }],
        async ({ url }) => {
          const { credential: refreshed } = await providerAt(url).refresh(credential, calls())
          const { access_token, refresh_token, account_id } = refreshed.tokens
          assert.deepEqual([access_token, refresh_token], ['new', 'rt_2'])
          assert.ok(account_id === 'acct-alice' || refreshed.account_id === 'acct-alice')
          assert.ok(!JSON.stringify(refreshed).includes('rt_1'), 'a spent token stays nowhere')
          assert.equal((inspect(refreshed) as Inspection).workspace, 'acct-alice')
          // Other fields survive.
          for (const name of ['anthropic', 'email', 'quota', 'name'])
            assert.deepEqual(refreshed[name], credential[name])
        },
      )
    })

  test('a flat file with opaque tokens is known by its account id', () => {
    const flat = {
      access_token: 'opaque',
      refresh_token: 'r',
      account_id: 'acct-alice',
      expires_at: 2_000_000_000,
    }
    const { identity, expiresAt } = inspect(flat) as Inspection
    assert.deepEqual([identity, expiresAt], ['acct-alice', LATER])
  })
})

const others: [what: string, credential: Credential, reason: RegExp][] = [
  ['Google’s', { access_token: 'ya29.x', refresh_token: '1//x', account_id: 'x' }, /gemini_NAME/],
  [
    'Claude’s',
    { type: 'claude', access_token: 'sk-ant', refresh_token: 'r', account_id: 'x' },
    /another service/,
  ],
  ['another issuer’s', { access_token: jwt({ iss: 'https://x.test' }), account_id: 'x' }, /another service/],
  ['an unknown one', { access_token: 'opaque', refresh_token: 'r' }, /another service/],
  ['a key of OpenAI under another name', { api_key: 'sk-x' }, /OPENAI_API_KEY/],
  ['a refresh token alone', { refresh_token: 'rt_x' }, /without an access token/],
  ['an encrypted vault', { version: 1, nonce: 'x', ciphertext: 'y' }, /encrypted by another program/],
  ['an index of accounts', { current_account_id: 'a', accounts: [{ id: 'a' }] }, /several accounts/],
]
for (const [what, credential, reason] of others)
  test(`a file that holds ${what} is named for what it is`, () => {
    const said = inspect(credential) as string
    assert.match(said, reason)
    assert.doesNotMatch(said, /ya29\.x|sk-ant|opaque|rt_x|sk-x/)
  })

test('no ChatGPT login is ever advised to be given to another provider', () => {
  for (const credential of Object.values(forms)) {
    assert.equal(typeof inspect(credential), 'object')
    const { access_token: _, ...half } = credential
    for (const broken of [
      half,
      { ...credential, access_token: '', accessToken: '', tokens: {}, openai: {} },
    ]) {
      const said = inspect(broken as Credential)
      if (typeof said === 'string') assert.doesNotMatch(said, /gemini|bearer/i)
    }
  }
})

const clients: [what: string, credential: Credential, client: string][] = [
  [
    'the file names',
    { tokens: { access_token: token, refresh_token: 'rt_1', oauth_provenance: { client_id: 'app_file' } } },
    'app_file',
  ],
  [
    'the access token names as client_id',
    { tokens: { access_token: jwt({ client_id: 'app_token', [AUTH]: ids }), refresh_token: 'rt_1' } },
    'app_token',
  ],
  [
    'the access token names as azp',
    { tokens: { access_token: jwt({ azp: 'app_azp', [AUTH]: ids }), refresh_token: 'rt_1' } },
    'app_azp',
  ],
  [
    'the ID token is for',
    {
      tokens: {
        access_token: jwt({ aud: ['https://api.openai.com/v1'], [AUTH]: ids }),
        id_token: jwt({ aud: ['app_id'] }),
        refresh_token: 'rt_1',
      },
    },
    'app_id',
  ],
  [
    'is public, where nothing names one',
    { tokens: { access_token: 'opaque', refresh_token: 'rt_1' } },
    'app_EMoamEEZ73f0CkXaXp7hrann',
  ],
]
for (const [what, credential, client] of clients)
  test(`a login is refreshed by the OAuth client that ${what}`, () =>
    withUpstream(
      () => [200, { access_token: 'new' }],
      async ({ url, received }) => {
        await providerAt(url).refresh(credential, calls())
        assert.equal(JSON.parse(received[0]!.text).client_id, client)
      },
    ))

test('a flat file serves, is refreshed, and serves again', async (t) => {
  const pool = await startPool(t, {
    codex: [{ id: 'alice' }],
    prepare: async ({ sim, poolDir }) => {
      const { tokens } = sim.account('alice').authJson({ expired: true })
      await writeFile(`${poolDir}/alice.json`, JSON.stringify({ ...tokens, type: 'codex', note: 'mine' }))
    },
  })
  assert.equal(await pool.servedBy('s1'), 'alice')
  const file = JSON.parse(await readFile(pool.file('alice'), 'utf8'))
  assert.deepEqual([file.note, file.access_token, file.refresh_token], ['mine', null, null])
  assert.equal(file.tokens.refresh_token, pool.sim.account('alice').refreshToken)
  await pool.restart()
  assert.equal(await pool.servedBy('s2'), 'alice')
})
