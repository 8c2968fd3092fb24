import assert from 'node:assert/strict'
import { once } from 'node:events'
import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { createGateway } from '../../src/index.js'
import { type AuthJson, type Simulator } from '../../src/simulator/index.js'
import { holdBackground } from '../kit/background.js'
import { bindFile, cannotMount, OrdinaryUser, readOnly, SmallDisk } from '../kit/disk.js'
import { inOrder, startPool, stopClock, until, within, type PoolOptions, type TestPool } from '../kit/pool.js'

const MINUTE = 60_000
const two = [{ id: 'alice' }, { id: 'bob' }]
/** More than one page, so that a disk can take a part of it. */
const LARGE = 'x'.repeat(6000)

const issuerCalls = ({ requests }: Simulator) => requests.filter(({ kind }) => kind === 'issuer').length
const read = async (file: string) =>
  JSON.parse(await readFile(file, 'utf8')) as AuthJson & Record<string, unknown>
const holdsLatest = async (pool: TestPool, file: string) =>
  (await read(file)).tokens.refresh_token === pool.sim.account('alice').refreshToken

/** A pool in `poolDir` in which alice's token ends so soon from now; ms. `spoil` runs before the gateway starts. */
function poolIn(
  t: TestContext,
  poolDir: string,
  expiresInMs: number,
  options: PoolOptions & { spoil?: (file: string, sim: Simulator) => unknown } = {},
): Promise<TestPool> {
  const { spoil, ...rest } = options
  return startPool(t, {
    codex: two,
    ...rest,
    config: { ...inOrder, poolDir, ...rest.config },
    prepare: async ({ sim }) => {
      await sim.writePool(poolDir)
      const file = join(poolDir, 'alice.json')
      const auth = { ...sim.account('alice').authJson({ expiresInMs }), large: LARGE }
      await writeFile(file, JSON.stringify(auth), { mode: 0o600 })
      await spoil?.(file, sim)
    },
  })
}

async function problems(pool: TestPool): Promise<string> {
  const { body } = await pool.request.get('/healthz').expect(200)
  return (body.problems as string[]).join('\n')
}

/** The new pair is used although it is nowhere but in memory, and everybody is told so. */
async function livesInMemory(pool: TestPool, code: string): Promise<void> {
  for (const session of ['s1', 's2']) assert.equal(await pool.servedBy(session), 'alice')
  assert.equal(issuerCalls(pool.sim), 1)
  assert.match(await problems(pool), new RegExp(`alice: its refreshed login is in memory only.*${code}`))
  assert.equal((await pool.account('alice')).unsaved, code)
}

/** The background tries again until something holds. */
function written(tick: () => void, holds: () => Promise<boolean>): Promise<void> {
  return until(() => {
    tick()
    return holds()
  })
}

const disk = { skip: cannotMount }

test('on a full disk a token that lives is not refreshed, and serves on', disk, async (t) => {
  const tick = holdBackground(t)
  const clock = stopClock(t)
  const small = new SmallDisk(t)
  const pool = await poolIn(t, small.dir, 4 * MINUTE, { spoil: () => small.fill() })
  const tried = once(pool.gateway.events, 'refresh')
  tick()
  const [{ outcome }] = (await within(tried)) as [{ outcome: string }]
  assert.match(outcome, /cannot be written \(ENOSPC\)/)
  assert.equal(await pool.servedBy('s1'), 'alice')
  assert.equal(issuerCalls(pool.sim), 0)

  const refreshed = once(pool.gateway.events, 'refresh')
  small.free()
  clock.advance(10_000)
  tick()
  assert.deepEqual(await within(refreshed), [{ account: 'codex/alice', outcome: 'refreshed' }])
  assert.ok(await holdsLatest(pool, join(small.dir, 'alice.json')))
  assert.equal(pool.sim.issuer.refreshes, 1)
})

