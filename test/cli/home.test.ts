import assert from 'node:assert/strict'
import { mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { homeOf, usersHome } from '../../src/cli/home.js'
import { emptyFolder, runCommand, startCommand } from '../kit/command.js'
import { within } from '../kit/pool.js'

const THERE = '/the/home'

const folders: Record<string, { make: (folder: string) => Promise<unknown>; isHome: boolean }> = {
  'an empty folder': { make: async () => {}, isHome: false },
  'an empty folder pool': { make: (folder) => mkdir(join(folder, 'pool')), isHome: true },
  'a file pool': { make: (folder) => writeFile(join(folder, 'pool'), ''), isHome: false },
  'a configuration in YAML': {
    make: (folder) => writeFile(join(folder, 'codex-pool.config.yaml'), '{}'),
    isHome: true,
  },
  'a link to a configuration that is gone': {
    make: (folder) => symlink('gone', join(folder, '.codex-poolrc')),
    isHome: true,
  },
  'a package.json with a configuration': {
    make: (folder) => writeFile(join(folder, 'package.json'), '{ "codex-pool": {} }'),
    isHome: true,
  },
  'a package.json that depends on this package': {
    make: (folder) =>
      writeFile(join(folder, 'package.json'), '{ "dependencies": { "codex-pool": "1.0.0" } }'),
    isHome: false,
  },
  'a broken package.json': { make: (folder) => writeFile(join(folder, 'package.json'), '{'), isHome: false },
  'a folder data': { make: (folder) => mkdir(join(folder, 'data')), isHome: false },
}

for (const [name, { make, isHome }] of Object.entries(folders))
  test(`${name} ${isHome ? 'makes' : 'does not make'} the working folder the home`, async (t) => {
    const folder = await emptyFolder(t)
    await make(folder)
    assert.equal(homeOf(folder, { CODEX_POOL_HOME: THERE }).folder, isHome ? folder : THERE)
    assert.equal(homeOf(folder, {}).folder, isHome ? folder : usersHome())
  })

const KEY = '{ "api_key": "AIza-of-nobody-at-all" }'

test('an account that is added in any folder goes to the home of the user, which git does not take', async (t) => {
  const [user, repository] = [await emptyFolder(t), await emptyFolder(t)]
  await writeFile(join(user, 'key.json'), KEY, { mode: 0o600 })
  const env = { HOME: user, XDG_CONFIG_HOME: join(user, 'xdg'), CODEX_POOL_HOME: '' }
  const { status, output } = await runCommand(t, ['add', join(user, 'key.json')], { cwd: repository, env })
  assert.equal(status, 0, output)
  assert.deepEqual(await readdir(repository), [])
  const home =
    process.platform === 'linux'
      ? 'xdg/codex-pool'
      : output.match(/pool: (.*)\/pool/)?.[1]?.slice(user.length + 1)
  const pool = join(user, home!, 'pool')
  assert.equal((await readdir(pool)).filter((file) => file.endsWith('.json')).length, 1)
  assert.equal(await readFile(join(pool, '.gitignore'), 'utf8'), '*\n')
  assert.equal((await stat(pool)).mode & 0o777, 0o700)
})

test('folders that a start makes are for this user alone, and git does not take them', async (t) => {
  const cwd = await emptyFolder(t)
  const gateway = startCommand(t, ['--listen', '127.0.0.1:0'], { cwd })
  await within(gateway.printed(/listening on (http\S+)/))
  for (const folder of ['pool', 'data']) {
    assert.equal(await readFile(join(cwd, folder, '.gitignore'), 'utf8'), '*\n')
    assert.equal((await stat(join(cwd, folder))).mode & 0o777, 0o700)
  }
})

test('a start says which pool it serves, and what has decided that', async (t) => {
  const [cwd, other] = [await emptyFolder(t), await emptyFolder(t)]
  const starts: [string[], Record<string, string>, string][] = [
    [[], {}, `${cwd}/pool (from CODEX_POOL_HOME)`],
    [['--pool-dir', other], { POOL_DIR: '/nowhere' }, `${other} (from --pool-dir)`],
    [[], { POOL_DIR: other }, `${other} (from POOL_DIR)`],
    [[], { CODEX_POOL_HOME: '', XDG_CONFIG_HOME: other }, `${other}/codex-pool/pool (from your home)`],
  ]
  for (const [args, env, said] of starts) {
    const folder = await emptyFolder(t)
    const gateway = startCommand(t, [...args, '--listen', '127.0.0.1:0'], {
      cwd: folder,
      env: { CODEX_POOL_HOME: cwd, ...env },
    })
    const line = await within(gateway.printed(/^pool: (.*)$/m))
    if (process.platform === 'linux' || !said.endsWith('home)')) assert.equal(line, said)
    gateway.signal('SIGTERM')
    await gateway.ended
  }
})

test('commands find the gateway of their home on any address, from any folder, and forget it when it stops', async (t) => {
  const [home, elsewhere] = [await emptyFolder(t), await emptyFolder(t)]
  await mkdir(join(home, 'pool'))
  await writeFile(join(home, 'pool', 'gemini_a1.json'), KEY, { mode: 0o600 })
  const gateway = startCommand(t, ['--listen', '127.0.0.1:0'], { cwd: home })
  await within(gateway.printed(/listening on (http\S+)/))
  const env = { CODEX_POOL_HOME: home }
  const { output } = await runCommand(t, ['disable', 'gemini_a1'], { cwd: elsewhere, env })
  assert.match(output, /gemini_a1 is disabled/)
  const told = await runCommand(t, ['accounts'], { cwd: elsewhere, env })
  assert.match(told.output, /disabled/)
  assert.doesNotMatch(told.output, /No gateway/)
  const file = join(home, 'data', 'proxy.db.gateway.json')
  assert.match(await readFile(file, 'utf8'), /"address":"http:\/\/127\.0\.0\.1:\d+","pid":\d+,"version":"/)
  gateway.signal('SIGTERM')
  await gateway.ended
  await assert.rejects(readFile(file))
})

test('a gateway that another program has replaced on its address is not taken for the own one', async (t) => {
  const [home, other] = [await emptyFolder(t), await emptyFolder(t)]
  const foreign = startCommand(t, ['--listen', '127.0.0.1:0'], { cwd: other })
  const address = await within(foreign.printed(/listening on (http\S+)/))
  await mkdir(join(home, 'data'))
  await writeFile(join(home, 'data', 'admin-token'), 'the-token-of-this-gateway', { mode: 0o600 })
  const told = { address, pid: process.pid, version: '0.0.0' }
  await writeFile(join(home, 'data', 'proxy.db.gateway.json'), JSON.stringify(told))
  const listen = ['--listen', '127.0.0.1:1']
  const { output } = await runCommand(t, ['accounts', ...listen], { cwd: home })
  assert.match(output, /No gateway answers/)
})
