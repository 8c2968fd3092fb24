import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import {
  appendFile,
  copyFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { mock, test, type TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import type { AuthJson, CodexAccount } from '../../src/simulator/index.js'
import { Watcher } from '../../src/credentials/watcher.js'
import { holdBackground } from '../kit/background.js'
import { bindFile, cannotMount, SmallDisk } from '../kit/disk.js'
import { inOrder, startPool, until, within, type PoolOptions, type TestPool } from '../kit/pool.js'

const MINUTE = 60_000
const DAY = 24 * 60 * MINUTE
const two = [{ id: 'alice' }, { id: 'bob' }]

const write = (file: string, content: string) => writeFile(file, content, { mode: 0o600 })
const poolOf = (pool: TestPool) => dirname(pool.file('alice'))

/** A gateway that nobody tells anything. */
function watching(t: TestContext, options: PoolOptions = {}): Promise<TestPool> {
  return startPool(t, { codex: two, ...options, config: { ...inOrder, watch: true, ...options.config } })
}

let day = 20

/** A new login; when its access token ends tells it from all others. */
function freshLogin(account: CodexAccount): string {
  account.login()
  return JSON.stringify(account.authJson({ expiresInMs: ++day * DAY }))
}

/** The gateway uses this file's token, without having asked anybody. */
async function knows(pool: TestPool, file: string): Promise<void> {
  const { tokens } = JSON.parse(await readFile(file, 'utf8')) as AuthJson
  const { exp } = JSON.parse(Buffer.from(tokens.access_token.split('.')[1]!, 'base64url').toString()) as {
    exp: number
  }
  const endOf = () => pool.gateway.accounts().find(({ id }) => id === 'alice')?.tokenExpiresAt
  await until(() => endOf() === new Date(exp * 1000).toISOString())
  assert.equal(await pool.servedBy(undefined), 'alice')
  assert.equal(pool.sim.issuer.refreshes, 0)
}

const writers: Record<string, (file: string, content: string) => Promise<unknown>> = {
  'in place': write,
  'in place, and slowly': async (file, content) => {
    await write(file, '')
    for (let at = 0; at < content.length; at += 400) {
      await appendFile(file, content.slice(at, at + 400))
      await delay(100)
    }
  },
  'by rename': async (file, content) => {
    await write(`${file}.new`, content)
    await rename(`${file}.new`, file)
  },
  'as an editor that keeps a backup': async (file, content) => {
    await rename(file, `${file}~`)
    await write(file, content)
    await rm(`${file}~`)
  },
  'as an editor with a swap file': async (file, content) => {
    await write(join(dirname(file), '.alice.json.swp'), 'b0VIM 9.0')
    await write(join(dirname(file), '4913'), '')
    await rm(join(dirname(file), '4913'))
    await rename(file, `${file}~`)
    await write(file, content)
    await rm(`${file}~`)
    await rm(join(dirname(file), '.alice.json.swp'))
  },
  'by copying': async (file, content) => {
    await write(`${file}.from`, content)
    execFileSync('cp', [`${file}.from`, file])
    await rm(`${file}.from`)
  },
  'by removing it first': async (file, content) => {
    await rm(file)
    await write(file, content)
  },
}
for (const [name, writer] of Object.entries(writers))
  test(`a login that is replaced ${name} is noticed, and its account never goes`, async (t) => {
    const pool = await watching(t)
    const alice = pool.sim.account('alice')
    const states = new Set<string | undefined>()
    const observed = setInterval(() => {
      states.add(pool.gateway.accounts().find(({ id }) => id === 'alice')?.state)
    }, 5)
    t.after(() => clearInterval(observed))
    await writer(pool.file('alice'), freshLogin(alice))
    await knows(pool, pool.file('alice'))
    assert.deepEqual([...states], ['ready'])
  })

test('a link is followed, wherever it leads and however that is replaced', async (t) => {
  const pool = await watching(t, {
    prepare: async ({ poolDir }) => {
      const elsewhere = join(poolDir, '..', 'elsewhere')
      await mkdir(elsewhere)
      await rename(join(poolDir, 'alice.json'), join(elsewhere, 'login'))
      await symlink(join(elsewhere, 'login'), join(poolDir, 'alice.json'))
    },
  })
  const alice = pool.sim.account('alice')
  for (const how of ['in place', 'by rename', 'by rename'] as const) {
    const target = join(pool.dir, 'elsewhere', 'login')
    await writers[how]!(target, freshLogin(alice))
    await knows(pool, target)
  }
})

test('a bind-mounted file that is written from outside is noticed', { skip: cannotMount }, async (t) => {
  const { dir } = new SmallDisk(t)
  const poolDir = join(dir, 'pool')
  const outside = join(dir, 'outside.json')
  const pool = await watching(t, {
    config: { poolDir },
    prepare: async ({ sim }) => {
      await sim.writePool(poolDir)
      await copyFile(join(poolDir, 'alice.json'), outside)
      bindFile(t, outside, join(poolDir, 'alice.json'))
    },
  })
  await write(outside, freshLogin(pool.sim.account('alice')))
  await knows(pool, outside)
})

test('a pool folder that comes later is noticed', async (t) => {
  const pool = await watching(t, { prepare: ({ poolDir }) => rm(poolDir, { recursive: true }) })
  assert.deepEqual(pool.gateway.accounts(), [])
  await pool.sim.writePool(poolOf(pool))
  await until(() => pool.gateway.accounts().length === 2)
})

test('a home of the client that comes later is noticed', async (t) => {
  const pool = await watching(t)
  const alice = pool.sim.account('alice')
  await mkdir(join(pool.dir, 'codex-home'))
  const file = join(pool.dir, 'codex-home', 'auth.json')
  await write(file, freshLogin(alice))
  await knows(pool, file)
})

test('what the gateway writes itself is no news, and a change of one account is none for the others', async (t) => {
  const pool = await watching(t, {
    codex: [...two, { id: 'carol' }],
    prepare: async ({ sim, poolDir }) => {
      await rm(join(poolDir, 'carol.json'))
      const auth = sim.account('bob').authJson({ expired: true })
      await write(join(poolDir, 'bob.json'), JSON.stringify(auth))
    },
  })
  const outcomes: string[] = []
  pool.gateway.on('refresh', ({ account, outcome }) => outcomes.push(`${account} ${outcome}`))
  pool.sim.account('alice').exhaust()
  assert.equal(await pool.servedBy('s1'), 'bob')
  const before = await pool.account('alice')
  // A scan that notices this file has read bob's as well.
  await write(join(poolOf(pool), 'carol.json'), JSON.stringify(pool.sim.account('carol').authJson()))
  await until(() => pool.gateway.accounts().length === 3)
  assert.deepEqual(outcomes, ['codex/bob refreshed'])
  assert.deepEqual(await pool.account('alice'), before)
  assert.equal((await pool.account('bob')).state, 'ready')
})

test('an account whose file goes and comes back has the limits that it had', async (t) => {
  const pool = await watching(t)
  pool.sim.account('alice').exhaust()
  assert.equal(await pool.servedBy('s1'), 'bob')
  await rename(pool.file('alice'), join(pool.dir, 'aside'))
  await until(() => pool.gateway.accounts().length === 1)
  await rename(join(pool.dir, 'aside'), pool.file('alice'))
  await until(() => pool.gateway.accounts().length === 2)
  assert.equal((await pool.account('alice')).state, 'exhausted')
})

test('an old copy of a login, put over the refreshed one, does not cost the login', async (t) => {
  const pool = await watching(t, {
    prepare: ({ sim, poolDir }) =>
      write(join(poolDir, 'alice.json'), JSON.stringify(sim.account('alice').authJson({ expired: true }))),
  })
  const alice = pool.sim.account('alice')
  const old = JSON.parse(await readFile(pool.file('alice'), 'utf8')) as AuthJson
  assert.equal(await pool.servedBy('s1'), 'alice')
  const back = once(pool.gateway.events, 'refresh')
  await write(pool.file('alice'), JSON.stringify({ ...old, note: 'edited' }))
  assert.deepEqual(await within(back), [{ account: 'codex/alice', outcome: 'written' }])
  const now = JSON.parse(await readFile(pool.file('alice'), 'utf8')) as AuthJson & { note: string }
  assert.equal(now.tokens.refresh_token, alice.refreshToken)
  assert.equal(now.note, 'edited', 'what else was edited stays')
  assert.equal(await pool.servedBy('s2'), 'alice')
  assert.equal(pool.sim.issuer.refreshes, 1)
})

test('temporary files that a kill has left are swept, and nothing else', async (t) => {
  const tick = holdBackground(t)
  const old = new Date(Date.now() - 2 * MINUTE)
  const home = (pool: string) => join(pool, '..', 'codex-home')
  const pool = await watching(t, {
    prepare: async ({ poolDir }) => {
      await mkdir(home(poolDir))
      await write(join(home(poolDir), 'auth.json'), '{}')
      const left = [
        join(poolDir, 'alice.json.4711-0badcafe.tmp'),
        join(poolDir, 'alice.json.recovery.4711-0badcafe.tmp'),
        join(home(poolDir), 'auth.json.4711-0badcafe.tmp'),
        join(home(poolDir), 'history.jsonl.4711-0badcafe.tmp'),
        join(poolDir, 'notes.tmp'),
      ]
      for (const file of left) {
        await write(file, '{"tok')
        await utimes(file, old, old)
      }
      await write(join(poolDir, 'bob.json.4712-0badcafe.tmp'), '{"tok')
    },
  })
  const inPool = async () => (await readdir(poolOf(pool))).sort()
  assert.deepEqual(await inPool(), ['alice.json', 'bob.json', 'bob.json.4712-0badcafe.tmp', 'notes.tmp'])
  assert.deepEqual((await readdir(home(poolOf(pool)))).sort(), [
    'auth.json',
    'history.jsonl.4711-0badcafe.tmp',
  ])
  // A write that runs may look like the last one; a minute later it does not.
  await utimes(join(poolOf(pool), 'bob.json.4712-0badcafe.tmp'), old, old)
  for (let second = 0; second < 60; second++) tick()
  await until(async () => (await inPool()).length === 3)
})

for (const [name, { file, recovery, kept }] of Object.entries({
  'the file is torn': { file: 'torn', recovery: 'new', kept: 'new' },
  'the file is older': { file: 'old', recovery: 'new', kept: 'new' },
  'the file was written since': { file: 'newer', recovery: 'new', kept: 'newer' },
  'the copy is torn': { file: 'old', recovery: 'torn', kept: 'old' },
}))
  test(`of a file and its recovery copy the better one stays: ${name}`, async (t) => {
    const contents: Record<string, string> = { torn: '{"tokens": {"access' }
    const pool = await watching(t, {
      prepare: async ({ sim, poolDir }) => {
        const target = join(poolDir, 'alice.json')
        for (const age of ['old', 'new', 'newer']) contents[age] = freshLogin(sim.account('alice'))
        await write(target, contents[file]!)
        await write(`${target}.recovery`, contents[recovery]!)
        const minutes = { torn: 1, old: 3, newer: 0 }[file]!
        await utimes(target, 0, Date.now() / 1000 - 60 * minutes)
        await utimes(`${target}.recovery`, 0, Date.now() / 1000 - 60 * 2)
      },
    })
    assert.equal(await readFile(pool.file('alice'), 'utf8'), contents[kept])
    assert.deepEqual((await readdir(poolOf(pool))).sort(), ['alice.json', 'bob.json'])
  })

test('a folder that cannot be watched is compared every two seconds, which is told once', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'codex-pool-unwatched-'))
  t.after(() => rm(dir, { recursive: true, force: true }))
  let changes = 0
  const told: string[] = []
  const watcher = new Watcher(
    () => changes++,
    (reason) => told.push(reason),
  )
  t.after(() => watcher.close())
  const failing = mock.method(fs, 'watch', () => {
    throw Object.assign(new Error('no more watches'), { code: 'ENOSPC' })
  })
  syncBuiltinESMExports()
  await watcher.watch({ poolDir: dir, clientFiles: [] })
  await until(() => told.length > 0)
  failing.mock.restore()
  syncBuiltinESMExports()
  await writeFile(join(dir, 'a.json'), '{}')
  await until(() => changes > 0)
  assert.deepEqual(told, ['ENOSPC'])
})
