import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import { delimiter, dirname, join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { startSimulator } from '../../src/simulator/index.js'
import { emptyFolder, runCommand } from '../kit/command.js'

/** A user with a login of each client. */
async function user(t: TestContext) {
  const folder = await emptyFolder(t)
  const path = (name: string) => join(folder, name)
  const sim = await startSimulator({ codex: [{ id: 'alice' }], gemini: [{ id: 'bob' }] })
  await sim.writePool(path('logins'))
  await sim.close()
  for (const name of ['user/.codex', 'user/.gemini', 'work', 'bin', 'home'])
    await mkdir(path(name), { recursive: true })
  await copyFile(path('logins/alice.json'), path('user/.codex/auth.json'))
  await copyFile(path('logins/gemini_bob.json'), path('user/.gemini/oauth_creds.json'))
  // Each service manager writes down what it is told.
  for (const name of ['systemctl', 'launchctl'])
    await writeFile(path(`bin/${name}`), `#!/bin/sh\necho "$0 $*" >> ${path('told')}\n`, { mode: 0o755 })
  const PATH = [path('bin'), dirname(process.execPath), '/usr/bin', '/bin'].join(delimiter)
  const env = { PATH, HOME: path('user'), CODEX_POOL_HOME: path('home'), PROXY_LISTEN_ADDR: '127.0.0.1:45' }
  const run = (...args: string[]) => runCommand(t, args, { cwd: path('work'), env })
  return { path, run, told: () => readFile(path('told'), 'utf8').catch(() => '') }
}

test('init without a terminal copies both logins, points both clients here, and asks nothing', async (t) => {
  const { path, run, told } = await user(t)
  const { status, output } = await run('init')
  assert.equal(status, 0, output)
  assert.match(output, /You can work now, once the gateway runs: \S.*\n$/)
  for (const file of ['alice.json', 'gemini_bob.json'])
    assert.ok(existsSync(path(`home/pool/${file}`)), output)
  assert.match(await readFile(path('user/.codex/config.toml'), 'utf8'), /127\.0\.0\.1:45\/v1/)
  assert.match(
    await readFile(path('user/.gemini/.env'), 'utf8'),
    /CODE_ASSIST_ENDPOINT=http:\/\/127\.0\.0\.1:45/,
  )
  assert.equal(await told(), '')
  const again = await run('init')
  assert.equal(again.status, 0)
  assert.match(again.output, /auth\.json is in the pool already/)
})

test('each question of init is a flag', async (t) => {
  const { path, run, told } = await user(t)
  const { status, output } = await run(
    'init',
    '--codex',
    'copy',
    '--gemini',
    'skip',
    '--no-clients',
    '--service',
  )
  assert.equal(status, 0, output)
  assert.ok(existsSync(path('home/pool/alice.json')))
  assert.ok(!existsSync(path('home/pool/gemini_bob.json')))
  assert.ok(!existsSync(path('user/.codex/config.toml')))
  assert.match(await told(), /codex-pool/)
  assert.match(output, /You can work now\.\n$/)
})

test('init points no client at a pool without an account for it', async (t) => {
  const { path, run } = await user(t)
  assert.equal((await run('init', '--gemini', 'skip')).status, 0)
  assert.ok(existsSync(path('user/.codex/config.toml')))
  assert.ok(!existsSync(path('user/.gemini/.env')))
})

test('init without any account fails, and names the flag', async (t) => {
  const { run } = await user(t)
  const { status, output } = await run('init', '--codex', 'skip', '--gemini', 'skip')
  assert.equal(status, 1)
  assert.match(output, /there is no account in .*init --codex new/)
})

test('the service starts this configuration and pool, and its removal leaves nothing', async (t) => {
  const { path, run, told } = await user(t)
  const { output } = await run('service', 'install', '--listen', '127.0.0.1:46', '--pool-dir', '../my pool')
  const file = /^(\/.*): written$/m.exec(output)?.[1]
  const text = await readFile(file!, 'utf8')
  for (const part of [process.execPath, 'bin.js', '127.0.0.1:46', path('my pool'), path('home')])
    assert.ok(text.includes(part), `${part}: ${text}`)
  assert.match(
    await told(),
    process.platform === 'darwin' ? /bootstrap/ : /enable codex-pool\n.*restart codex-pool/,
  )
  assert.equal((await run('service', 'remove')).status, 0)
  assert.ok(!existsSync(file!))
  assert.match((await run('service', 'remove')).output, /there is no service/)
})
