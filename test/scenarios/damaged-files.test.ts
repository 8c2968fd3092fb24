import assert from 'node:assert/strict'
import { chmod, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { cannotMount, SmallDisk } from '../kit/disk.js'
import { startPool, until, type TestPool } from '../kit/pool.js'

const disk = { skip: cannotMount }

/** The files of a gateway that has served a request, by what they are. */
const files: Record<string, (pool: TestPool) => Promise<string> | string> = {
  'the database': ({ dir }) => join(dir, 'data', 'proxy.db'),
  'the requests of a day': async ({ dir }) => {
    const folder = join(dir, 'data', 'proxy.db.requests')
    const [day = ''] = (await readdir(folder)).filter((name) => name.endsWith('.db'))
    return join(folder, day)
  },
  'the admin token': ({ dir }) => join(dir, 'data', 'admin-token'),
  'a credential file': (pool) => pool.file('alice'),
  'a recovery copy': (pool) => `${pool.file('bob')}.recovery`,
  "a credential's lock": ({ dir }) => join(dir, 'pool', '.bob.codex-pool.lock'),
  'the lock of the database': ({ dir }) => join(dir, 'data', 'proxy.db.lock'),
  'the note beside that lock': ({ dir }) => join(dir, 'data', 'proxy.db.lock.json'),
}

const damages: Record<string, (file: string, content: Buffer) => Promise<void>> = {
  empty: (file) => writeFile(file, ''),
  zeros: (file, content) => writeFile(file, Buffer.alloc(content.length)),
  'zeros at its head': (file, content) =>
    writeFile(file, Buffer.from(content).fill(0, 0, Math.ceil(content.length / 2))),
  half: (file, content) => writeFile(file, content.subarray(0, content.length / 2)),
  'of another version': (file) => writeFile(file, '{"version":99,"format":"of the future"}\n'),
  'bytes of something else': (file) =>
    writeFile(file, Buffer.from(Array.from({ length: 4096 }, (_, at) => at % 256))),
  // Root may read everything.
  ...(process.getuid?.() !== 0 && {
    'without permission': async (file: string) => {
      await writeFile(file, '{}')
      await chmod(file, 0)
    },
  }),
  'a folder': async (file) => {
    await rm(file, { recursive: true, force: true })
    await mkdir(file)
  },
}

for (const [name, place] of Object.entries(files))
  test(`whatever has happened to ${name}, the gateway starts, serves, and tells what it cannot use`, async (t) => {
    const pool = await startPool(t, { codex: [{ id: 'alice' }, { id: 'bob' }], onDisk: true })
    for (const [damage, harm] of Object.entries(damages)) {
      await pool.ask('s1').expect(200)
      await pool.stop()
      const file = await place(pool)
      const whole = await readFile(file).catch(() => Buffer.from('{"pid":1}'))
      await harm(file, whole)
      const started = await pool.start().then(
        () => undefined,
        (error: Error) => error,
      )
      if (started) {
        // Only the person can say what is to become of a folder in a file's place.
        assert.ok(started.message.includes(file), `${damage}: ${started.stack}`)
        await rm(file, { recursive: true, force: true })
        await pool.start()
      }
      await pool.ask('s2').expect(200)
      const { status, body } = await pool.request.get('/healthz')
      assert.equal(status, 200)
      if (name === 'a credential file') assert.match(JSON.stringify(body.problems), /alice\.json/, damage)
      if (name === 'a credential file')
        await pool.restart(async () => {
          await rm(file, { recursive: true, force: true })
          await writeFile(file, whole)
        })
    }
  })

test('whatever has happened to the configuration, the start ends with the name of the file, never with the defaults', async (t) => {
  const pool = await startPool(t, { codex: [{ id: 'alice' }], asFile: true })
  const file = join(pool.dir, 'codex-pool.config.json')
  const whole = await readFile(file)
  await pool.stop()
  for (const [damage, harm] of Object.entries(damages)) {
    await harm(file, whole)
    await assert.rejects(pool.start(), /codex-pool\.config\.json/, damage)
    await rm(file, { recursive: true, force: true })
  }
  await writeFile(file, whole)
  await pool.start()
  await pool.ask('s1').expect(200)
})

test(
  'while the disk of all files is full, the gateway serves, tells it, and starts; when it has room again, it writes',
  disk,
  async (t) => {
    const small = new SmallDisk(t)
    const database = join(small.dir, 'data', 'proxy.db')
    const pool = await startPool(t, {
      codex: [{ id: 'alice' }, { id: 'bob' }],
      config: { database, poolDir: join(small.dir, 'pool') },
      prepare: ({ sim }) => sim.writePool(join(small.dir, 'pool')),
    })
    const problems = async () =>
      JSON.stringify((await pool.request.get('/healthz').expect(200)).body.problems)
    await pool.ask('s1').expect(200)
    pool.gateway.setDisabled('alice', true)
    // What is written in a second is on the disk before it is full.
    await pool.restart()
    const token = await readFile(join(small.dir, 'data', 'admin-token'), 'utf8')

    small.fill()
    assert.equal(await pool.servedBy('s2'), 'bob')
    // The last page of each file has room for some lines.
    for (let session = 0; session < 60; session++) await pool.ask(`full-${session}`).expect(200)
    await until(async () => /state is not written.*ENOSPC/.test(await problems()))
    await pool.gateway.reload()
    assert.equal(await pool.servedBy('s3'), 'bob')
    await pool.restart()
    assert.equal(await pool.servedBy('s4'), 'bob', 'what was known is still known')
    assert.equal((await pool.account('alice')).state, 'disabled')
    await until(async () => /state is not written.*ENOSPC/.test(await problems()))

    small.free()
    pool.gateway.setDisabled('alice', false)
    await until(async () => !/ENOSPC/.test(await problems()))
    await pool.restart()
    assert.equal((await pool.account('alice')).state, 'ready')
    assert.equal(await readFile(join(small.dir, 'data', 'admin-token'), 'utf8'), token)
  },
)
