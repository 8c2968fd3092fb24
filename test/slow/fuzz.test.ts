import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runFuzz } from './fuzz/run-fuzz.js'

/** By hand, longer: `npm run fuzz -- 20000 SEED`. */
const cases = Number(process.argv[2] ?? 600)
const seed = Number(process.argv[3] ?? 11)

test('mutated requests, answers, frames and files: the gateway lives, serves the next request, and ends every connection', async () => {
  const { withoutEnd, heapMB } = await runFuzz({ cases, seed })
  assert.equal(withoutEnd, 0, 'connections without an end')
  assert.ok(heapMB[1] < heapMB[0] + 20, `memory has grown: ${heapMB.join(' → ')} MB`)
})
