import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runSoak } from './soak/run-soak.js'

test('500 requests under seeded faults, 50 at a time: each gets its own answer, once, and nothing is left behind', async (t) => {
  const { endings, faults, resources } = await runSoak(t, { requests: 500, accounts: 8, atOnce: 50, seed: 7 })
  const ended = Object.values(endings).reduce((sum, count) => sum + count, 0)
  assert.equal(ended, 500)
  assert.ok(Object.keys(faults).length > 5, 'faults were met')
  assert.deepEqual([resources.closed.sockets, resources.closed.timers], [0, 0])
})
