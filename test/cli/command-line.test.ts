import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { within } from '../kit/pool.js'
import { emptyFolder, runCommand, startCommand } from '../kit/command.js'

test('a command that does not exist is refused, and the one that was meant is named', async (t) => {
  const { status, output } = await runCommand(t, ['acounts'], { cwd: await emptyFolder(t) })
  assert.equal(status, 1)
  assert.match(output, /unknown command .acounts.\s+\(Did you mean accounts\?\)/)
})

test('an option that does not exist is refused, and the one that was meant is named', async (t) => {
  const cwd = await emptyFolder(t)
  for (const [args, meant] of [
    [['--lisen', '127.0.0.1:0'], '--listen'],
    [['setup', 'codex', '--prin'], '--print'],
  ] as const) {
    const { status, output } = await runCommand(t, args, { cwd })
    assert.equal(status, 1)
    assert.match(output, new RegExp(`unknown option .*\\s+\\(Did you mean ${meant}\\?\\)`))
  }
})

test('another program at the address is not taken for a gateway, and is shown no token', async (t) => {
  const cwd = await emptyFolder(t)
  await mkdir(join(cwd, 'data'))
  await writeFile(join(cwd, 'data', 'admin-token'), 'the-token-of-this-gateway', { mode: 0o600 })
  const shown: unknown[] = []
  const other = http.createServer(({ headers }, response) => {
    shown.push(headers.authorization)
    response.end('<html>')
  })
  other.listen(0, '127.0.0.1')
  t.after(() => other.close())
  await once(other, 'listening')
  const listen = `127.0.0.1:${(other.address() as AddressInfo).port}`
  const { status, output } = await runCommand(t, ['accounts', '--listen', listen], { cwd })
  assert.equal(status, 0, output)
  assert.match(output, new RegExp(`No gateway answers on ${listen}`))
  assert.deepEqual([...new Set(shown)], [undefined])
})

test('a gateway that serves another pool is told apart from one that knows the new account', async (t) => {
  const [here, there] = [await emptyFolder(t), await emptyFolder(t)]
  const gateway = startCommand(t, ['--listen', '127.0.0.1:0'], { cwd: there })
  const listen = new URL(await within(gateway.printed(/listening on (http\S+)/))).host
  await writeFile(join(here, 'key.json'), '{ "api_key": "AIza-of-nobody-at-all" }', { mode: 0o600 })
  const { output } = await runCommand(t, ['add', 'key.json', '--listen', listen], { cwd: here })
  assert.match(output, new RegExp(`serves another pool: ${join(there, 'pool')}`))
})

test('the log tells what changes in the pool while the gateway runs', async (t) => {
  const cwd = await emptyFolder(t)
  const gateway = startCommand(t, ['--listen', '127.0.0.1:0'], { cwd })
  await within(gateway.printed(/listening on (http\S+)/))
  await writeFile(join(cwd, 'pool', 'gemini_key1.json'), '{ "api_key": "AIza-of-nobody-at-all" }', {
    mode: 0o644,
  })
  await within(gateway.printed(/(account gemini_key1: gemini-api-key)/))
  await within(gateway.printed(/(gemini_key1\.json: can be read by others: chmod 600)/))
  await writeFile(join(cwd, 'pool', 'broken.json'), '{', { mode: 0o600 })
  await within(gateway.printed(/(broken\.json: .+)/))
  await rm(join(cwd, 'pool', 'gemini_key1.json'))
  await within(gateway.printed(/(account \S+gemini_key1 has left the pool)/))
})

