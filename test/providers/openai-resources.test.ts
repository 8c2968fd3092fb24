import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inOrder, startPool, type PoolOptions, type TestPool } from '../kit/pool.js'

const keys: PoolOptions = { codexApiKeys: [{ id: 'alice' }, { id: 'bob' }], config: inOrder }

/** The accounts that were asked, in order. */
const asked = ({ sim }: TestPool) => sim.requests.map(({ account }) => account)

/** A pool in which bob has made something, and alice is chosen first from now on. */
async function madeByBob(pool: TestPool, path: string, body: object, made: object): Promise<void> {
  pool.gateway.setDisabled('alice', true)
  pool.sim.fail({ account: 'bob', with: { status: 200, body: made } })
  await pool.request.post(path).send(body).expect(200)
  pool.gateway.setDisabled('alice', false)
}

test('a file stays with the key that made it, in its own path and in requests that name it', async (t) => {
  const pool = await startPool(t, keys)
  await madeByBob(pool, '/v1/files', {}, { id: 'file-1', object: 'file' })
  const content = [{ type: 'input_file', file_id: 'file-1' }]
  await pool.request.get('/v1/files/file-1')
  await pool.ask(undefined, { body: { input: [{ type: 'message', role: 'user', content }] } }).expect(200)
  assert.deepEqual(asked(pool), ['bob', 'bob', 'bob'])
})

test('a stored response stays with the key that made it; one that is not stored binds nothing', async (t) => {
  const pool = await startPool(t, keys)
  const model = { model: 'gpt-5.5', input: 'hi' }
  await madeByBob(pool, '/v1/responses', model, { id: 'resp_1', object: 'response', store: true })
  await madeByBob(pool, '/v1/responses', model, { id: 'resp_2', object: 'response', store: false })
  await pool.request.get('/v1/responses/resp_1')
  await pool.ask(undefined, { body: { previous_response_id: 'resp_1' } })
  await pool.ask(undefined, { body: { previous_response_id: 'resp_2' } })
  assert.deepEqual(asked(pool), ['bob', 'bob', 'bob', 'bob', 'alice'])
})
