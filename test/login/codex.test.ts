import assert from 'node:assert/strict'
import { readdir, readFile, stat } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { createProvider } from '../../providers/index.js'
import { builtinProviders, type LoginFlow } from '../../config/index.js'
import { hasBrowser } from '../../src/login/person.js'
import { deviceFlow } from '../../src/login/device-flow.js'
import {
  field,
  startSimulator,
  text,
  type Simulator,
  type SimulatorOptions,
} from '../../src/simulator/index.js'
import { assertNoSecret, emptyFolder, NO_GATEWAY, startCommand, type RunningCommand } from '../kit/command.js'
import { enterCode, loginPages, visit } from '../kit/simulator/login.js'

const CODE = /^ {2}([A-Z]{4}-[A-Z]{4})$/m
const PAGE = /^ {2}(http\S+\/oauth\/authorize\S+)$/m

interface Stage {
  readonly sim: Simulator
  readonly folder: string
  login(...args: string[]): RunningCommand
  auth(id: string): Promise<unknown>
}

async function stage(
  t: TestContext,
  options: SimulatorOptions = { codex: [{ id: 'alice' }] },
): Promise<Stage> {
  const sim = await startSimulator({ ...options, upstreams: loginPages() })
  t.after(() => sim.close())
  const folder = await emptyFolder(t)
  return {
    sim,
    folder,
    login: (...args) =>
      startCommand(t, ['login', 'codex', ...args], {
        cwd: folder,
        env: { ...sim.environment, ...NO_GATEWAY },
      }),
    auth: async (id) => JSON.parse(await readFile(join(folder, 'pool', `${id}.json`), 'utf8')),
  }
}

/** Makes sure that nothing of ours can listen there; another program may have it as well. */
async function takePort(t: TestContext, port: number): Promise<void> {
  const server = createServer((_request, response) => response.end())
  if (await listens(server, port)) t.after(() => server.close())
}

function listens(server: Server, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => resolve(true))
  })
}

const asked = (sim: Simulator, path: string) => sim.requests.filter((request) => request.path === path)

test('without a browser here, login codex gives a code, and the account joins the pool', async (t) => {
  const { sim, folder, login, auth } = await stage(t)
  const command = login()
  const pending = sim.next((request) => request.path.endsWith('/deviceauth/token'))
  const code = await command.printed(CODE)
  await command.printed(/\/codex\/device/)
  await pending
  await enterCode(sim, code, { account: 'alice' })
  const { status, output } = await command.ended
  assert.equal(status, 0, output)
  assert.match(output, /alice@example\.com \(codex, chatgpt, plus\) joined the pool: .*alice\.json/)
  assert.match(output, /No gateway answers/)
  assert.deepEqual(await auth('alice'), {
    ...sim.account('alice').authJson(),
    last_refresh: text(await auth('alice'), 'last_refresh'),
  })
  assert.equal((await stat(join(folder, 'pool/alice.json'))).mode & 0o777, 0o600)
  assert.deepEqual(sim.violations, [])
  assertNoSecret(output)
})

test('a device code that is refused in the browser ends the login, and nothing is written', async (t) => {
  const { sim, folder, login } = await stage(t)
  const command = login('--device')
  await enterCode(sim, await command.printed(CODE), { account: 'alice', decision: 'refuse' })
  const { status, output } = await command.ended
  assert.equal(status, 1)
  assert.match(output, /the login was refused in the browser/)
  assert.deepEqual(await readdir(folder), [])
})

test('a device code that the issuer has let expire says so', async (t) => {
  let now = Date.now()
  const { sim, login } = await stage(t, { codex: [{ id: 'alice' }], now: () => now })
  const command = login('--device')
  await command.printed(CODE)
  now += 15 * 60_000
  const { status, output } = await command.ended
  assert.equal(status, 1)
  assert.match(output, /the code has expired; start again/)
  assert.equal(asked(sim, '/oauth/token').length, 0)
})

test('a device code that nobody enters is not waited for without end', async () => {
  const forgotten: LoginFlow = {
    ...codexLogin('http://127.0.0.1:1'),
    device: async () => ({
      page: 'http://127.0.0.1:1/codex/device',
      code: 'ABCD-EFGH',
      intervalMs: 1,
      expiresAt: Date.now() - 1,
      poll: async () => ({ kind: 'pending' }),
    }),
  }
  const call = () => ({ fetch, signal: AbortSignal.timeout(5_000) })
  await assert.rejects(deviceFlow(forgotten, { say() {} }, call), { code: 'login_expired' })
})

