import assert from 'node:assert/strict'
import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import type { LoginFlow } from '../../config/index.js'
import { builtinProviders } from '../../config/index.js'
import { createProvider } from '../../providers/index.js'
import { browserFlow } from '../../src/login/browser-flow.js'
import { field, startSimulator, type Simulator, type SimulatorOptions } from '../../src/simulator/index.js'
import { assertNoSecret, emptyFolder, NO_GATEWAY, startCommand, type RunningCommand } from '../kit/command.js'
import { loginPages, visit } from '../kit/simulator/login.js'

const PAGE = /^ {2}(http\S+\/o\/oauth2\/v2\/auth\S+)$/m
const CLIENT = { id: 'the-client-id', secret: 'the-client-secret' }

interface Stage {
  readonly sim: Simulator
  readonly folder: string
  login(...args: string[]): RunningCommand
}

async function stage(t: TestContext, options: SimulatorOptions = {}): Promise<Stage> {
  const all = { gemini: [{ id: 'g1' }], geminiClient: CLIENT, ...options }
  const sim = await startSimulator({ ...all, upstreams: loginPages(all.geminiClient) })
  t.after(() => sim.close())
  const folder = await emptyFolder(t)
  const client = { GEMINI_OAUTH_CLIENT_ID: CLIENT.id, GEMINI_OAUTH_CLIENT_SECRET: CLIENT.secret }
  const env = { ...sim.environment, ...client }
  return {
    sim,
    folder,
    login: (...args) =>
      startCommand(t, ['login', 'gemini', ...args], { cwd: folder, env: { ...env, ...NO_GATEWAY } }),
  }
}

test('login gemini waits for the browser on a port of its own, and the account joins the pool', async (t) => {
  const { sim, folder, login } = await stage(t)
  const command = login()
  const url = await command.printed(PAGE)
  const callback = await visit(url, { account: 'g1' })
  const page = await fetch(callback)
  assert.equal(page.status, 200)
  const { status, output } = await command.ended
  assert.equal(status, 0, output)
  assert.match(output, /g1@example\.com \(gemini, code-assist\) joined the pool: .*gemini_g1\.json/)
  const file = join(folder, 'pool', 'gemini_g1.json')
  const credential: unknown = JSON.parse(await readFile(file, 'utf8'))
  const { refreshToken } = sim.geminiAccount('g1')
  assert.equal(field(credential, 'refresh_token'), refreshToken)
  assert.equal(sim.geminiAccount('g1').stateOf(String(field(credential, 'access_token'))), 'valid')
  assert.ok(
    Number(field(credential, 'expiry_date')) > Date.now(),
    'when the token ends, as Gemini CLI writes it',
  )
  assert.equal(field(credential, 'expires_in'), undefined)
  assert.equal((await stat(file)).mode & 0o777, 0o600)
  assert.deepEqual(sim.violations, [])
  assertNoSecret(output.replace(url, ''), [CLIENT.secret, new URL(callback).searchParams.get('code') ?? ''])
})

test('the page for the browser has no script, tells nothing secret, and is not kept', async (t) => {
  const { login } = await stage(t)
  const command = login()
  const callback = await visit(await command.printed(PAGE), { account: 'g1' })
  const page = await fetch(callback)
  const text = await page.text()
  assert.doesNotMatch(text, /<script|http|ac_sim/)
  for (const value of new URL(callback).searchParams.values()) assert.ok(!text.includes(value))
  assert.equal(page.headers.get('content-security-policy'), "default-src 'none'; frame-ancestors 'none'")
  assert.equal(page.headers.get('cache-control'), 'no-store')
  assert.equal(page.headers.get('referrer-policy'), 'no-referrer')
  assert.equal((await command.ended).status, 0)
})

test('callbacks that are not of this login change nothing', async (t) => {
  const { sim, login } = await stage(t)
  const command = login()
  const callback = await visit(await command.printed(PAGE), { account: 'g1' })
  const altered = (change: (url: URL) => void): string => {
    const url = new URL(callback)
    change(url)
    return url.href
  }
  const foreign = [
    altered((url) => url.searchParams.set('state', 'of-another-login')),
    altered((url) => url.searchParams.delete('state')),
    altered((url) => url.searchParams.delete('code')),
    altered((url) => url.searchParams.set('iss', 'https://evil.example')),
    altered((url) => (url.search = '?error=access_denied')),
  ]
  for (const url of foreign) assert.equal((await fetch(url)).status, 400, url)
  assert.equal((await fetch(altered((url) => (url.pathname = '/favicon.ico')))).status, 404)
  assert.equal((await fetch(callback, { method: 'POST' })).status, 404)
  assert.equal(sim.requests.filter(({ path }) => path === '/token').length, 0)
  await fetch(callback)
  const { status, output } = await command.ended
  assert.equal(status, 0, output)
})

test('a login that is refused in the browser says so, and nothing is written', async (t) => {
  const { folder, login } = await stage(t)
  const command = login()
  const page = await fetch(await visit(await command.printed(PAGE), { account: 'g1', decision: 'refuse' }))
  assert.match(await page.text(), /was refused/)
  const { status, output } = await command.ended
  assert.equal(status, 1)
  assert.match(output, /the login was refused: access_denied/)
  assert.deepEqual(await readdir(folder), [])
})

