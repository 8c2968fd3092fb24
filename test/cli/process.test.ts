import assert from 'node:assert/strict'
import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process'
import { once } from 'node:events'
import { openSync, readFileSync } from 'node:fs'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import net from 'node:net'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { emptyFolder } from '../kit/command.js'
import { cannotMount, SmallDisk } from '../kit/disk.js'
import { until } from '../kit/pool.js'

const program = fileURLToPath(new URL('../../src/cli/bin.js', import.meta.url))

interface Running {
  readonly child: ChildProcess
  readonly folder: string
  problems(): Promise<string>
  /** Makes the gateway write a line to its log. */
  speak(): Promise<void>
}

/** The program itself, with outputs of the test's choice. */
async function start(t: TestContext, stdio: StdioOptions, env: NodeJS.ProcessEnv = {}): Promise<Running> {
  const folder = await emptyFolder(t)
  await mkdir(join(folder, 'pool'))
  const port = await freePort()
  const child = spawn(process.execPath, [program, '--listen', `127.0.0.1:${port}`], {
    cwd: folder,
    env: { PATH: process.env.PATH, HOME: folder, NO_PROXY: '*', ...env },
    stdio,
  })
  t.after(() => child.kill('SIGKILL'))
  const health = async () => (await fetch(`http://127.0.0.1:${port}/healthz`)).json()
  await until(() => health().then(Boolean, () => false))
  let spoken = 0
  return {
    child,
    folder,
    problems: async () => ((await health()) as { problems: string[] }).problems.join('\n'),
    async speak() {
      const name = `gemini_${++spoken}.json`
      await writeFile(join(folder, 'pool', name), '{ "api_key": "AIza-of-nobody" }', { mode: 0o600 })
      await fetch(`http://127.0.0.1:${port}/admin/reload`, { method: 'POST' })
    },
  }
}

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as net.AddressInfo
  server.close()
  return port
}

test('when the readers of both outputs go away the gateway goes on serving, and says so', async (t) => {
  const { child, problems, speak } = await start(t, ['ignore', 'pipe', 'pipe'])
  child.stdout!.destroy()
  child.stderr!.destroy()
  await delay(50)
  await speak()
  assert.match(await problems(), /the log is silent, its lines cannot be written \(EPIPE\)/)
  await speak()
  assert.equal(child.exitCode, null)
})

test('outputs on a full device do not keep the gateway from starting', async (t) => {
  const full = openSync('/dev/full', 'w')
  const { child, problems } = await start(t, ['ignore', full, full])
  assert.match(await problems(), /the log is silent, .*\(ENOSPC\)/)
  assert.equal(child.exitCode, null)
})

test(
  'the log comes back when its disk has room again, and tells what is lost',
  { skip: cannotMount },
  async (t) => {
    const disk = new SmallDisk(t)
    const log = openSync(join(disk.dir, 'log'), 'a')
    const { problems, speak } = await start(t, ['ignore', log, log])
    assert.doesNotMatch(await problems(), /silent/)
    disk.fill()
    await until(async () => {
      await speak()
      return /silent/.test(await problems())
    })
    disk.free()
    await speak()
    assert.doesNotMatch(await problems(), /silent/)
    assert.match(readFileSync(join(disk.dir, 'log'), 'utf8'), /the log was silent: \d+ lines are lost/)
  },
)

test('a terminal that is closed does not end the gateway', async (t) => {
  const { child, problems } = await start(t, ['ignore', 'ignore', 'pipe'])
  let said = ''
  child.stderr!.on('data', (text) => (said += String(text)))
  child.kill('SIGHUP')
  await until(() => said.includes('SIGHUP'))
  await problems()
  assert.equal(child.exitCode, null)
})

test('SIGUSR1 opens no debugger', async (t) => {
  const { child, problems } = await start(t, ['ignore', 'ignore', 'pipe'])
  let said = ''
  child.stderr!.on('data', (text) => (said += String(text)))
  child.kill('SIGUSR1')
  await delay(500)
  await problems()
  assert.doesNotMatch(said, /Debugger/)
  assert.equal(child.exitCode, null)
})

test('a pool folder that is removed and comes back is noticed', async (t) => {
  const { child, folder, problems } = await start(t, ['ignore', 'ignore', 'ignore'])
  await rm(join(folder, 'pool'), { recursive: true })
  await delay(300)
  await mkdir(join(folder, 'pool'))
  await writeFile(join(folder, 'pool', 'bad.json'), '{')
  await until(async () => /bad\.json/.test(await problems()))
  assert.equal(child.exitCode, null)
})

test('a pool folder where none can be made keeps no core busy, and is told of', async (t) => {
  const { child, problems } = await start(t, ['ignore', 'ignore', 'pipe'], { POOL_DIR: '/proc/none/pool' })
  let said = ''
  child.stderr!.on('data', (text) => (said += String(text)))
  assert.match(await problems(), /no account/)
  await until(() => said.includes('/proc/none/pool cannot be made (ENOENT)'))
})

test('a command whose output does not reach its file ends with status 1', async (t) => {
  const cwd = await emptyFolder(t)
  for (const [target, expected] of [
    ['/dev/full', 1],
    ['/dev/null', 0],
  ] as const) {
    const child = spawn(process.execPath, [program, 'check'], {
      cwd,
      env: { PATH: process.env.PATH, HOME: cwd },
      stdio: ['ignore', openSync(target, 'w'), 'ignore'],
    })
    assert.deepEqual(await once(child, 'exit'), [expected, null], target)
  }
})