test('trouble at the issuer while a code is waited for does not end the login', async (t) => {
  const { sim, login, auth } = await stage(t)
  sim.fail({ path: '/deviceauth/token', with: 'reset' })
  sim.fail({ path: '/deviceauth/token', with: { status: 503 } })
  const command = login('--device')
  await enterCode(sim, await command.printed(CODE), { account: 'alice' })
  const { status, output } = await command.ended
  assert.equal(status, 0, output)
  assert.match(output, /does not answer \(.*\); trying again/)
  assert.equal(field(await auth('alice'), 'auth_mode'), 'chatgpt')
})

test('an issuer without device codes, or one that cannot be reached, is named with the way out', async (t) => {
  const { sim, login } = await stage(t)
  sim.fail({ path: '/deviceauth/usercode', with: { status: 404 } })
  const without = await login('--device').ended
  assert.deepEqual([without.status, /log in with --browser/.test(without.output)], [1, true], without.output)
  await sim.down()
  const unreachable = await login('--device').ended
  assert.equal(unreachable.status, 1)
  assert.match(
    unreachable.output,
    /^codex-pool: http:\/\/127\.0\.0\.1:\d+ cannot be reached: ECONNREFUSED 127\.0\.0\.1:\d+$/m,
  )
})

test('with --browser the browser comes back to port 1455', async (t) => {
  const probe = createServer()
  if (!(await listens(probe, 1455))) return t.skip('another program has port 1455')
  await new Promise((closed) => probe.close(closed))
  const { login, auth } = await stage(t)
  const command = login('--browser')
  const url = new URL(await command.printed(PAGE))
  assert.equal(url.searchParams.get('redirect_uri'), 'http://127.0.0.1:1455/auth/callback')
  const page = await fetch(await visit(url.href, { account: 'alice' }))
  assert.equal(page.status, 200)
  const { status, output } = await command.ended
  assert.equal(status, 0, output)
  assert.equal(field(await auth('alice'), 'tokens', 'account_id'), 'acct-alice')
  assertNoSecret(output.replace(url.href, ''))
})

test('where port 1455 is taken, the address that the browser ends on is pasted', async (t) => {
  await takePort(t, 1455)
  const { login, auth } = await stage(t)
  const command = login('--browser')
  const address = await visit(await command.printed(PAGE), { account: 'alice' })
  await command.printed(/Another program has port 1455/)
  command.type(address)
  const { status, output } = await command.ended
  assert.equal(status, 0, output)
  assert.equal(field(await auth('alice'), 'tokens', 'account_id'), 'acct-alice')
})

test('an address of another login, or none at all, is asked for again', async (t) => {
  await takePort(t, 1455)
  const { sim, login } = await stage(t)
  const command = login('--browser')
  const address = await visit(await command.printed(PAGE), { account: 'alice' })
  const foreign = new URL(address)
  foreign.searchParams.set('state', 'the-state-of-another-login')
  for (const wrong of ['y', foreign.href, 'http://127.0.0.1:1455/auth/callback']) command.type(wrong)
  await command.printed(/(?:That is not the address this login ends on[^]*){3}/)
  assert.equal(asked(sim, '/oauth/token').length, 0)
  command.type(new URL(address).search)
  const { status, output } = await command.ended
  assert.equal(status, 0, output)
})

test('a login that is refused in the browser says so', async (t) => {
  await takePort(t, 1455)
  const { folder, login } = await stage(t)
  const command = login('--browser')
  command.type(await visit(await command.printed(PAGE), { account: 'alice', decision: 'refuse' }))
  const { status, output } = await command.ended
  assert.equal(status, 1)
  assert.match(output, /the login was refused: access_denied/)
  assert.deepEqual(await readdir(folder), [])
})

test('with no port and nobody to paste, login ends at once', async (t) => {
  await takePort(t, 1455)
  const { sim, folder } = await stage(t)
  const options = { cwd: folder, env: { ...sim.environment, ...NO_GATEWAY }, alone: true }
  const { status, output } = await startCommand(t, ['login', 'codex', '--browser'], options).ended
  assert.equal(status, 1)
  assert.match(output, /no address came back/)
})

