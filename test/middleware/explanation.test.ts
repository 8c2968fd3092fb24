import assert from 'node:assert/strict'
import { once } from 'node:events'
import { join } from 'node:path'
import { test } from 'node:test'
import type { UserConfig } from '../../src/index.js'
import { faults, startSimulator } from '../../src/simulator/index.js'
import { emptyFolder, runCommand, startCommand } from '../kit/command.js'
import { CLIENT, clientHeaders, codeOf, inOrder, startPool, turn, type TestPool } from '../kit/pool.js'
import { send } from '../kit/stream.js'

const four = ['alice', 'bob', 'carol', 'dave'].map((id) => ({ id }))
const PROMPT = 'a-prompt-that-is-networkDown-business'

async function explained(pool: TestPool, id: string) {
  const { body } = await pool.request.get(`/admin/requests/${id}`).expect(200)
  return body
}

async function askAndExplain(pool: TestPool, session: string) {
  const { headers } = await pool.ask(session, { prompt: PROMPT })
  return explained(pool, headers['x-codex-pool-request-id'] ?? '')
}

test('an explanation tells who was asked, why, what came of it, and why not the others', async (t) => {
  const pool = await startPool(t, { codex: four, codexApiKeys: [{ id: 'key' }], config: inOrder })
  pool.sim.account('alice').exhaust()
  await pool.ask('s0').expect(200)
  pool.sim.fail({ account: 'bob', with: faults.serverError() })
  const { resetsAt: until } = await pool.account('alice')
  const { id, at, durationMs, firstByteMs, usage, conversation, attempts, ...rest } = await askAndExplain(
    pool,
    's1',
  )
  assert.deepEqual(rest, {
    state: 'answered',
    client: 'codex_exec',
    method: 'POST',
    path: '/v1/responses',
    route: '/v1',
    provider: 'codex',
    model: 'gpt-5.5',
    servedBy: 'codex/carol',
    status: 200,
    picks: [
      {
        account: 'codex/bob',
        by: 'in-order',
        numbers: { inFlight: 0, usedPercent: 1, pressure: 1 },
        others: [
          { account: 'codex/carol', why: 'not chosen', numbers: { inFlight: 0 } },
          { account: 'codex/dave', why: 'not chosen', numbers: { inFlight: 0 } },
          { account: 'codex/alice', why: 'exhausted', until },
          { account: 'codex/key', why: 'not for this request' },
        ],
      },
      {
        account: 'codex/carol',
        by: 'in-order',
        numbers: { inFlight: 0 },
        others: [
          { account: 'codex/dave', why: 'not chosen', numbers: { inFlight: 0 } },
          { account: 'codex/alice', why: 'exhausted', until },
          { account: 'codex/bob', why: 'tried' },
          { account: 'codex/key', why: 'not for this request' },
        ],
      },
    ],
  })
  const short = attempts.map(({ account, status, outcome, sent }: Record<string, unknown>) => ({
    account,
    status,
    outcome,
    sent,
  }))
  assert.deepEqual(short, [
    {
      account: 'codex/bob',
      status: 500,
      outcome: 'unavailable: server_error: An error occurred while processing your request.',
      sent: true,
    },
    { account: 'codex/carol', status: 200, outcome: 'pass', sent: true },
  ])
  for (const time of [at, ...attempts.map((attempt: { at: string }) => attempt.at)])
    assert.equal(new Date(time).toISOString(), time)
  assert.ok(usage.totalTokens > 0)
  for (const ms of [
    durationMs,
    firstByteMs,
    ...attempts.map((attempt: { durationMs: number }) => attempt.durationMs),
  ])
    assert.ok(ms >= 0)
  assert.match(conversation, /^[\w-]{20,}$/)
  assert.ok(id)
})

test('it tells what kept a conversation on its account, and a person on their own', async (t) => {
  const pool = await startPool(t, { codex: four, config: inOrder })
  await pool.ask('s1').expect(200)
  const { picks, conversation } = await askAndExplain(pool, 's1')
  assert.equal(picks[0].by, 'conversation')
  assert.equal((await askAndExplain(pool, 's1')).conversation, conversation)
  assert.notEqual((await askAndExplain(pool, 's2')).conversation, conversation)
  const { headers } = await pool.request
    .get('/backend-api/wham/settings/user')
    .set('chatgpt-account-id', pool.sim.account('carol').accountId)
  const own = await explained(pool, headers['x-codex-pool-request-id'] ?? '')
  assert.deepEqual([own.picks[0].account, own.picks[0].by], ['codex/carol', 'owner'])
})

