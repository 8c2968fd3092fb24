import assert from 'node:assert/strict'
import { getEventListeners, once } from 'node:events'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { deadline } from '../../src/pool/deadline.js'
import { startPool, until } from '../kit/pool.js'

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

test('a look at many accounts at a time brings no warning of Node about too many listeners', async (t) => {
  const warned: string[] = []
  const warn = ({ message }: Error) => warned.push(message)
  process.on('warning', warn)
  t.after(() => process.off('warning', warn))
  const ids = Array.from({ length: 24 }, (_, index) => `account-${index}`)
  const pool = await startPool(t, { codex: ids.map((id) => ({ id })), config: { quotaPollMs: 60_000 } })
  const usages = () => pool.sim.requests.filter(({ path }) => path.endsWith('/usage')).length
  await pool.gateway.reload()
  await until(() => usages() >= ids.length)
  assert.deepEqual(warned, [])
})
