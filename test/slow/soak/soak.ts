import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runSoak } from './run-soak.js'

/**
 * The heap may grow by so much in the second half of the run; MB. By then all that is bounded has reached its bound: ten
 * thousand records of a day, as many pins. What grows on is what the test itself remembers.
 */
const GROWTH_MB = 15

test('20,000 requests over 8 accounts under seeded faults, 200 at a time', async (t) => {
  const seed = Number(process.env.SOAK_SEED ?? 1)
  const requests = Number(process.env.SOAK_REQUESTS ?? 20_000)
  const figures = await runSoak(t, { requests, accounts: 8, atOnce: 200, seed })
  console.log(JSON.stringify({ seed, requests, ...figures }, undefined, 2))
  const ended = Object.values(figures.endings).reduce((sum, count) => sum + count, 0)
  assert.equal(ended, requests, 'a request was lost')
  const { early, late, closed } = figures.resources
  assert.deepEqual([closed.sockets, closed.timers], [0, 0])
  if (globalThis.gc) assert.ok(late.heapMB - early.heapMB < GROWTH_MB, 'memory has grown')
})
