import assert from 'node:assert/strict'
import { once } from 'node:events'
import { spawn } from 'node:child_process'
import {
  appendFile,
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  rmdir,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { openStateStore, type StateStore } from '../../src/state/store.js'

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'state-store-'))
  t.after(() => rm(path, { recursive: true, force: true }))
  return path
}

async function lines(file: string): Promise<string[]> {
  return (await readFile(file, 'utf8')).split('\n').filter((line) => line !== '')
}

function sorted(store: StateStore, kind: string) {
  return store.all(kind).sort((a, b) => a._id.localeCompare(b._id))
}

async function mode(path: string): Promise<string> {
  return ((await stat(path)).mode & 0o777).toString(8)
}

test('what was put is there after a restart, by kind and key', async (t) => {
  const file = join(await folder(t), 'data', 'proxy.db')
  const first = await openStateStore(file)
  first.put('pin', 'a:b', { account: 'one' })
  first.put('account', 'one', { cooldowns: { 'gemini-2.5-pro': 5 }, $odd: true, state: 'cooling' })
  first.put('account', 'two', { state: 'ready' })
  first.remove('account', 'two')
  await first.close()

  const second = await openStateStore(file)
  t.after(() => second.close())
  assert.deepEqual(second.all('pin'), [{ _id: 'pin:a:b', account: 'one' }])
  assert.deepEqual(second.all('account'), [
    { _id: 'account:one', cooldowns: { 'gemini-2.5-pro': 5 }, $odd: true, state: 'cooling' },
  ])
})

test('a change and a removal of an older document outlive a restart, too', async (t) => {
  const file = join(await folder(t), 'proxy.db')
  for (const change of [
    (store: StateStore) => ['a', 'b', 'c'].forEach((key) => store.put('pin', key, { n: 1 })),
    (store: StateStore) => (store.put('pin', 'a', { n: 2 }), store.remove('pin', 'b')),
  ]) {
    const store = await openStateStore(file)
    change(store)
    await store.close()
  }
  const store = await openStateStore(file)
  t.after(() => store.close())
  assert.deepEqual(sorted(store, 'pin'), [
    { _id: 'pin:a', n: 2 },
    { _id: 'pin:c', n: 1 },
  ])
})

test('many puts under one key are one write, and need no flush to reach the disk', async (t) => {
  const file = join(await folder(t), 'proxy.db')
  const store = await openStateStore(file)
  t.after(() => store.close())
  for (let n = 0; n < 1000; n += 1) store.put('pin', 'a', { n })
  assert.deepEqual(store.all('pin'), [{ _id: 'pin:a', n: 999 }])
  while ((await lines(file)).length === 0) await delay(20)
  assert.equal((await lines(file)).length, 1)
})

test('the file does not grow without end', { timeout: 60_000 }, async (t) => {
  const file = join(await folder(t), 'proxy.db')
  const store = await openStateStore(file)
  t.after(() => store.close())
  for (let round = 0; round < 30; round += 1) {
    for (let n = 0; n < 2000; n += 1) store.put('pin', `${round}-${n}`, { round })
    await store.flush()
    for (let n = 0; n < 2000; n += 1) store.remove('pin', `${round}-${n}`)
    await store.flush()
  }
  assert.equal(store.failing, undefined)
  const count = (await lines(file)).length
  assert.ok(count < 60_000, `120,000 changes left ${count} lines`)
})

test('files are for their owner only', async (t) => {
  const path = join(await folder(t), 'data')
  const file = join(path, 'proxy.db')
  const store = await openStateStore(file)
  store.put('pin', 'a', {})
  await store.flush()
  assert.equal(await mode(path), '700')
  assert.equal(await mode(file), '600')
  assert.equal(await mode(`${file}.lock.json`), '600')
  await store.close()

  await chmod(file, 0o644)
  await (await openStateStore(file)).close()
  assert.equal(await mode(file), '600')
})

test('false keeps state in memory', async () => {
  const store = await openStateStore(false)
  store.put('pin', 'a', { n: 1 })
  store.put('pin', 'b', { n: 2 })
  store.remove('pin', 'b')
  await store.flush()
  assert.deepEqual(store.all('pin'), [{ _id: 'pin:a', n: 1 }])
  assert.equal(store.failing, undefined)
  await store.close()
})

test('closing twice is harmless', async (t) => {
  const store = await openStateStore(join(await folder(t), 'proxy.db'))
  await store.close()
  await store.close()
  store.put('pin', 'a', {})
  await store.flush()
})

const boltdb = Buffer.alloc(4096)
boltdb[8] = 4
boltdb.writeUInt32LE(0xed0cdaed, 16)

for (const [what, content] of Object.entries({
  'an old BoltDB': boltdb,
  'a JSON document': '{\n  "token": "x"\n}\n',
  'a JSON line without an id': '{"token":"x"}\n',
  'a SQLite file': 'SQLite format 3\0',
  'a text': 'hello\n',
})) {
  test(`${what} under the database's name is left untouched`, async (t) => {
    const path = await folder(t)
    const file = join(path, 'proxy.db')
    await writeFile(file, content)
    await assert.rejects(openStateStore(file), (error: NodeJS.ErrnoException) => {
      assert.equal(error.code, 'database_foreign')
      assert.ok(error.message.includes(file))
      assert.match(error.message, /"database" or PROXY_DB_PATH/)
      if (content === boltdb) assert.match(error.message, /BoltDB/)
      return true
    })
    assert.deepEqual(await readFile(file), Buffer.from(content))
    assert.deepEqual(await readdir(path), ['proxy.db'])
  })
}

test("a folder under the database's name is refused", async (t) => {
  await assert.rejects(openStateStore(await folder(t)), { code: 'database_foreign' })
})