for (const pages of [0, 1, 2])
  test(
    `on a disk with ${pages} pages left a dead token is refreshed, used, and written when there is room`,
    disk,
    async (t) => {
      const tick = holdBackground(t)
      const small = new SmallDisk(t)
      const pool = await poolIn(t, small.dir, -MINUTE, { spoil: () => small.fill(pages) })
      const file = join(small.dir, 'alice.json')
      const before = await readFile(file, 'utf8')
      const old = JSON.parse(before) as AuthJson
      if (pages < 2) {
        await livesInMemory(pool, 'ENOSPC')
        assert.equal(await readFile(file, 'utf8'), before, 'what is there stays whole')
        small.free()
      } else await pool.ask('s1').expect(200)
      await written(tick, () => holdsLatest(pool, file))
      await written(tick, async () => !(await problems(pool)).includes('memory'))
      const after = await read(file)
      assert.equal(after.large, LARGE)
      assert.notEqual(after.tokens.refresh_token, old.tokens.refresh_token)
      assert.deepEqual(
        (await readdir(small.dir)).filter((name) => /tmp|lock|recovery/.test(name)),
        [],
      )
      pool.sim.account('alice').expireAccessToken()
      assert.equal(await pool.servedBy('s3'), 'alice')
      assert.equal(pool.sim.issuer.refreshes, 2)
    },
  )

test(
  'a pair that never reached the disk is gone with the process; the old one is not presented',
  disk,
  async (t) => {
    const small = new SmallDisk(t)
    const pool = await poolIn(t, small.dir, -MINUTE, { onDisk: true, spoil: () => small.fill() })
    await livesInMemory(pool, 'ENOSPC')
    await pool.restart()
    assert.equal(await pool.servedBy('s3'), 'bob')
    assert.match((await pool.account('alice')).reason ?? '', /used before/)
    assert.equal(issuerCalls(pool.sim), 1)
  },
)

test('while a pair is in memory only, no other gateway presents the old one', disk, async (t) => {
  const tick = holdBackground(t)
  const small = new SmallDisk(t)
  const pool = await poolIn(t, small.dir, -MINUTE, { codex: [{ id: 'alice' }], spoil: () => small.fill() })
  await livesInMemory(pool, 'ENOSPC')
  const other = await createGateway(
    { ...inOrder, poolDir: small.dir, database: false, quotaPollMs: 0, log: { level: 'silent' } },
    { env: pool.sim.environment },
  )
  t.after(() => other.close())
  const refreshed = once(other.events, 'refresh')
  tick()
  small.free()
  // It waits for the first one, and adopts the login that the first one has written.
  await written(tick, () => holdsLatest(pool, join(small.dir, 'alice.json')))
  assert.deepEqual(await within(refreshed), [{ account: 'codex/alice', outcome: 'adopted' }])
  assert.equal(issuerCalls(pool.sim), 1)
})

test(
  'in a folder that became read-only, too, the new pair lives in memory until it can be written',
  disk,
  async (t) => {
    const tick = holdBackground(t)
    const { dir } = new SmallDisk(t)
    const poolDir = join(dir, 'pool')
    let writable = () => {}
    const pool = await poolIn(t, poolDir, -MINUTE, { spoil: () => (writable = readOnly(t, poolDir)) })
    await livesInMemory(pool, 'EROFS')
    writable()
    await written(tick, () => holdsLatest(pool, join(poolDir, 'alice.json')))
    await written(tick, async () => !(await problems(pool)).includes('memory'))
  },
)

test('in a read-only folder a token that lives is not refreshed', disk, async (t) => {
  const tick = holdBackground(t)
  const { dir } = new SmallDisk(t)
  const poolDir = join(dir, 'pool')
  const pool = await poolIn(t, poolDir, 4 * MINUTE, { spoil: () => void readOnly(t, poolDir) })
  const tried = once(pool.gateway.events, 'refresh')
  tick()
  await within(tried)
  assert.equal(await pool.servedBy('s1'), 'alice')
  assert.equal(issuerCalls(pool.sim), 0)
})

test(
  'a disk on which the client keeps its own copy read-only: the client is not locked out',
  disk,
  async (t) => {
    const tick = holdBackground(t)
    const { dir } = new SmallDisk(t)
    const [poolDir, home] = [join(dir, 'pool'), join(dir, 'home')]
    const copy = join(home, 'auth.json')
    let writable = () => {}
    const pool = await poolIn(t, poolDir, -MINUTE, {
      env: { CODEX_HOME: home },
      spoil: async (file) => {
        await mkdir(home)
        await writeFile(copy, await readFile(file), { mode: 0o600 })
        writable = readOnly(t, home)
      },
    })
    assert.equal(await pool.servedBy('s1'), 'bob')
    assert.match(
      await problems(pool),
      /client's own copy of the login, .*auth\.json, cannot be written \(EROFS\)/,
    )
    assert.equal(issuerCalls(pool.sim), 0)
    writable()
    assert.equal(await pool.servedBy('s2'), 'alice')
    for (const file of [copy, join(poolDir, 'alice.json')]) assert.ok(await holdsLatest(pool, file), file)
    await written(tick, async () => !(await problems(pool)).includes('own copy'))
  },
)