test('it tells why nobody could serve', async (t) => {
  const pool = await startPool(t, { codex: four.slice(0, 2), config: inOrder })
  pool.sim.fail({ account: 'alice', with: faults.rateLimited(30) })
  pool.sim.fail({ account: 'bob', with: faults.paymentRequired() })
  await pool.ask('s1')
  const { picks, attempts, status, servedBy, reason } = await askAndExplain(pool, 's2')
  assert.match(reason, /no account of the pool can take this request now; try again in \d+ s/)
  assert.deepEqual([attempts, status, servedBy], [[], 503, undefined])
  assert.deepEqual(picks, [
    {
      by: 'no account is left',
      others: [
        { account: 'codex/alice', why: 'cooling', until: (await pool.account('alice')).availableAt },
        { account: 'codex/bob', why: 'needs-login' },
      ],
    },
  ])
})

test('it tells what never reached an upstream', async (t) => {
  const pool = await startPool(t, { codex: four.slice(0, 1) })
  await pool.sim.down()
  const { attempts, status } = await askAndExplain(pool, 's1')
  assert.equal(status, 502)
  assert.deepEqual(
    [attempts[0].outcome.replace(/:\d+$/, ''), attempts[0].sent, attempts[0].status],
    ['ECONNREFUSED 127.0.0.1', false, undefined],
  )
})

test('it tells of a request while it runs, and of one whose client has left', async (t) => {
  const pool = await startPool(t, { codex: four, config: inOrder })
  pool.sim.fail({ with: faults.stall(6) })
  const request = send(pool)
  const [answer] = await once(request, 'response')
  const id = answer.headers['x-codex-pool-request-id']
  const running = await explained(pool, id)
  assert.deepEqual([running.state, running.servedBy, running.status], ['running', 'codex/alice', undefined])

  pool.sim.fail({ with: 'hang' })
  const arrived = pool.sim.next()
  const impatient = send(pool)
  await arrived
  const over = once(pool.gateway.events, 'request')
  impatient.destroy()
  const left = await explained(pool, (await over)[0].id)
  assert.deepEqual([left.state, left.status], ['client-left', undefined])
})

test('it holds no secret, and nothing of what was asked', async (t) => {
  const access: UserConfig['access'] = { keys: { laptop: 'key-of-the-laptop-0123456789' } }
  const pool = await startPool(t, { codex: four, config: { ...inOrder, access }, onDisk: true })
  const told = once(pool.gateway.events, 'request')
  await pool.ask('a-session-name', {
    prompt: PROMPT,
    path: '/k/key-of-the-laptop-0123456789/v1/responses?key=a-key-in-the-query',
  })
  const [{ id }] = await told
  const folder = await runCommand(t, ['explain', id, '--listen', new URL(pool.url).host], {
    cwd: pool.dir,
    env: { POOL_DIR: join(pool.dir, 'pool'), PROXY_DB_PATH: join(pool.dir, 'data', 'proxy.db') },
  })
  assert.equal(folder.status, 0, folder.output)
  const secrets = [
    CLIENT.token,
    CLIENT.accountId,
    PROMPT,
    'a-session-name',
    'key-of-the-laptop',
    'a-key-in-the-query',
  ]
  const tokens = pool.sim.codex.accounts.flatMap(({ accessToken, refreshToken }) => [
    accessToken,
    refreshToken,
  ])
  for (const secret of [...secrets, ...tokens]) assert.ok(!folder.output.includes(secret), secret)
})

test('a request that is not remembered is told so', async (t) => {
  const pool = await startPool(t)
  const { body } = await pool.request.get('/admin/requests/nothing').expect(404)
  assert.equal(codeOf(body), 'unknown_request')
})

test('codex-pool explain says it in words', async (t) => {
  const folder = await emptyFolder(t)
  const sim = await startSimulator({ codex: four.slice(0, 2) })
  t.after(() => sim.close())
  await sim.writePool(join(folder, 'pool'))
  const env = { ...sim.environment, PROXY_LISTEN_ADDR: '127.0.0.1:0' }
  const gateway = startCommand(t, [], { cwd: folder, env })
  const url = await gateway.printed(/listening on (http\S+)/)
  sim.fail({ with: faults.serverError(503) })
  const headers = { ...clientHeaders(), 'content-type': 'application/json' }
  const answer = await fetch(`${url}/v1/responses`, { method: 'POST', headers, body: JSON.stringify(turn()) })
  await answer.text()
  const id = answer.headers.get('x-codex-pool-request-id') ?? ''
  const { status, output } = await runCommand(t, ['explain', id, '--listen', new URL(url).host], {
    cwd: folder,
  })
  assert.equal(status, 0, output)
  const [first, second] = sim.requests.filter(({ kind }) => kind === 'codex').map(({ account }) => account)
  assert.match(output, /^POST \/v1\/responses {2}at \d\d:\d\d \(\d+ s ago\)/)
  assert.match(output, /route \/v1, provider codex, model gpt-5\.5/)
  assert.match(
    output,
    new RegExp(`asked codex/${first} \\(pressure\\): .*\\n +not codex/${second}: use not known, 0 in flight`),
  )
  assert.match(output, new RegExp(`codex/${first}: 503, unavailable: server_error: [^,]+, \\d+ ms`))
  assert.match(output, new RegExp(`answered: 200 by codex/${second} after \\d+ ms`))

  assert.match(
    output,
    new RegExp(`so: codex/${second} was the only one that was free, after codex/${first} could not`),
  )

  const unknown = await runCommand(t, ['explain', 'nothing', '--listen', new URL(url).host], { cwd: folder })
  assert.notEqual(unknown.status, 0)
  assert.match(unknown.output, /no request of this id is remembered/)
  const nobody = await runCommand(t, ['explain', id, '--listen', '127.0.0.1:1'], {
    cwd: await emptyFolder(t),
  })
  assert.notEqual(nobody.status, 0)
  assert.match(nobody.output, /No gateway answers on /)
})