test('a path that cannot be is an error that names the way out', async (t) => {
  const path = join(await folder(t), 'file')
  await writeFile(path, '')
  await assert.rejects(openStateStore(join(path, 'proxy.db')), {
    code: 'database_unusable',
    message: /proxy\.db cannot be opened: .*"database" or PROXY_DB_PATH.*database: false/,
  })
})

test('a torn line costs only itself, and the file as it was is kept', async (t) => {
  const file = join(await folder(t), 'proxy.db')
  const first = await openStateStore(file)
  for (const key of ['a', 'b', 'c', 'd', 'e']) first.put('pin', key, {})
  await first.close()
  await appendFile(file, '{"_id":"pin:f","val')
  const torn = await readFile(file)

  const backups: string[] = []
  const second = await openStateStore(file, { onTorn: (backup) => backups.push(backup) })
  t.after(() => second.close())
  assert.equal(second.all('pin').length, 5)
  assert.deepEqual(backups, [`${file}.torn`])
  assert.deepEqual(await readFile(`${file}.torn`), torn)
  assert.equal(await mode(`${file}.torn`), '600')
  assert.equal((await lines(file)).length, 5)
})

for (const [what, lost] of [
  ['the first lines', 60],
  ['all of it', Infinity],
] as const)
  test(`zeros that a power loss has left in place of ${what} are set aside, and the rest is kept`, async (t) => {
    const file = join(await folder(t), 'proxy.db')
    const first = await openStateStore(file)
    for (const key of ['a', 'b', 'c']) first.put('pin', key, { note: 'x'.repeat(100) })
    await first.close()
    const bytes = await readFile(file)
    bytes.fill(0, 0, Math.min(lost + 20, bytes.length))
    await writeFile(file, bytes)

    const backups: string[] = []
    const second = await openStateStore(file, { onTorn: (backup) => backups.push(backup) })
    t.after(() => second.close())
    assert.equal(second.all('pin').length, lost === Infinity ? 0 : 2)
    assert.deepEqual(backups, [`${file}.torn`])
    assert.deepEqual(await readFile(`${file}.torn`), bytes)
  })

test(
  'a folder that can be made nowhere is refused, and not tried for ever',
  { timeout: 10_000 },
  async () => {
    for (const path of ['/proc/none/of/this/proxy.db', '/dev/null/proxy.db'])
      await assert.rejects(openStateStore(path), { code: 'database_unusable' })
  },
)

test('a first line that is torn does not make the file a foreign one', async (t) => {
  const file = join(await folder(t), 'proxy.db')
  for (const start of ['{"', '{"_id":"pin:a","va']) {
    await writeFile(file, start)
    const store = await openStateStore(file)
    assert.deepEqual(store.all('pin'), [])
    await store.close()
  }
})

test('while the disk refuses, changes are kept and the reason is told', async (t) => {
  const file = join(await folder(t), 'proxy.db')
  const store = await openStateStore(file)
  store.put('pin', 'old', { n: 1 })
  store.put('pin', 'gone', { n: 1 })
  await store.flush()
  await rename(file, `${file}.aside`)
  await mkdir(file)

  store.put('pin', 'old', { n: 2 })
  store.put('pin', 'new', { n: 2 })
  store.remove('pin', 'gone')
  await store.flush()
  assert.match(store.failing ?? '', /EISDIR/)
  store.put('pin', 'new', { n: 3 })
  store.put('pin', 'brief', { n: 3 })
  await store.flush()
  store.remove('pin', 'brief')
  assert.equal(store.all('pin').length, 2)

  await rmdir(file)
  await rename(`${file}.aside`, file)
  await appendFile(file, '{"_id":"pin:half') // as a disk leaves it that fills up
  await store.flush()
  assert.equal(store.failing, undefined)
  await store.close()
  const again = await openStateStore(file, { onTorn: () => assert.fail('half a line was left') })
  t.after(() => again.close())
  assert.deepEqual(sorted(again, 'pin'), [
    { _id: 'pin:new', n: 3 },
    { _id: 'pin:old', n: 2 },
  ])
})

test('a link to the database stays a link', async (t) => {
  const path = await folder(t)
  await mkdir(join(path, 'disk'))
  await writeFile(join(path, 'disk', 'real.db'), '')
  await symlink(join(path, 'disk', 'real.db'), join(path, 'proxy.db'))
  const store = await openStateStore(join(path, 'proxy.db'))
  store.put('pin', 'a', {})
  await store.close()
  assert.equal((await lines(join(path, 'disk', 'real.db'))).length, 1)
  assert.deepEqual((await readdir(path)).sort(), ['disk', 'proxy.db'])
})

test('a kill loses nothing that was flushed, and leaves no half document', async (t) => {
  const file = join(await folder(t), 'proxy.db')
  const script = `
    const { openStateStore } = await import(process.argv[1])
    const store = await openStateStore(process.argv[2])
    for (let round = 1; ; round += 1) {
      for (let n = 0; n < 50; n += 1) store.put('pin', String(n), { round, again: round })
      await store.flush()
      console.log(round)
    }`
  const module = new URL('../../src/state/store.js', import.meta.url).href
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, module, file], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let flushed = 0
  for await (const line of createInterface(child.stdout)) {
    flushed = Number(line)
    if (flushed === 10) child.kill('SIGKILL')
  }
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')

  const store = await openStateStore(file)
  t.after(() => store.close())
  const rounds = store.all('pin').map(({ round, again }) => {
    assert.equal(round, again)
    return round as number
  })
  assert.equal(rounds.length, 50)
  assert.ok(Math.min(...rounds) >= flushed, `round ${flushed} was flushed, ${Math.min(...rounds)} found`)
})
