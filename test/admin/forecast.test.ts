import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PoolReport } from '../../src/admin/reports.js'
import { poolView } from '../../src/admin/pool-view.js'
import { palette } from '../../src/cli/palette.js'
import { statusLines } from '../../src/cli/status-screen.js'
import { startPool, stopClock } from '../kit/pool.js'

const HOUR = 3_600_000

test('the forecast of accounts, providers and the pool is in /admin/accounts once enough is known', async (t) => {
  const clock = stopClock(t)
  const codex = ['alice', 'bob'].map((id) => ({
    id,
    primary: { percentPerRequest: 0 },
    secondary: { usedPercent: 0, percentPerRequest: 10 },
  }))
  const pool = await startPool(t, { codex })
  const report = async (): Promise<PoolReport> => (await pool.request.get('/admin/accounts').expect(200)).body
  const before = await report()
  assert.ok(before.accounts.every(({ forecast }) => forecast === undefined))
  assert.deepEqual(before.forecast, { providers: {} })

  for (let hour = 0; hour < 6; hour++) {
    for (const session of ['s1', 's2']) await pool.ask(session).expect(200)
    clock.advance(HOUR)
  }
  const { accounts, forecast } = await report()
  for (const { forecast } of accounts) {
    const week = forecast?.find(({ window }) => window === 'secondary')
    assert.ok(week, 'each has served six requests')
    assert.ok(week.percentPerHour > 5 && week.percentPerHour < 15, String(week.percentPerHour))
    assert.ok(Date.parse(week.runsDryAt!) > clock.now && Date.parse(week.runsDryAt!) < clock.now + 12 * HOUR)
    assert.equal(week.unusedPercent, undefined)
    assert.equal(week.asOf, new Date(clock.now - HOUR).toISOString())
  }
  assert.equal(forecast.providers['codex']?.accounts, 2)
  assert.deepEqual(forecast.pool, forecast.providers['codex'])
  const screen = { width: 120, now: clock.now, palette: palette(false) }
  const lines = statusLines(poolView({ accounts, forecast }, clock.now), screen)
  assert.match(
    lines.find((line) => line.startsWith('  7 d: ')) ?? '',
    /^  7 d: runs dry at .* \(in \d+ h.*\)/,
  )
  assert.match(lines.at(-1) ?? '', /^codex, 2 accounts: [\d.]+ %\/h, runs dry at .*\(in /)
})