test('check shows what is declared for each account, and warns of patterns that match none', async (t) => {
  const cwd = await emptyFolder(t)
  await mkdir(join(cwd, 'pool'), { recursive: true })
  for (const id of ['work_a', 'work_b', 'me'])
    await writeFile(join(cwd, 'pool', `gemini_${id}.json`), `{ "api_key": "AIza-of-${id}-and-no-other" }`, {
      mode: 0o600,
    })
  const accounts = {
    'gemini_work_*': { order: 1, concurrency: 6, proxy: 'http://me:hunter2@127.0.0.1:3128' },
    gemini_work_b: { order: 2, group: 'night' },
    gemini_me: { reserve: 20 },
    'openai_*': { order: 2 },
  }
  await writeFile(join(cwd, 'codex-pool.config.json'), JSON.stringify({ accounts }))
  const { status, output } = await runCommand(t, ['check'], { cwd })
  assert.equal(status, 0, output)
  const warning = /^warning: accounts\["openai_\*"\]: matches no account.*\n/m
  assert.match(output, warning)
  const { resolvedAccounts, ...config } = JSON.parse(output.replace(warning, ''))
  assert.deepEqual(Object.keys(config.accounts), Object.keys(accounts))
  const proxy = resolvedAccounts.gemini_work_a.proxy
  const provider = 'gemini-api-key'
  assert.deepEqual(resolvedAccounts, {
    gemini_me: { provider, order: 1, reserve: 20 },
    gemini_work_a: { provider, order: 1, concurrency: 6, proxy },
    gemini_work_b: { provider, order: 2, concurrency: 6, group: 'night', proxy },
  })
  assert.match(proxy, /127\.0\.0\.1:3128/)
  assert.ok(!output.includes('hunter2'))
})

test('the demo refuses what it does not read', async (t) => {
  const cwd = await emptyFolder(t)
  for (const args of [['--config', 'nope'], ['--pool-dir', 'nope'], ['accounts'], ['--nope']]) {
    const { status, output } = await runCommand(t, ['--demo', ...args], { cwd })
    assert.equal(status, 1, args.join(' '))
    assert.match(output, /^error: /)
  }
})

test('the help of every command has an example, and the flags of all commands', async (t) => {
  const cwd = await emptyFolder(t)
  const { output } = await runCommand(t, ['--help'], { cwd })
  assert.match(output, /Exit status: 0 .*, 1 .*, 2 .*, 3 /)
  const [, list = ''] = output.split('Commands:\n')
  const names = [...list.split('\n\n')[0]!.matchAll(/^ {2}([a-z]+)/gm)].map(([, name = '']) => name)
  assert.ok(names.length > 10)
  for (const name of names.filter((one) => one !== 'help')) {
    const help = (await runCommand(t, [name, '--help'], { cwd })).output
    assert.match(help, /Examples:\n {2}\S/, name)
    for (const flag of ['--config', '--listen', '--pool-dir'])
      assert.ok(help.includes(flag), `${name} ${flag}`)
  }
})

test('the completion of a shell knows the commands, and their flags', async (t) => {
  const cwd = await emptyFolder(t)
  assert.match((await runCommand(t, ['complete', 'bash'], { cwd })).output, /codex-pool/)
  assert.match((await runCommand(t, ['complete', '--', 'remo'], { cwd })).output, /^remove\t/m)
  assert.match((await runCommand(t, ['complete', '--', 'remove', '--'], { cwd })).output, /^--yes\t/m)
})

test('the advice of an empty pool can be followed: it calls the program as this shell finds it', async (t) => {
  const cwd = await emptyFolder(t)
  const called = async (env: Record<string, string>) => {
    const gateway = startCommand(t, ['--listen', '127.0.0.1:0'], { cwd: await emptyFolder(t), env })
    return within(gateway.printed(/(\S.*) login codex/))
  }
  assert.match(await called({}), /^node \/.*\/dist\/src\/cli\/bin\.js$/)
  await writeFile(join(cwd, 'codex-pool'), '', { mode: 0o755 })
  assert.equal(await called({ PATH: cwd }), 'codex-pool')
})

test('no login is deleted without a word', async (t) => {
  const cwd = await emptyFolder(t)
  await mkdir(join(cwd, 'pool'))
  const file = join(cwd, 'pool', 'gemini_key1.json')
  await writeFile(file, '{ "api_key": "AIza-of-nobody-at-all" }', { mode: 0o600 })
  const refused = await runCommand(t, ['remove', 'gemini_key1'], { cwd })
  assert.equal(refused.status, 1)
  assert.match(refused.output, /codex-pool remove gemini_key1 --yes/)
  assert.ok(existsSync(file))
})
