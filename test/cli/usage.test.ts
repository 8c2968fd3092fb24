import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { runCommand } from '../kit/command.js'
import { inOrder, startPool } from '../kit/pool.js'

test('usage, /admin/accounts and /metrics tell the same tokens, by whatever grouping', async (t) => {
  const pool = await startPool(t, { codex: [{ id: 'alice' }, { id: 'bob' }], config: inOrder, onDisk: true })
  await pool.ask('s1').expect(200)
  pool.sim.account('alice').exhaust()
  await pool.ask('s2').expect(200)
  const env = {
    PROXY_LISTEN_ADDR: new URL(pool.url).host,
    POOL_DIR: join(pool.dir, 'pool'),
    PROXY_DB_PATH: join(pool.dir, 'data', 'proxy.db'),
  }
  const run = (...args: string[]) => runCommand(t, ['usage', ...args], { cwd: pool.dir, env })
  const { usage } = JSON.parse((await run('--by', 'account', '--json')).output)
  const { text } = await pool.request.get('/metrics').expect(200)
  for (const { key, inputTokens, outputTokens, totalTokens } of usage) {
    assert.equal(totalTokens, (await pool.account(key)).usage?.last24h.totalTokens)
    assert.ok(text.includes(`codexpool_tokens_total{account="${key}",kind="input"} ${inputTokens}\n`))
    assert.ok(text.includes(`codexpool_tokens_total{account="${key}",kind="output"} ${outputTokens}\n`))
  }
  assert.equal(usage.length, 2)
  const sum = (rows: { totalTokens: number }[]) => rows.reduce((all, row) => all + row.totalTokens, 0)
  for (const by of ['day', 'hour', 'model', 'provider']) {
    const told = JSON.parse((await run('--by', by, '--json', '--since', '24h')).output)
    assert.equal(sum(told.usage), sum(usage), by)
  }
  assert.match((await run()).output, /^day +requests +input +cached +output +reasoning\n[^]*Not counted: /)
  assert.match(
    (await run('--by', 'moon')).output,
    /--by moon: use one of day, hour, account, model, provider/,
  )
  assert.match((await run('--since', 'ever')).output, /--since ever: use a number of hours or days/)
})
