import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { acquireLock, LockHeldError } from '../../src/state/lock.js'
import { StoreLockedError } from '../../src/state/store.js'
import { openStateStore } from '../../src/state/store.js'

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'state-lock-'))
  t.after(() => rm(path, { recursive: true, force: true }))
  return path
}

/** Another process that has a store open. */
async function holderOf(t: TestContext, file: string): Promise<ChildProcess> {
  const script = `
    const { openStateStore } = await import(process.argv[1])
    const store = await openStateStore(process.argv[2])
    process.stdin.on('end', () => store.close()).resume()
    console.log('open')`
  const module = new URL('../../src/state/store.js', import.meta.url).href
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, module, file], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  t.after(() => child.kill('SIGKILL'))
  await once(child.stdout!, 'data')
  return child
}

function unexpected(reason: Error): void {
  throw reason
}

test('a second process on the same store is told who holds it', async (t) => {
  const file = join(await folder(t), 'proxy.db')
  const child = await holderOf(t, file)
  await assert.rejects(openStateStore(file), (error) => {
    assert.ok(error instanceof StoreLockedError)
    assert.equal(error.code, 'database_locked')
    assert.equal(error.holder?.pid, child.pid)
    assert.equal(error.holder?.host, hostname())
    assert.ok(Date.parse(error.holder!.startedAt) > 0)
    for (const part of [file, `process ${child.pid}`, error.holder!.startedAt, 'PROXY_DB_PATH'])
      assert.ok(error.message.includes(part), `${part} in: ${error.message}`)
    return true
  })

  child.stdin!.end()
  await once(child, 'exit')
  await (await openStateStore(file)).close()
})

test('the same store cannot be opened twice in one process', async (t) => {
  const file = join(await folder(t), 'proxy.db')
  const store = await openStateStore(file)
  await assert.rejects(openStateStore(file), { code: 'database_locked' })
  await store.close()
  const again = await openStateStore(file)
  await store.close()
  await assert.rejects(openStateStore(file), { message: new RegExp(`process ${process.pid} `) })
  await again.close()
})

test('the lock of a holder that was killed is broken', { timeout: 30_000 }, async (t) => {
  const file = join(await folder(t), 'proxy.db')
  const child = await holderOf(t, file)
  child.kill('SIGKILL')
  await once(child, 'exit')
  assert.ok((await readdir(join(file, '..'))).includes('proxy.db.lock'))
  const store = await openStateStore(file)
  store.put('pin', 'a', {})
  await store.flush()
  assert.equal(store.failing, undefined)
  await store.close()
})

test('a closed store leaves no lock behind', async (t) => {
  const path = await folder(t)
  const store = await openStateStore(join(path, 'proxy.db'))
  assert.deepEqual((await readdir(path)).sort(), ['proxy.db', 'proxy.db.lock', 'proxy.db.lock.json'])
  await store.close()
  assert.deepEqual(await readdir(path), ['proxy.db'])
})

test('a store whose lock was taken away stops writing and says so', { timeout: 30_000 }, async (t) => {
  const file = join(await folder(t), 'proxy.db')
  const store = await openStateStore(file)
  store.put('pin', 'a', { n: 1 })
  await store.flush()
  await rm(`${file}.lock`, { recursive: true })
  const other = await openStateStore(file)
  while (store.failing === undefined) await delay(20)
  assert.match(store.failing!, /another process has locked/)
  store.put('pin', 'a', { n: 2 })
  store.put('pin', 'b', { n: 2 })
  await store.close()
  await other.close()

  const again = await openStateStore(file)
  assert.deepEqual(again.all('pin'), [{ _id: 'pin:a', n: 1 }])
  await again.close()
})

test('a lock is held until it is released, and released once', async (t) => {
  const path = join(await folder(t), 'token.json')
  const lock = await acquireLock(path, { onCompromised: unexpected })
  await assert.rejects(acquireLock(path, { onCompromised: unexpected }), LockHeldError)
  await lock.release()
  const next = await acquireLock(path, { onCompromised: unexpected })
  await lock.release()
  await assert.rejects(acquireLock(path, { onCompromised: unexpected }), { code: 'lock_held' })
  await next.release()
})

test('who waits for a lock gets it when it is released', async (t) => {
  const path = join(await folder(t), 'token.json')
  const lock = await acquireLock(path, { onCompromised: unexpected })
  const waiting = acquireLock(path, { waitMs: 5000, onCompromised: unexpected })
  await lock.release()
  await (await waiting).release()
})

test('of many who find a dead lock at once, one gets it at a time', { timeout: 30_000 }, async (t) => {
  const path = join(await folder(t), 'token.json')
  for (let round = 0; round < 8; round++) {
    await mkdir(`${path}.lock`)
    await writeFile(join(`${path}.lock`, 'the-claim-of-the-dead'), '')
    let holders = 0
    const options = { staleMs: 50, waitMs: 10_000, onCompromised: unexpected }
    const hold = async () => {
      const lock = await acquireLock(path, options)
      assert.equal(++holders, 1)
      await delay(1)
      holders--
      await lock.release()
    }
    await Promise.all([...Array(6)].map(hold))
  }
})

test('a holder with another clock is not taken for dead', { timeout: 30_000 }, async (t) => {
  const path = join(await folder(t), 'token.json')
  await mkdir(`${path}.lock`)
  const claim = join(`${path}.lock`, 'of-another-machine')
  await writeFile(claim, '')
  let beats = 0
  const heart = setInterval(() => void utimes(claim, ++beats, beats).catch(() => {}), 50)
  t.after(() => clearInterval(heart))
  const waiting = { staleMs: 500, waitMs: 1000, onCompromised: unexpected }
  await assert.rejects(acquireLock(path, waiting), LockHeldError)
  clearInterval(heart)
  await (await acquireLock(path, { ...waiting, waitMs: 10_000 })).release()
})

test('one path can be locked under two lock files', async (t) => {
  const path = await folder(t)
  const file = join(path, 'auth.json')
  const ours = await acquireLock(file, { lockfile: join(path, '.auth.lock'), onCompromised: unexpected })
  const theirs = await acquireLock(file, { onCompromised: unexpected })
  assert.deepEqual((await readdir(path)).sort(), ['.auth.lock', 'auth.json.lock'])
  await ours.release()
  await theirs.release()
  assert.deepEqual(await readdir(path), [])
})

test('a holder hears that its lock was taken away, and does not release the new one', async (t) => {
  const path = join(await folder(t), 'token.json')
  let reason: Error | undefined
  const lock = await acquireLock(path, { onCompromised: (error) => (reason = error) })
  await rm(`${path}.lock`, { recursive: true })
  const thief = await acquireLock(path, { onCompromised: unexpected })
  assert.equal(await lock.holds(), false, 'who asks hears it at once')
  while (!reason) await delay(20)
  await lock.release()
  await assert.rejects(acquireLock(path, { onCompromised: unexpected }), LockHeldError)
  await thief.release()
})
