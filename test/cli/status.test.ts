import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { runCommand, type Ended } from '../kit/command.js'
import { inOrder, startPool, type TestPool } from '../kit/pool.js'

const ESCAPE = '\u001b['

/** The command line beside a running gateway. */
function beside(t: TestContext, pool: TestPool, env: Record<string, string> = {}) {
  const own = {
    PROXY_LISTEN_ADDR: new URL(pool.url).host,
    POOL_DIR: join(pool.dir, 'pool'),
    PROXY_DB_PATH: join(pool.dir, 'data', 'proxy.db'),
  }
  return (...args: string[]): Promise<Ended> =>
    runCommand(t, args, { cwd: pool.dir, env: { ...own, ...env } })
}

test('status tells who can work, as lines, as one line and as data', async (t) => {
  const pool = await startPool(t, { codex: [{ id: 'alice' }, { id: 'bob' }], config: inOrder, onDisk: true })
  pool.sim.account('alice').exhaust()
  await pool.ask('s1').expect(200)
  const run = beside(t, pool)
  const { status, output } = await run('status')
  assert.equal(status, 0, output)
  assert.match(
    output,
    /^codex: yes, on bob\n\nalice +exhausted 5h .*\n  used up until [\d:]+ \(in 4 h 59 min\)\nbob +ready /,
  )
  assert.ok(!output.includes(ESCAPE), 'a pipe gets no colours')
  const line = await run('status', '--line')
  assert.match(line.output, /^codex bob \d+%\n$/)
  const data = JSON.parse((await run('status', '--json')).output)
  assert.deepEqual([data.running, data.providers[0].works, data.providers[0].on], [true, 'yes', ['bob']])
})

test('an account refused with paragraphs takes one short line in the list, and is told in full by its id', async (t) => {
  const pool = await startPool(t, { codex: [{ id: 'alice' }], config: inOrder, onDisk: true })
  const [account] = pool.gateway.accounts()
  assert.ok(account)
  pool.sim.account('alice').revoke()
  await pool.ask('s1')
  const run = beside(t, pool, { COLUMNS: '60' })
  for (const line of (await run('status')).output.split('\n')) assert.ok([...line].length <= 60, line)
  const { reason = '' } = await pool.account('alice')
  assert.ok((await run('accounts', 'alice')).output.includes(`reason: ${reason}`))
  const unknown = await run('accounts', 'nobody')
  assert.equal(unknown.status, 1)
  assert.match(unknown.output, /there is no account "nobody" in .*\. There are: alice/)
})

test('FORCE_COLOR brings colours to a pipe, and NO_COLOR takes them away', async (t) => {
  const pool = await startPool(t, { codex: [{ id: 'alice' }], onDisk: true })
  assert.ok((await beside(t, pool, { FORCE_COLOR: '1' })('status')).output.includes(ESCAPE))
  assert.ok(!(await beside(t, pool, { FORCE_COLOR: '0' })('status')).output.includes(ESCAPE))
  assert.ok(!(await beside(t, pool, { NO_COLOR: '1' })('status')).output.includes(ESCAPE))
})

test('where no gateway runs, status says so first, and --line in three words', async (t) => {
  const pool = await startPool(t, { codex: [{ id: 'alice' }], onDisk: true })
  await pool.stop()
  const run = beside(t, pool)
  assert.match(
    (await run('status')).output,
    /^No gateway answers on .*, so no client can work\. Start it: codex-pool\b/,
  )
  assert.equal((await run('status', '--line')).output, 'codex-pool is stopped\n')
})

test('status --line asks with the admin token where access keys are set', async (t) => {
  const access = { keys: { laptop: 'key-of-the-laptop-0123456789' } }
  const pool = await startPool(t, { codex: [{ id: 'alice' }], onDisk: true, config: { access } })
  assert.match((await beside(t, pool)('status', '--line')).output, /^codex alice\n$/)
})

test('status --watch without a terminal is refused with the way out', async (t) => {
  const pool = await startPool(t, { codex: [{ id: 'alice' }], onDisk: true })
  const { status, output } = await beside(t, pool)('status', '--watch')
  assert.equal(status, 1)
  assert.match(output, /--watch needs a terminal; use --json in a script/)
})
