import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fullSize } from '../kit/size.js'
import { runSoak } from './soak/run-soak.js'

const requests = Number(process.env.SOAK_REQUESTS ?? (fullSize ? 20_000 : 500))
const atOnce = fullSize ? 200 : 50
const seed = Number(process.env.SOAK_SEED ?? 7)

/**
 * MB that the heap may grow by in the second half of a full run. By then every bounded store has reached its bound: ten
 * thousand records of a day, as many pins. What still grows is what the test itself keeps.
 */
const GROWTH_MB = 15

test(`${requests} requests under seeded faults, ${atOnce} at a time: each gets its own answer, once, and nothing is left behind`, async (t) => {
  const figures = await runSoak(t, { requests, accounts: 8, atOnce, seed })
  const { endings, faults, resources } = figures
  t.diagnostic(JSON.stringify({ seed, requests, ...figures }))
  const ended = Object.values(endings).reduce((sum, count) => sum + count, 0)
  assert.equal(ended, requests, 'a request was lost')
  assert.ok(Object.keys(faults).length > 5, 'faults were met')
  assert.deepEqual([resources.closed.sockets, resources.closed.timers], [0, 0])
  if (fullSize) assert.ok(resources.late.heapMB - resources.early.heapMB < GROWTH_MB, 'memory has grown')
})
