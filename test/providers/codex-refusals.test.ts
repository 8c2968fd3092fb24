import assert from 'node:assert/strict'
import { test } from 'node:test'
import { faults, type RefusalScript, type WireFault } from '../../src/simulator/index.js'
import { inOrder, saidIn, startPool } from '../kit/pool.js'
import { create, dial, isTurn, saidBy } from '../kit/websocket.js'

const two = [
  { id: 'alice', plan: 'plus' },
  { id: 'bob', plan: 'pro' },
]

interface Row extends Omit<RefusalScript, 'word'> {
  readonly word: string
  /** alice's state afterwards. */
  readonly state: 'ready' | 'cooling' | 'exhausted' | 'needs-login'
  /** Who serves the next conversation for another model. */
  readonly next: 'alice' | 'bob'
}

/** What alice's upstream says, in the forms that were seen; the verdicts are in codex-errors.test.ts. */
const rows: readonly Row[] = [
  { word: 'usage_limit_reached', in: 'type', state: 'exhausted', next: 'bob' },
  { word: 'usage_limit_reached', in: ['code', 'type'], flat: true, state: 'exhausted', next: 'bob' },
  { word: 'USAGE-LIMIT-REACHED', in: 'reason', state: 'exhausted', next: 'bob' },
  {
    word: 'usage_limit_reached',
    in: 'type',
    headers: { 'x-codex-active-limit': 'codex_spark' },
    state: 'ready',
    next: 'alice',
  },
  { word: 'rate_limit_exceeded', message: 'Please try again in 20s.', state: 'cooling', next: 'bob' },
  { status: 402, word: 'insufficient_quota', state: 'exhausted', next: 'bob' },
  { status: 401, word: 'token_revoked', state: 'needs-login', next: 'bob' },
  { status: 403, word: 'account_deactivated', in: 'detail', state: 'needs-login', next: 'bob' },
  { status: 403, word: 'file_not_found', state: 'ready', next: 'alice' },
]

const inStream = { preludeBytes: 200 }
const carriers: Record<string, (refusal: WireFault) => WireFault> = {
  'an answer': (refusal) => refusal,
  'an error event': (refusal) => faults.inStream(refusal, inStream),
  'an error event with its fields beside the type': (refusal) =>
    faults.inStream(refusal, { ...inStream, flat: true, statusField: 'status_code' }),
}

for (const { state, next, ...script } of rows) {
  const what = `${script.word} (${[script.in ?? 'code'].flat().join(' and ')}${script.headers ? ', of one model' : ''})`
  for (const [carrier, carry] of Object.entries(carriers))
    test(`${what} in ${carrier}: another account answers, and the account is ${state}`, async (t) => {
      const pool = await startPool(t, { codex: two, config: inOrder })
      pool.sim.reply(({ account }) => `I am ${account}.`)
      pool.sim.fail({ account: 'alice', path: '/responses', with: carry(faults.refusal(script)) })
      const { status, text } = await pool.ask('s1', { model: 'gpt-5.5' })
      assert.deepEqual([status, saidIn(text)], [200, 'I am bob.'])
      assert.equal((await pool.account('alice')).state, state)
      assert.equal(await pool.servedBy('s2', { model: 'gpt-6.1-sol' }), next)
    })

  test(`${what} in a message of a WebSocket: another account answers, and the account is ${state}`, async (t) => {
    const pool = await startPool(t, { codex: two, config: inOrder })
    pool.sim.reply(({ account }) => `I am ${account}.`)
    const fault = faults.inStream(faults.refusal(script))
    pool.sim.fail({ account: 'alice', frame: isTurn, with: fault })
    // The handshake has to name the model, or it cannot be known which account serves it.
    const headers = { 'x-codex-routing-hint': 'model=gpt-5.5' }
    const answered = saidBy(await (await dial(pool, 's1', { headers })).ask(create()))
    assert.equal(answered, 'I am bob.')
    assert.equal((await pool.account('alice')).state, state)
    assert.equal(await pool.servedBy('s2', { model: 'gpt-6.1-sol' }), next)
  })
}