test('a code that somebody else has spent is refused by the issuer, and nothing of it is printed', async (t) => {
  await takePort(t, 1455)
  const { sim, login } = await stage(t)
  const command = login('--browser')
  const url = await command.printed(PAGE)
  const address = await visit(url, { account: 'alice' })
  const code = new URL(address).searchParams.get('code') ?? ''
  const stolen = { grant_type: 'authorization_code', client_id: 'app_EMoamEEZ73f0CkXaXp7hrann', code }
  const thief = await fetch(`${sim.url}/oauth/token`, { method: 'POST', body: new URLSearchParams(stolen) })
  assert.equal(thief.status, 400, 'without the verifier it is worth nothing')
  command.type(address)
  const { status, output } = await command.ended
  assert.equal(status, 1)
  assert.match(output, /the token endpoint refused the login \(400 invalid_grant\); start again/)
  assertNoSecret(output.replace(url, ''), [code])
})

const incomplete = {
  'no refresh token': { access_token: 'opaque' },
  'no access token': { refresh_token: 'rt' },
}
for (const [what, body] of Object.entries(incomplete))
  test(`an answer with ${what} makes no account`, async (t) => {
    const { sim, folder, login } = await stage(t)
    sim.fail({
      path: '/oauth/token',
      with: { status: 200, headers: { 'content-type': 'application/json' }, body },
    })
    const command = login('--device')
    await enterCode(sim, await command.printed(CODE), { account: 'alice' })
    const { status, output } = await command.ended
    assert.equal(status, 1)
    assert.match(output, new RegExp(`the issuer gave ${what}`))
    assert.deepEqual(await readdir(folder), [])
  })

test('a second login of the same user replaces the file; another workspace is another account', async (t) => {
  const codex = [
    { id: 'alice' },
    { id: 'alice-at-work', email: 'alice@example.com', plan: 'team' },
    { id: 'bob', accountId: 'acct-alice-at-work', plan: 'team' },
  ]
  await takePort(t, 1455)
  const { folder, login, auth } = await stage(t, { codex })
  const as = async (account: string, ...args: string[]) => {
    const command = login('--browser', ...args)
    command.type(await visit(await command.printed(PAGE), { account }))
    const { status, output } = await command.ended
    assert.equal(status, 0, output)
    return output
  }
  await as('alice')
  const before = field(await auth('alice'), 'tokens', 'refresh_token')
  assert.match(await as('alice'), /has a new login: .*alice\.json/)
  assert.notEqual(field(await auth('alice'), 'tokens', 'refresh_token'), before)
  await as('alice-at-work')
  await as('bob', '--name', 'colleague')
  assert.deepEqual((await readdir(join(folder, 'pool'))).sort(), [
    '.gitignore',
    'alice-team.json',
    'alice.json',
    'colleague.json',
  ])
})

test('a browser is expected at a desk, and not behind SSH', () => {
  const expected: [NodeJS.ProcessEnv, NodeJS.Platform, boolean][] = [
    [{ DISPLAY: ':0' }, 'linux', true],
    [{ WAYLAND_DISPLAY: 'wayland-0' }, 'linux', true],
    [{}, 'linux', false],
    [{}, 'darwin', true],
    [{}, 'win32', true],
    [{ SSH_CONNECTION: '10.0.0.1 1 10.0.0.2 22' }, 'darwin', false],
    [{ SSH_TTY: '/dev/pts/0', DISPLAY: 'localhost:10.0' }, 'linux', false],
  ]
  for (const [env, platform, has] of expected)
    assert.equal(hasBrowser(env, platform), has, `${platform} ${Object.keys(env).join()}`)
})

test('the authorization page is asked for as Codex asks', () => {
  const { authorizeUrl, tokenUrl, callback, scope, clientId, parameters } = codexLogin('https://auth.example')
  assert.deepEqual(
    { authorizeUrl, tokenUrl, callback, scope, clientId, parameters },
    {
      authorizeUrl: 'https://auth.example/oauth/authorize',
      tokenUrl: 'https://auth.example/oauth/token',
      callback: { port: 1455, path: '/auth/callback' },
      scope: 'openid profile email offline_access api.connectors.read api.connectors.invoke',
      clientId: 'app_EMoamEEZ73f0CkXaXp7hrann',
      parameters: {
        id_token_add_organizations: 'true',
        codex_cli_simplified_flow: 'true',
        originator: 'codex_cli_rs',
      },
    },
  )
})

function codexLogin(refreshBase: string): LoginFlow {
  return createProvider('codex', { ...builtinProviders.codex, refreshBase }).login!
}
