import assert from 'node:assert/strict'
import { getEventListeners, once } from 'node:events'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { deadline } from '../../src/pool/deadline.js'
import { until } from '../kit/pool.js'

test('a deadline fires although nothing but its listeners knows of it, whatever is collected meanwhile', async () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const parent = new AbortController()
  let fired = 0
  for (let count = 0; count < 200; count++)
    deadline(20, parent.signal).addEventListener('abort', () => fired++, { once: true })
  await until(() => {
    collect()
    return fired === 200
  })
})

test('a deadline ends with its parent, with the reason of the parent', async () => {
  const parent = new AbortController()
  const signal = deadline(60_000, parent.signal)
  const aborted = once(signal, 'abort')
  parent.abort(new Error('closing'))
  await aborted
  assert.equal((signal.reason as Error).message, 'closing')
  assert.equal(deadline(60_000, parent.signal).aborted, true)
})

test('a deadline that has passed leaves nothing behind at its parent', async (t) => {
  // Its timer does not keep the process alive, and nothing else does here.
  const alive = setInterval(() => {}, 60_000)
  t.after(() => clearInterval(alive))
  const parent = new AbortController()
  const signal = deadline(1, parent.signal)
  await once(signal, 'abort')
  assert.equal((signal.reason as Error).name, 'TimeoutError')
  assert.deepEqual(getEventListeners(parent.signal, 'abort'), [])
})