test('with the browser elsewhere, the address is pasted', async (t) => {
  const { folder, login } = await stage(t)
  const command = login('--name', 'work')
  const callback = await visit(await command.printed(PAGE), { account: 'g1' })
  await command.printed(/on another machine/)
  command.type(`  ${callback}  `)
  const { status, output } = await command.ended
  assert.equal(status, 0, output)
  assert.deepEqual(await readdir(join(folder, 'pool')), ['.gitignore', 'gemini_work.json'])
})

test('with nobody at the terminal it waits for the browser all the same', async (t) => {
  const { sim, folder } = await stage(t, { geminiClient: undefined })
  const command = startCommand(t, ['login', 'gemini'], {
    cwd: folder,
    env: { ...sim.environment, ...NO_GATEWAY },
    alone: true,
  })
  await fetch(await visit(await command.printed(PAGE), { account: 'g1' }))
  assert.equal((await command.ended).status, 0)
})

test('a code that has expired at the issuer makes no account', async (t) => {
  let now = Date.now()
  const { folder, login } = await stage(t, { now: () => now })
  const command = login()
  const callback = await visit(await command.printed(PAGE), { account: 'g1' })
  now += 10 * 60_000
  await fetch(callback)
  const { status, output } = await command.ended
  assert.equal(status, 1)
  assert.match(output, /the token endpoint refused the login \(400 invalid_grant\)/)
  assert.deepEqual(await readdir(folder), [])
})

test('a token endpoint that breaks off is named, and nothing is written', async (t) => {
  const { sim, folder, login } = await stage(t)
  sim.fail({ path: '/token', with: 'lost' })
  const command = login()
  await fetch(await visit(await command.printed(PAGE), { account: 'g1' }))
  const { status, output } = await command.ended
  assert.equal(status, 1)
  assert.match(output, /cannot be reached/)
  assert.deepEqual(await readdir(folder), [])
})

test('Gemini has no device codes, and says so', async (t) => {
  const { login } = await stage(t)
  const { status, output } = await login('--device').ended
  assert.equal(status, 1)
  assert.match(output, /no device codes; use --browser/)
})

test('a browser that does not come back is not waited for without end', async () => {
  const quiet = { say() {}, open() {}, lines: () => never() }
  await assert.rejects(browserFlow(geminiLogin(), quiet, 1), { code: 'login_expired' })
})

async function* never(): AsyncIterable<string> {
  await new Promise<void>(() => {})
  yield* []
}

function geminiLogin(): LoginFlow {
  return createProvider('gemini', builtinProviders.gemini).login!
}

test("a provider of one's own says how to log in, and its logins work the same way", async (t) => {
  const { sim, folder } = await stage(t)
  const configuration = (tokenUrl: string) => `export default { providers: { mine: {
    type: 'custom',
    upstream: '${sim.url}',
    authorize: ({ credential }) => ({ authorization: 'Bearer ' + credential.token }),
    inspect: ({ owner }) => ({ identity: owner, label: owner }),
    login: {
      issuer: 'https://accounts.google.com',
      authorizeUrl: '${sim.url}/o/oauth2/v2/auth',
      ${tokenUrl}
      clientId: '${CLIENT.id}',
      clientSecret: '${CLIENT.secret}',
      scope: 'https://www.googleapis.com/auth/cloud-platform',
      parameters: { access_type: 'offline' },
      callback: { port: 0, path: '/' },
      credential: (answer) => ({ owner: 'me@mine.example', token: answer.access_token }),
    },
  } } }`
  const file = join(folder, 'codex-pool.config.mjs')
  await writeFile(file, configuration(`tokenUrl: '${sim.url}/token',`))
  const command = startCommand(t, ['login', 'mine'], { cwd: folder, env: NO_GATEWAY })
  await fetch(await visit(await command.printed(PAGE), { account: 'g1' }))
  const { status, output } = await command.ended
  assert.equal(status, 0, output)
  assert.deepEqual(await readdir(join(folder, 'pool')), ['.gitignore', 'mine_me.json'])
  await writeFile(file, configuration(''))
  const bad = await startCommand(t, ['login', 'mine'], { cwd: folder, env: NO_GATEWAY }).ended
  assert.equal(bad.status, 2)
  assert.match(bad.output, /providers\.mine\.login.*tokenUrl/)
  assertNoSecret(bad.output, [CLIENT.secret])
})

test('the page of Google is asked for a refresh token, and for which account', () => {
  const { authorizeUrl, tokenUrl, parameters, scope } = geminiLogin()
  assert.equal(authorizeUrl, 'https://accounts.google.com/o/oauth2/v2/auth')
  assert.equal(tokenUrl, 'https://oauth2.googleapis.com/token')
  assert.deepEqual(parameters, { access_type: 'offline', prompt: 'select_account consent' })
  assert.match(scope, /cloud-platform.*userinfo\.email.*userinfo\.profile/)
})
