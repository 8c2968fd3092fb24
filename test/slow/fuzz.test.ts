import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runFuzz } from './fuzz/run-fuzz.js'

test('mutated requests, answers, frames and files: the gateway lives, serves the next request, and ends every connection', async () => {
  const { withoutEnd, heapMB } = await runFuzz({ cases: Number(process.env.FUZZ_CASES ?? 600), seed: 11 })
  assert.equal(withoutEnd, 0, 'connections without an end')
  assert.ok(heapMB[1] < heapMB[0] + 20, `memory has grown: ${heapMB.join(' → ')} MB`)
})
