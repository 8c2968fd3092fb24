import assert from 'node:assert/strict'
import { chmod, lstat, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { resolveConfig, type Credential } from '../../config/index.js'
import { recognise } from '../../src/cli/add.js'
import { settingsOf } from '../../src/settings.js'
import { builtinStrategies } from '../../src/accounts/strategies.js'
import { field, startSimulator, type Simulator } from '../../src/simulator/index.js'
import {
  assertNoSecret,
  emptyFolder,
  NO_GATEWAY,
  runCommand,
  startCommand,
  type Ended,
} from '../kit/command.js'
import { codeOf, inOrder, startPool, until, type TestPool } from '../kit/pool.js'
import { enterCode, loginPages } from '../kit/simulator/login.js'

interface Stage {
  readonly sim: Simulator
  readonly folder: string
  run(...args: string[]): Promise<Ended>
  /** Writes a file beside the pool and gives its path. */
  file(name: string, content: unknown): Promise<string>
  pool(): Promise<string[]>
  read(name: string): Promise<unknown>
}

/** A folder with a pool, and no gateway. */
async function stage(t: TestContext): Promise<Stage> {
  const sim = await startSimulator({
    codex: [{ id: 'alice' }, { id: 'alice-at-work', email: 'alice@example.com', plan: 'team' }],
    gemini: [{ id: 'g1' }],
  })
  t.after(() => sim.close())
  const folder = await emptyFolder(t)
  return {
    sim,
    folder,
    run: (...args) => runCommand(t, args, { cwd: folder, env: { ...sim.environment, ...NO_GATEWAY } }),
    file: (name, content) => writeIn(folder, name, content),
    pool: async () => (await readdir(join(folder, 'pool'))).filter((name) => !name.startsWith('.')).sort(),
    read: async (name) => JSON.parse(await readFile(join(folder, 'pool', name), 'utf8')),
  }
}

async function writeIn(folder: string, name: string, content: unknown): Promise<string> {
  const path = join(folder, name)
  await mkdir(join(path, '..'), { recursive: true })
  await writeFile(path, JSON.stringify(content), { mode: 0o600 })
  return path
}

/** The command line beside a running gateway, wherever it listens now. */
function beside(t: TestContext, pool: TestPool): (...args: string[]) => Promise<Ended> {
  return (...args) => runCommand(t, args, { cwd: pool.dir, env: environmentOf(pool) })
}

function environmentOf(pool: TestPool): Record<string, string> {
  return {
    ...pool.sim.environment,
    PROXY_LISTEN_ADDR: new URL(pool.url).host,
    POOL_DIR: join(pool.dir, 'pool'),
    PROXY_DB_PATH: join(pool.dir, 'data', 'proxy.db'),
  }
}

async function succeeded(ended: Promise<Ended>): Promise<string> {
  const { status, output } = await ended
  assert.equal(status, 0, output)
  assertNoSecret(output)
  return output
}

async function refused(ended: Promise<Ended>, why: RegExp): Promise<void> {
  const { status, output } = await ended
  assert.equal(status, 1, output)
  assert.match(output, why)
  assert.match(output, /^codex-pool: /m)
  assertNoSecret(output)
}

test('add copies a login into the pool, named after its user, readable by its owner only', async (t) => {
  const { sim, run, file, pool, read, folder } = await stage(t)
  const login = sim.account('alice').authJson()
  const path = await file('somewhere/auth.json', { ...login, future_field: { kept: true } })
  await chmod(path, 0o644)
  const output = await succeeded(run('add', 'somewhere/auth.json'))
  assert.match(output, /alice@example\.com \(codex, chatgpt, plus\) joined the pool: .*alice\.json/)
  assert.match(output, /somewhere\/auth\.json can be read by others: chmod 600/)
  assert.deepEqual(await pool(), ['alice.json'])
  assert.deepEqual(await read('alice.json'), { ...login, future_field: { kept: true } })
  assert.equal((await stat(join(folder, 'pool/alice.json'))).mode & 0o777, 0o600)
})

test('add knows by its content what a file is', async (t) => {
  const { sim, run, file, pool, folder } = await stage(t)
  const config = `
    export default { providers: {
      corp: { type: 'bearer', upstream: 'https://corp.example' },
      azure: { type: 'custom', upstream: 'https://azure.example', authorize: () => ({}) },
    } }`
  await writeFile(join(folder, 'codex-pool.config.mjs'), config)
  const files = {
    'oauth_creds.json': [sim.geminiAccount('g1').oauthCreds(), 'gemini_g1.json'],
    'auth-with-a-key.json': [{ auth_mode: 'apikey', OPENAI_API_KEY: 'sk-proj-1' }, 'api-key.json'],
    'auth-with-a-token.json': [{ personal_access_token: 'at-1' }, 'access-token.json'],
    'gemini-key.json': [{ api_key: 'AIza-1', label: 'Lab' }, 'gemini_lab.json'],
    'token.json': [{ token: 'secret-1' }, 'corp_corp.json'],
    'azure_mine.json': [{ key: 'secret-2' }, 'azure_azure.json'],
    'auth.json': [sim.account('alice').authJson(), 'alice.json'],
    'work.json': [sim.account('alice-at-work').authJson(), 'alice-team.json'],
  } as const
  for (const [name, [content, expected]] of Object.entries(files)) {
    await file(name, content)
    assert.match(await succeeded(run('add', name)), new RegExp(`joined the pool: .*${expected}`))
  }
  assert.deepEqual(
    await pool(),
    Object.values(files)
      .map(([, name]) => name)
      .sort(),
  )
  const listing = await succeeded(run('accounts', '--json'))
  for (const provider of ['codex', 'gemini', 'gemini-api-key', 'corp', 'azure'])
    assert.match(listing, new RegExp(`"provider": "${provider}"`))
})

test('a name can be chosen, and one that cannot be is refused', async (t) => {
  const { sim, run, file, pool } = await stage(t)
  await file('auth.json', sim.account('alice').authJson())
  await file('oauth_creds.json', sim.geminiAccount('g1').oauthCreds())
  await refused(run('add', 'auth.json', '--name', '../outside'), /is no good file name/)
  await succeeded(run('add', 'auth.json', '--name', 'first.json'))
  await succeeded(run('add', 'oauth_creds.json', '--name', 'first'))
  await file('work.json', sim.account('alice-at-work').authJson())
  await refused(run('add', 'work.json', '--name', 'FIRST'), /there is a FIRST\.json already/)
  assert.deepEqual(await pool(), ['first.json', 'gemini_first.json'])
})

const unusable: Record<string, readonly [Credential, RegExp]> = {
  'an agent identity': [
    { auth_mode: 'agentIdentity', agent_identity: { key: 'k' } },
    /holds an agent identity/,
  ],
  'a Bedrock key': [{ bedrock_api_key: 'b' }, /holds Amazon Bedrock keys/],
  'a pair of Bedrock keys': [{ bedrock_access_keys: { id: 'a' } }, /holds Amazon Bedrock keys/],
  'a signed-out file': [{ OPENAI_API_KEY: null, tokens: null }, /is signed out/],
  'an unfinished login': [{ tokens: { id_token: 'eyJ.e30.x' } }, /without an access_token/],
  'a service account': [{ type: 'service_account', private_key: 'p' }, /is a Google service account/],
  'any other JSON': [{ hello: 'world' }, /is not an auth\.json/],
}
test('what the pool cannot use is known by its content, with the reason', () => {
  const { providers } = settingsOf(resolveConfig({}), builtinStrategies())
  for (const [what, [content, why]] of Object.entries(unusable)) {
    const claim = recognise('auth.json', content, providers)
    assert.match('refused' in claim ? claim.refused : 'taken', why, what)
  }
})

test('what the pool cannot use is not added', async (t) => {
  const { run, file, pool } = await stage(t)
  await file('auth.json', { agent_identity: { key: 'secret' } })
  await refused(
    run('add', 'auth.json'),
    /auth\.json holds an agent identity, which works for one machine only/,
  )
  await writeFile(
    await file('auth.json', ''),
    '{ "tokens": { "access_token": "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9',
  )
  await refused(run('add', 'auth.json'), /is not valid JSON/)
  await refused(run('add', 'none.json'), /none\.json cannot be read: ENOENT/)
  await assert.rejects(pool(), { code: 'ENOENT' })
})

test('the same user in the same workspace is added once, unless --force names the account', async (t) => {
  const { sim, run, file, pool, read } = await stage(t)
  const alice = sim.account('alice')
  await file('auth.json', alice.authJson())
  await succeeded(run('add', 'auth.json', '--name', 'first'))
  alice.login()
  await file('newer.json', alice.authJson())
  const before = await read('first.json')
  await refused(
    run('add', 'newer.json'),
    /is in the pool already: first\.json.*codex-pool add newer\.json --force first/,
  )
  await refused(run('add', 'newer.json', '--force', 'second'), /is in the pool already/)
  assert.deepEqual(await read('first.json'), before)
  assert.match(
    await succeeded(run('add', 'newer.json', '--force', 'first')),
    /has a new login: .*first\.json/,
  )
  assert.equal(field(await read('first.json'), 'tokens', 'refresh_token'), alice.refreshToken)
  await file('work.json', sim.account('alice-at-work').authJson())
  await refused(run('add', 'work.json', '--force', 'first'), /is not the account first/)
  await succeeded(run('add', 'work.json'))
  assert.deepEqual(await pool(), ['alice.json', 'first.json'])
  await file('key.json', { OPENAI_API_KEY: 'sk-proj-1' })
  await succeeded(run('add', 'key.json'))
  await refused(run('add', 'key.json'), /is in the pool already: api-key\.json/)
})

test('who adds a login that is used elsewhere is told what to do', async (t) => {
  const { sim, run, file } = await stage(t)
  await file('.codex/auth.json', sim.account('alice').authJson())
  assert.match(
    await succeeded(run('add', '.codex/auth.json')),
    /the gateway keeps both copies together[^]*codex-pool login codex/,
  )
  await file('elsewhere.json', sim.account('alice-at-work').authJson())
  assert.match(
    await succeeded(run('add', 'elsewhere.json')),
    /one of the two will soon be locked out[^]*codex-pool login codex/,
  )
  await file('oauth_creds.json', sim.geminiAccount('g1').oauthCreds())
  assert.doesNotMatch(await succeeded(run('add', 'oauth_creds.json')), /locked out/, 'Google does not rotate')
})

test('remove deletes the file, its recovery copy, and nothing else', async (t) => {
  const { sim, folder, run, file, pool } = await stage(t)
  await file('pool/alice.json', sim.account('alice').authJson())
  await file('pool/alice.json.recovery', sim.account('alice').authJson())
  const target = await file('outside.json', sim.account('alice-at-work').authJson())
  await symlink(target, join(folder, 'pool/linked.json'))
  assert.match(
    await succeeded(run('remove', 'alice', '--yes')),
    /alice \(codex\) left the pool: .*alice\.json is deleted\.$/m,
  )
  assert.match(
    await succeeded(run('remove', 'linked', '--yes')),
    /linked\.json is deleted; the file it pointed to is not/,
  )
  assert.deepEqual(await pool(), [])
  assert.ok((await lstat(target)).isFile())
  await refused(run('remove', 'alice', '--yes'), /there is no account "alice" in .*There are: none/)
})

test('disable and enable outlive the command, with no gateway running', async (t) => {
  const { sim, run, file } = await stage(t)
  await file('pool/alice.json', sim.account('alice').authJson())
  assert.match(await succeeded(run('disable', 'alice')), /alice is disabled/)
  assert.match(await succeeded(run('accounts')), /alice .* disabled/)
  assert.match(await succeeded(run('enable', 'alice')), /alice is enabled: it is ready/)
  assert.match(await succeeded(run('accounts')), /alice .* ready/)
  await refused(run('disable', 'bob'), /there is no account "bob".*There are: alice/)
})

test('with database: false and no gateway there is nowhere to keep it, and disable says so', async (t) => {
  const { sim, folder, run, file } = await stage(t)
  await file('pool/alice.json', sim.account('alice').authJson())
  await writeFile(join(folder, 'codex-pool.config.json'), '{ "database": false }')
  await refused(run('disable', 'alice'), /database: false/)
})

test('a running gateway takes a new account at once, and lets a removed one go', async (t) => {
  const pool = await startPool(t, { codex: [{ id: 'alice' }], onDisk: true, config: inOrder })
  const run = beside(t, pool)
  await pool.sim.account('alice').exhaust()
  pool.sim.addCodex({ id: 'bob' })
  await writeIn(pool.dir, 'auth.json', pool.sim.account('bob').authJson())
  assert.match(await succeeded(run('add', 'auth.json')), /The running gateway knows\./)
  assert.equal(await pool.servedBy('s1'), 'bob')
  assert.match(await succeeded(run('remove', 'bob', '--yes')), /The running gateway knows\./)
  assert.equal((await pool.ask('s1')).status, 429)
  assert.deepEqual(
    pool.gateway.accounts().map(({ id }) => id),
    ['alice'],
  )
})

test('a new login brings back an account whose login has ended', async (t) => {
  const pool = await startPool(t, { codex: [{ id: 'alice' }], onDisk: true, upstreams: loginPages() })
  const alice = pool.sim.account('alice')
  alice.revoke()
  await pool.ask('s1')
  assert.equal((await pool.account('alice')).state, 'needs-login')
  const options = { cwd: pool.dir, env: environmentOf(pool) }
  const command = startCommand(t, ['login', 'codex', '--device'], options)
  await enterCode(pool.sim, await command.printed(/[A-Z]{4}-[A-Z]{4}/), { account: 'alice' })
  assert.match(await succeeded(command.ended), /has a new login: .*alice\.json\nThe running gateway knows\./)
  assert.equal(await pool.servedBy('s1'), 'alice')
})

test('a running gateway sends nothing to a disabled account, also after a restart, and keeps its login fresh', async (t) => {
  const pool = await startPool(t, {
    codex: [{ id: 'alice' }, { id: 'bob' }],
    onDisk: true,
    config: { ...inOrder, refresh: { spacingMs: 0 } },
  })
  const run = beside(t, pool)
  assert.equal(await pool.servedBy('s1'), 'alice')
  await succeeded(run('disable', 'alice'))
  assert.equal(await pool.servedBy('s1'), 'bob')
  const refresh = pool.sim.next(({ path }) => path === '/oauth/token')
  await pool.restart(async () => {
    await writeFile(pool.file('alice'), JSON.stringify(pool.sim.account('alice').authJson({ expired: true })))
  })
  await refresh
  assert.equal((await pool.account('alice')).state, 'disabled')
  assert.equal(await pool.servedBy('s2'), 'bob')
  await succeeded(run('enable', 'alice'))
  assert.equal(await pool.servedBy('s3'), 'alice')
})

test('what changes accounts needs the admin token, even on this machine and with an access key', async (t) => {
  const keys = { laptop: 'key-of-the-laptop-0123456789' }
  for (const access of [undefined, { keys }, 'host-app'] as const) {
    const pool = await startPool(t, { codex: [{ id: 'alice' }], onDisk: true, config: access && { access } })
    const token = (await readFile(join(pool.dir, 'data', 'admin-token'), 'utf8')).trim()
    const path = '/admin/accounts/alice/disable'
    const without = [
      await pool.request.post(path),
      await pool.request.post(path).set('authorization', 'Bearer wrong'),
      await pool.request.post(path).set('authorization', `Bearer ${keys.laptop}`),
      await pool.request.post(path).set('x-codex-pool-key', keys.laptop),
    ]
    for (const { status, body } of without)
      assert.deepEqual([status, codeOf(body)], [403, 'admin_token_required'])
    const admin = { authorization: `Bearer ${token}` }
    assert.equal(pool.gateway.accounts()[0]?.state, 'ready')
    const disabled = await pool.request.post(path).set(admin).expect(200)
    assert.deepEqual([disabled.body.id, disabled.body.state], ['alice', 'disabled'])
    const unknown = await pool.request.post('/admin/accounts/nobody/enable').set(admin)
    assert.deepEqual([unknown.status, codeOf(unknown.body)], [404, 'unknown_account'])
    if (access === 'host-app') continue
    const page = await pool.request.post(path).set({ ...admin, origin: 'https://evil.example' })
    assert.deepEqual([page.status, codeOf(page.body)], [403, 'origin_not_allowed'])
  }
})

test('accounts retry looks again at an account, or at all of them, whatever its state', async (t) => {
  const codex = [{ id: 'alice' }, { id: 'bob' }]
  const pool = await startPool(t, { codex, onDisk: true, config: inOrder })
  const run = beside(t, pool)
  pool.sim.account('alice').exhaust()
  pool.sim.account('bob').exhaust()
  await pool.ask('s1').expect(429)
  assert.match(await succeeded(run('accounts')), /^codex: no, at .* on alice and bob\n[^]*alice +exhausted /)
  assert.match(
    await succeeded(run('accounts', 'alice')),
    /^alice .*exhausted[^]*reason: usage_limit_reached: The/,
  )
  for (const { id } of codex) pool.sim.account(id).window('primary', { usedPercent: 0 })
  assert.match(await succeeded(run('accounts', 'retry', 'alice')), /alice is looked at again: it is ready/)
  assert.equal((await pool.account('bob')).state, 'exhausted')
  assert.equal(await pool.servedBy('s2'), 'alice')
  assert.match(await succeeded(run('accounts', 'retry')), /bob is looked at again: it is ready/)
  await refused(run('accounts', 'retry', 'carol'), /there is no account "carol"/)
})

test('accounts, explain and accounts redeem tell of credits and reset credits', async (t) => {
  const [soon, late] = [Date.UTC(2099, 0, 1), Date.UTC(2099, 5, 1)]
  const pool = await startPool(t, {
    codex: [
      {
        id: 'alice',
        credits: { hasCredits: true, balance: '12' },
        resetCredits: [{ expiresAt: late }, { expiresAt: soon }],
      },
    ],
    onDisk: true,
    config: { ...inOrder, quotaPollMs: 60_000 },
  })
  const run = beside(t, pool)
  const { headers } = await pool.ask('s1').expect(200)
  await until(async () => (await pool.account('alice')).resetCredits.length === 2)
  const told = /alice has credits \(\d+\)[^]*alice has reset credits: 2, the first until 1 Jan 2099 /
  assert.match(await succeeded(run('accounts')), told)
  assert.match(await succeeded(run('explain', String(headers['x-codex-pool-request-id']))), told)
  assert.match(await succeeded(run('accounts', 'redeem', 'alice')), /redeemed; it is ready, and has 1 left/)
  assert.deepEqual(
    pool.sim.account('alice').resetCredits.map(({ status }) => status),
    ['available', 'redeemed'],
  )
  pool.sim.account('alice').exhaust()
  await succeeded(run('accounts', 'redeem', 'alice'))
  await refused(run('accounts', 'redeem', 'alice'), /no reset credit was redeemed: /)
  await refused(run('accounts', 'redeem', 'bob'), /there is no account "bob"/)
})

test('what an upstream says about an account steers no terminal', async (t) => {
  const { run, file, folder } = await stage(t)
  await file('pool/evil\u001b[2J.json', {})
  await writeFile(join(folder, 'codex-pool.config.json'), '{ "database": false }')
  const output = await succeeded(run('accounts'))
  assert.match(output, /evil\\u001b\[2J/)
  assert.ok(!output.includes('\u001b[2J'))
})
