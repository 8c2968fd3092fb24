import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { TestContext } from 'node:test'
import type { AccountReport, UserConfig } from '../../../src/index.js'
import { startPool, until, type TestPool } from '../../kit/pool.js'
import { open } from '../../kit/stream.js'
import { NOW } from './clock.js'
import type { Front } from './fronts.js'
import { openLine, type BadLine } from './line.js'
import { cellOf, type Row, type Scope } from './row.js'
import { seenBy } from './seen.js'

/** Runs one cell of the matrix on sockets of its own. */
export async function runCell(t: TestContext, row: Row, front: Front, scope: Scope): Promise<void> {
  const expected = cellOf(row, front, scope)
  const before = sockets()
  t.mock.method(Date, 'now', () => NOW)
  const { pool, line, prefer } = await openPool(t, row, front)
  if (line || row.warm) await warmUp(pool, front, prefer, row.warm ?? false)
  const asked: string[] = []
  pool.gateway.on('attempt', ({ account }) => asked.push(shortName(account)))

  line?.fail(scope === 'one' ? 1 : Infinity)
  for (const account of scope === 'one' ? ['a'] : ['a', 'b'])
    if (row.does)
      pool.sim.fail({
        account,
        path: front.upstreamPath,
        times: row.times ?? Infinity,
        with: row.does(front),
      })
  const over = once(pool.gateway.events, 'request')
  const answer = await open(pool, { path: front.path, body: requestOf(row, front) })
  const seen = await seenBy(front, answer)
  await over

  const tried = new Set(asked)
  const atFault = (id: string) => tried.has(id) && (scope === 'all' || id === 'a')
  const state = (id: string) => (atFault(id) ? expected.state : 'ready')
  assert.deepEqual(
    { seen, asked: asked.join(' '), a: stateOf(pool, front, 'a'), b: stateOf(pool, front, 'b') },
    { seen: expected.seen, asked: expected.asked, a: state('a'), b: state('b') },
  )
  await nothingIsLeft(pool, before)
}

async function openPool(t: TestContext, { line: fault, retry }: Row, front: Front) {
  const env: Record<string, string> = {}
  const order = { first: 'a' }
  const config: UserConfig = {
    strategies: { 'in-order': (accounts) => accounts.find(({ id }) => shortName(id) === order.first) },
    routes: [{ path: front.route, provider: front.provider, strategy: 'in-order' }],
    retry: { default: { headersTimeoutMs: 20_000, ...retry } },
  }
  let line: BadLine | undefined
  const pool = await startPool(t, {
    ...front.accounts(),
    config,
    env,
    async prepare({ sim, poolDir }) {
      line = fault && (await openLine(t, fault, sim))
      const base = line?.url ?? sim.url
      Object.assign(env, front.environment(base))
      config.providers = front.providers(base)
      await front.writeCredentials?.(sim, poolDir)
    },
  })
  return { pool, line, prefer: (id: string) => void (order.first = id) }
}

/** Each account answers once, so that calls which find out facts are over. */
async function warmUp(pool: TestPool, front: Front, prefer: (id: string) => void, keepAlive: boolean) {
  for (const account of ['b', 'a']) {
    prefer(account)
    if (!keepAlive)
      pool.sim.fail({ account, path: front.upstreamPath, with: { headers: { connection: 'close' } } })
    const over = once(pool.gateway.events, 'request')
    const answer = await open(pool, { path: front.path, body: JSON.stringify(front.body('')) })
    assert.equal(await seenBy(front, answer), 'answer')
    await over
  }
}

/** Put together as bytes: JSON of 40 MB would cost each cell a second. */
function requestOf({ padding = 0 }: Row, front: Front): Buffer {
  const [begin, end] = JSON.stringify(front.body('PADDING')).split('PADDING')
  return Buffer.concat([Buffer.from(begin!), Buffer.alloc(padding, 'x'), Buffer.from(end!)])
}

const shortName = (key: string): string => key.slice(-1)

/** An account's state and for how long: `cooling 7 s`, `exhausted 900 s for the model`. */
function stateOf(pool: TestPool, front: Front, id: string): string {
  const report = pool.gateway
    .accounts()
    .find((account) => account.provider === front.provider && shortName(account.id) === id)
  return report ? describe(report) : 'unknown'
}

function describe({ state, cooldowns }: AccountReport): string {
  const [cooldown] = cooldowns
  if (!cooldown) return state
  const { kind, until, model } = cooldown
  return `${kind} ${(Date.parse(until) - NOW) / 1000} s${model === undefined ? '' : ' for the model'}`
}

const warnings: string[] = []
process.on('warning', ({ name, message }) => warnings.push(`${name}: ${message}`))

const sockets = (): number =>
  process.getActiveResourcesInfo().filter((resource) => resource === 'TCPSocketWrap').length

/** No lease, no request upstream, no socket, no listener outlives the cell. */
async function nothingIsLeft(pool: TestPool, before: number): Promise<void> {
  for (const { id, inFlight } of pool.gateway.accounts()) assert.equal(inFlight, 0, `a lease of ${id}`)
  await Promise.all(pool.sim.requests.map(({ closed }) => closed))
  await pool.stop()
  await until(() => sockets() <= before)
  assert.deepEqual(warnings, [])
}