test('an explanation keeps the beginning of a long path, and no long name of a model', async (t) => {
  const pool = await startPool(t, { codex: four })
  const { headers } = await pool.request.get(`/v1/${'a'.repeat(50_000)}?${'b'.repeat(5_000)}`)
  const { path } = await explained(pool, headers['x-codex-pool-request-id'] ?? '')
  assert.equal(path.length, 500)
  const named = await pool.ask('s1', { model: 'm'.repeat(50_000) })
  const told = await explained(pool, named.headers['x-codex-pool-request-id'] ?? '')
  assert.ok(JSON.stringify(told).length < 5_000)
})

test('the last requests are listed by account and conversation, and outlive a restart', async (t) => {
  const pool = await startPool(t, { codex: four.slice(0, 2), config: inOrder, onDisk: true })
  await pool.ask('s1', { prompt: PROMPT }).expect(200)
  pool.sim.account('alice').exhaust()
  await pool.ask('s2', { prompt: PROMPT }).expect(200)
  pool.sim.account('bob').exhaust()
  await pool.ask('s3', { prompt: PROMPT }).expect(429)
  const list = async (query = '') => {
    const { body } = await pool.request.get(`/admin/requests${query}`).expect(200)
    return body.requests as { id: string; status: number; conversation: string; servedBy?: string }[]
  }
  const before = await list()
  assert.deepEqual(
    before.map(({ status, servedBy }) => [status, servedBy]),
    [
      [429, undefined],
      [200, 'codex/bob'],
      [200, 'codex/alice'],
    ],
  )
  await pool.restart()
  assert.deepEqual(await list(), before)
  assert.deepEqual(await explained(pool, before[1]!.id), before[1])
  assert.deepEqual(await list(`?conversation=${before[2]!.conversation.slice(0, 8)}`), [before[2]])
  assert.deepEqual(await list('?account=alice&limit=1'), [before[1]], 'it was asked, and refused')
  await pool.ask('s4').expect(429)
  assert.equal((await list()).length, 4, 'those before and after the restart')
})

test('explain without an id lists failures first, and groups the accounts that one reason has kept out', async (t) => {
  const many = Array.from({ length: 12 }, (_, index) => ({ id: `a${index}` }))
  const pool = await startPool(t, { codex: many, config: inOrder, onDisk: true })
  const run = async (...args: string[]) => {
    const env = { POOL_DIR: join(pool.dir, 'pool'), PROXY_DB_PATH: join(pool.dir, 'data', 'proxy.db') }
    const host = new URL(pool.url).host
    const { output } = await runCommand(t, ['explain', '--listen', host, ...args], { cwd: pool.dir, env })
    return output
  }
  assert.match(await run(), /no such request is remembered/)
  for (const { id } of many) pool.sim.account(id).exhaust()
  await pool.ask('s1').expect(429)
  pool.sim.account('a0').window('primary', { usedPercent: 0 })
  pool.gateway.retry('a0')
  await pool.ask('s2').expect(200)
  const listed = (await run()).split('\n')
  assert.match(listed[0]!, /^1 .* 429 .*gpt-5\.5/)
  assert.match(listed[1]!, /^2 .* 200 .*codex\/a0/)
  assert.match(listed[2]!, /To see one: codex-pool explain ID/)
  const last = await run('--last')
  assert.match(
    last,
    /asked codex\/a0 \(in-order\): .*\n +not 11 others: exhausted until .* at the earliest\n/,
  )
  assert.match(last, /so: codex\/a0 was the only one that was free\n/)
  assert.ok(last.split('\n').length < 10, last)
})
