import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { startCommand } from '../kit/command.js'
import { inOrder, startPool, type TestPool, until, within } from '../kit/pool.js'

/** The lines that a gateway logs from now on. */
function logged(t: TestContext, pool: TestPool): string[] {
  const lines: string[] = []
  for (const level of ['warn', 'info'] as const)
    t.mock.method(pool.gateway.log, level, (message: string) => void lines.push(`${level} ${message}`))
  return lines
}

test('logs --follow shows each request as it ends, and what happens to accounts, until the gateway stops', async (t) => {
  const pool = await startPool(t, { codex: [{ id: 'alice' }, { id: 'bob' }], config: inOrder, onDisk: true })
  await pool.ask('s1').expect(200)
  const command = startCommand(t, ['logs', '--follow'], {
    cwd: pool.dir,
    env: {
      PROXY_LISTEN_ADDR: new URL(pool.url).host,
      POOL_DIR: join(pool.dir, 'pool'),
      PROXY_DB_PATH: join(pool.dir, 'data', 'proxy.db'),
    },
  })
  const line =
    /\d\d:\d\d:\d\d  200  codex_exec  gpt-5\.5  codex\/alice  1 attempt  \d+ in, \d+ out  first byte .*/
  await within(command.printed(line))
  await until(() => pool.gateway.events.listenerCount('request') > 1)
  pool.sim.account('alice').exhaust()
  await pool.ask('s2').expect(200)
  await within(command.printed(/codex\/alice is exhausted: usage_limit_reached/))
  await within(command.printed(/200  codex_exec  gpt-5\.5  codex\/bob  2 attempts/))
  await pool.stop()
  await within(command.printed(/the gateway has stopped/))
  assert.equal((await command.ended).status, 0)
})

test('the log tells why the gateway failed', async (t) => {
  const config = {
    strategies: {
      broken: () => {
        throw new Error('no such thing')
      },
    },
    routes: [{ path: '/v1', provider: 'codex', strategy: 'broken' }],
  }
  const broken = await startPool(t, { codex: [{ id: 'alice' }], config })
  const lines = logged(t, broken)
  await broken.ask('s1').expect(500)
  await until(() => lines.length > 0)
  assert.match(
    lines.join('\n'),
    /^warn .* 500 by the gateway after 0 attempts, \d+ ms: strategy "broken" failed: no such thing$/m,
  )

  const down = await startPool(t, { codex: [{ id: 'alice' }] })
  const told = logged(t, down)
  await down.sim.down()
  await down.ask('s1').expect(502)
  await until(() => told.some((line) => line.includes('502')))
  assert.match(told.join('\n'), /^warn .* 502 by the gateway after 1 attempts, \d+ ms: .*ECONNREFUSED/m)
})

test('the log tells of a login that a poll has found dead, and of its return', async (t) => {
  const pool = await startPool(t, { codex: [{ id: 'alice' }] })
  const lines = logged(t, pool)
  pool.sim.account('alice').revoke()
  pool.gateway.retry('alice')
  await until(() => lines.some((line) => line.startsWith('warn codex/alice: its quota cannot be asked: ')))
  await pool.ask('s1')
  assert.match(lines.join('\n'), /^warn codex\/alice: token refresh: needs login: /m)
  pool.sim.account('alice').login()
  await writeFile(pool.file('alice'), JSON.stringify(pool.sim.account('alice').authJson()))
  await pool.gateway.reload()
  assert.match(lines.join('\n'), /^info codex\/alice: ready again, was needs-login$/m)
  pool.gateway.retry('alice')
  await until(() => lines.includes('info codex/alice: its quota is told again'))
})

test('an event tells client, model, tokens and the time to the first byte', async (t) => {
  const pool = await startPool(t, { codex: [{ id: 'alice' }] })
  const over = once(pool.gateway.events, 'request')
  await pool.ask('s1').expect(200)
  const [{ client, model, usage, firstByteMs }] = await over
  assert.deepEqual([client, model], ['codex_exec', 'gpt-5.5'])
  assert.ok(usage.inputTokens > 0 && firstByteMs >= 0)
})