test('a bind-mounted file is written where it lies', disk, async (t) => {
  const { dir } = new SmallDisk(t)
  const poolDir = join(dir, 'pool')
  const outside = join(dir, 'outside.json')
  const pool = await poolIn(t, poolDir, -MINUTE, {
    spoil: async (file) => {
      await writeFile(outside, await readFile(file), { mode: 0o600 })
      bindFile(t, outside, file)
    },
  })
  assert.equal(await pool.servedBy('s1'), 'alice')
  assert.ok(await holdsLatest(pool, outside))
  assert.equal((await read(outside)).large, LARGE)
  assert.deepEqual((await readdir(poolDir)).sort(), ['alice.json', 'bob.json'])
})

test(
  'a bind-mounted file on a full disk keeps the old content whole until there is room',
  disk,
  async (t) => {
    const tick = holdBackground(t)
    const small = new SmallDisk(t)
    const outside = join(small.dir, 'outside.json')
    const { dir } = new SmallDisk(t)
    const pool = await poolIn(t, dir, -MINUTE, {
      spoil: async (file, sim) => {
        // It fills its page to the end: the new content, which has line breaks, needs another one.
        const auth = { ...sim.account('alice').authJson({ expired: true }), large: '' }
        auth.large = LARGE.slice(0, 4096 - JSON.stringify(auth).length)
        await writeFile(outside, JSON.stringify(auth), { mode: 0o600 })
        bindFile(t, outside, file)
        small.fill()
      },
    })
    const before = await readFile(outside, 'utf8')
    await livesInMemory(pool, 'ENOSPC')
    assert.equal(await readFile(outside, 'utf8'), before)
    small.free()
    await written(tick, () => holdsLatest(pool, outside))
  },
)

test('an overwrite that a kill has cut is made good at the start', disk, async (t) => {
  const { dir } = new SmallDisk(t)
  const poolDir = join(dir, 'pool')
  const outside = join(dir, 'outside.json')
  const pool = await poolIn(t, poolDir, -MINUTE, {
    spoil: async (file) => {
      const whole = await readFile(file, 'utf8')
      await writeFile(outside, whole.slice(0, 100))
      await writeFile(`${file}.recovery`, whole, { mode: 0o600 })
      bindFile(t, outside, file)
    },
  })
  assert.equal(await pool.servedBy('s1'), 'alice')
  assert.ok(await holdsLatest(pool, outside))
  assert.deepEqual((await readdir(poolDir)).sort(), ['alice.json', 'bob.json'])
})

const users = { skip: process.getuid === undefined && 'this system has no users and modes' }

/** A pool of which the process that runs the gateway owns the files, but not the folder. */
async function poolOfAnother(t: TestContext, fileMode: number): Promise<TestPool> {
  const user = new OrdinaryUser(t)
  let poolDir = ''
  t.after(() => poolDir && chmod(poolDir, 0o755).catch(() => {}))
  return startPool(t, {
    codex: two,
    config: inOrder,
    prepare: async (pool) => {
      poolDir = pool.poolDir
      const files = ['alice', 'bob'].map((id) => join(poolDir, `${id}.json`))
      const auth = { ...pool.sim.account('alice').authJson({ expired: true }), large: LARGE }
      await writeFile(files[0]!, JSON.stringify(auth))
      await chmod(files[0]!, fileMode)
      await chmod(dirname(poolDir), 0o755)
      await chmod(poolDir, 0o555)
      user.become(files)
    },
  })
}

test('a file that may be written, in a folder that may not, is written all the same', users, async (t) => {
  const pool = await poolOfAnother(t, 0o600)
  assert.equal(await pool.servedBy('s1'), 'alice')
  assert.ok(await holdsLatest(pool, pool.file('alice')))
  assert.equal((await read(pool.file('alice'))).large, LARGE)
  assert.equal(await problems(pool), '')
})

test(
  'of a file that may only be read the pair lives in memory, until it may be written',
  users,
  async (t) => {
    const tick = holdBackground(t)
    const pool = await poolOfAnother(t, 0o400)
    await livesInMemory(pool, 'EACCES')
    await chmod(pool.file('alice'), 0o600)
    await written(tick, () => holdsLatest(pool, pool.file('alice')))
  },
)
