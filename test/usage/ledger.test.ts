import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { openStateStore } from '../../src/state/store.js'
import { Ledger, type LedgerOptions } from '../../src/usage/ledger.js'
import type { RequestRecord } from '../../src/usage/request-log.js'

const HOUR = 3_600_000
const DAY = 24 * HOUR
const NOON = Date.parse('2026-03-10T12:00:00Z')

async function place(t: TestContext) {
  const path = await mkdtemp(join(tmpdir(), 'usage-ledger-'))
  t.after(() => rm(path, { recursive: true, force: true, maxRetries: 5 }))
  const database = join(path, 'proxy.db')
  return { database, requests: `${database}.requests` }
}

/** A ledger on its store, with a clock that is set by hand. */
async function open(database: string | false, options: Partial<LedgerOptions> & { time?: number } = {}) {
  const clock = { time: options.time ?? NOON }
  const store = await openStateStore(database)
  const ledger = new Ledger({ database, store, now: () => clock.time, ...options })
  return {
    ledger,
    store,
    clock,
    request(change: Partial<RequestRecord> = {}) {
      ledger.record({ ...base, at: clock.time, ...change })
    },
    async close() {
      await ledger.close()
      await store.close()
    },
  }
}

const base = {
  id: 'r1',
  provider: 'codex',
  account: 'one',
  route: '/v1',
  model: 'gpt-5.5',
  client: 'local',
  status: 200,
  attempts: 1,
  durationMs: 1200,
  usage: { inputTokens: 100, cachedTokens: 40, outputTokens: 10, reasoningTokens: 5, totalTokens: 110 },
}

async function records(folder: string, name: string): Promise<Record<string, unknown>[]> {
  const text = await readFile(join(folder, name), 'utf8')
  return text.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line)]))
}

async function names(folder: string): Promise<string[]> {
  return (await readdir(folder)).filter((name) => name !== '.gitignore').sort()
}

function sums(requests: number, failures = 0) {
  const tokens = requests - failures
  return {
    requests,
    failures,
    inputTokens: 100 * tokens,
    cachedTokens: 40 * tokens,
    outputTokens: 10 * tokens,
    reasoningTokens: 5 * tokens,
    totalTokens: 110 * tokens,
  }
}

test('a request is one line in the file of its day', async (t) => {
  const { database, requests } = await place(t)
  const { request, close } = await open(database)
  request({ conversation: 'c0ffee', firstByteMs: 300 })
  request({ id: 'r2', status: 502, model: undefined, usage: undefined })
  await close()
  assert.deepEqual(await names(requests), ['2026-03-10.db'])
  const [first, second] = await records(requests, '2026-03-10.db')
  const { _id, ...record } = first!
  assert.equal(typeof _id, 'string')
  assert.deepEqual(record, { ...base, at: NOON, conversation: 'c0ffee', firstByteMs: 300 })
  assert.equal(second!.id, 'r2')
  assert.equal((await stat(requests)).mode & 0o777, 0o700)
  assert.equal((await stat(join(requests, '2026-03-10.db'))).mode & 0o777, 0o600)
})

test('records reach the disk without a flush', async (t) => {
  const { database, requests } = await place(t)
  const { request, close } = await open(database)
  t.after(close)
  request()
  const written = async () => (await records(requests, '2026-03-10.db').catch(() => [])).length
  while ((await written()) === 0) await delay(20)
})

test('totals tell the last 24 hours from the last 30 days, by account', async (t) => {
  const { database } = await place(t)
  const { ledger, request, clock, close } = await open(database)
  t.after(close)
  request({ account: 'two', model: 'other' })
  request({ at: NOON - 23 * HOUR })
  request({ at: NOON - 24 * HOUR })
  request({ status: 429, usage: undefined })
  assert.deepEqual(ledger.totals().get('one'), { last24h: sums(2, 1), last30d: sums(3, 1) })
  assert.deepEqual(ledger.totals().get('two'), { last24h: sums(1), last30d: sums(1) })
  clock.time += 2 * DAY
  assert.deepEqual(ledger.totals().get('two'), { last24h: sums(0), last30d: sums(1) })
  clock.time += 30 * DAY
  assert.deepEqual([...ledger.totals()], [])
})

test('a restart keeps totals and roll-ups', async (t) => {
  const { database } = await place(t)
  const first = await open(database)
  first.request()
  first.request({ model: undefined })
  first.request({ at: NOON + HOUR })
  await first.close()

  const second = await open(database, { time: NOON + HOUR })
  t.after(second.close)
  assert.deepEqual(second.ledger.totals().get('one')!.last24h, sums(3))
  second.request({ at: NOON })
  assert.deepEqual(
    second.ledger
      .rollups()
      .map(({ hour, model, requests }) => [hour - NOON, model, requests])
      .sort(),
    [
      [0, 'gpt-5.5', 2],
      [0, undefined, 1],
      [HOUR, 'gpt-5.5', 1],
    ].sort(),
  )
})

test('a new day begins a new file, and what was recorded before midnight stays in the old one', async (t) => {
  const { database, requests } = await place(t)
  const { request, clock, close } = await open(database, { time: Date.parse('2026-03-10T23:59:59.900Z') })
  request({ id: 'before' })
  clock.time += 200
  request({ id: 'after' })
  await close()
  assert.deepEqual(await names(requests), ['2026-03-10.db', '2026-03-11.db'])
  assert.deepEqual(
    (await records(requests, '2026-03-10.db')).map(({ id }) => id),
    ['before'],
  )
  assert.deepEqual(
    (await records(requests, '2026-03-11.db')).map(({ id }) => id),
    ['after'],
  )
})

test('what is older than 30 days goes at the start and when the day changes, other files stay', async (t) => {
  const { database, requests } = await place(t)
  await mkdir(requests)
  const old = ['2026-02-07.db', '2026-02-07.db.torn', '2026-02-07.2.db', '2026-02-07.db~']
  for (const name of [...old, '2026-02-08.db', 'notes.txt', '2020.db'])
    await writeFile(join(requests, name), '')
  const { ledger, store, request, clock, close } = await open(database)
  t.after(close)
  await ledger.flush()
  assert.deepEqual(await names(requests), ['2020.db', '2026-02-08.db', 'notes.txt'])

  request()
  await ledger.flush()
  assert.equal(store.all('rollup').length, 1)
  clock.time += 31 * DAY
  request()
  await ledger.flush()
  assert.deepEqual(await names(requests), ['2020.db', '2026-04-10.db', 'notes.txt'])
  assert.equal(ledger.rollups().length, 1)
  assert.equal(store.all('rollup').length, 1)
})

test('beyond the daily bound requests are counted but not kept, which is said once a day', async (t) => {
  const { database, requests } = await place(t)
  const dropped: string[] = []
  const options = { maxPerDay: 3, onDropped: (day: string) => dropped.push(day) }
  const first = await open(database, options)
  for (let n = 0; n < 5; n += 1) first.request()
  await first.close()
  assert.deepEqual(dropped, ['2026-03-10'])

  const second = await open(database, options)
  second.request()
  assert.deepEqual(dropped, ['2026-03-10', '2026-03-10'])
  second.clock.time += DAY
  for (let n = 0; n < 5; n += 1) second.request()
  assert.deepEqual(second.ledger.totals().get('one')!.last30d, sums(11))
  await second.close()
  assert.deepEqual(dropped, ['2026-03-10', '2026-03-10', '2026-03-11'])
  assert.equal((await records(requests, '2026-03-10.db')).length, 3)
  assert.equal((await records(requests, '2026-03-11.db')).length, 3)
})

test('a file takes 10,000 records, then the next number begins', async (t) => {
  const { database, requests } = await place(t)
  const { ledger, request, close } = await open(database)
  t.after(close)
  for (let sent = 0; sent < 10_500; sent += 500) {
    for (let n = 0; n < 500; n += 1) request()
    await ledger.flush()
  }
  assert.deepEqual(await names(requests), ['2026-03-10.2.db', '2026-03-10.db'])
  assert.equal((await records(requests, '2026-03-10.db')).length, 10_000)
  assert.equal((await records(requests, '2026-03-10.2.db')).length, 500)
})

test('a restart goes on in a small file, and leaves a large one alone', async (t) => {
  const { database, requests } = await place(t)
  for (let round = 0; round < 2; round += 1) {
    const small = await open(database)
    small.request()
    await small.close()
  }
  assert.equal((await records(requests, '2026-03-10.db')).length, 2)

  await appendFile(join(requests, '2026-03-10.db'), `{"_id":"big","pad":"${'x'.repeat(2 ** 20)}"}\n`)
  for (let round = 0; round < 2; round += 1) {
    const large = await open(database)
    large.request()
    await large.close()
  }
  assert.equal((await records(requests, '2026-03-10.db')).length, 3)
  assert.equal((await records(requests, '2026-03-10.2.db')).length, 2)
})

test('a torn line costs only itself, and the file as it was is kept', async (t) => {
  const { database, requests } = await place(t)
  const file = join(requests, '2026-03-10.db')
  const first = await open(database)
  first.request()
  await first.close()
  await appendFile(file, '{"_id":"x","id":')
  const torn = await readFile(file)

  const second = await open(database)
  second.request()
  await second.close()
  assert.equal((await records(requests, '2026-03-10.db')).length, 2)
  assert.deepEqual(await readFile(`${file}.torn`), torn)
})

test("a foreign file under a day's name is left untouched", async (t) => {
  const { database, requests } = await place(t)
  await mkdir(requests)
  await writeFile(join(requests, '2026-03-10.db'), 'not ours')
  const { ledger, request, close } = await open(database)
  request()
  await close()
  assert.equal(ledger.failing, undefined)
  assert.equal(await readFile(join(requests, '2026-03-10.db'), 'utf8'), 'not ours')
  assert.equal((await records(requests, '2026-03-10.2.db')).length, 1)
})

test('a disk that refuses is no concern of a request; nothing is lost once it is back', async (t) => {
  const { database, requests } = await place(t)
  await writeFile(requests, '')
  const { ledger, request, close } = await open(database)
  for (let n = 0; n < 250; n += 1) request({ id: `r${n}` })
  await ledger.flush()
  assert.match(ledger.failing ?? '', /2026-03-10|ENOTDIR|EEXIST/)
  assert.deepEqual(ledger.totals().get('one')!.last24h, sums(250))

  await rm(requests)
  await ledger.flush()
  assert.equal(ledger.failing, undefined)

  // It refuses again, in the middle of a day, and comes back.
  await rm(requests, { recursive: true })
  await writeFile(requests, '')
  request({ id: 'late' })
  await ledger.flush()
  assert.notEqual(ledger.failing, undefined)
  await rm(requests)
  await close()
  assert.deepEqual(
    (await records(requests, '2026-03-10.db')).map(({ id }) => id),
    ['late'],
  )
})

test('while the disk refuses, memory is bounded', async (t) => {
  const { database, requests } = await place(t)
  await writeFile(requests, '')
  const dropped: string[] = []
  const { ledger, request, close } = await open(database, { onDropped: (day) => dropped.push(day) })
  for (let n = 0; n < 10_002; n += 1) request()
  assert.deepEqual(dropped, ['2026-03-10'])
  assert.deepEqual(ledger.totals().get('one')!.last24h, sums(10_002))
  await rm(requests)
  await close()
  assert.equal((await records(requests, '2026-03-10.db')).length, 10_000)
})

test('models that a client makes up do not fill the store', async (t) => {
  const { database } = await place(t)
  const { ledger, store, request, close } = await open(database)
  t.after(close)
  for (let n = 0; n < 1500; n += 1) request({ model: `${n}-${'x'.repeat(5000)}` })
  request({ at: NOON + HOUR, model: 'fine' })
  const rollups = ledger.rollups()
  assert.equal(rollups.length, 1002)
  assert.equal(store.all('rollup').length, 1002)
  assert.equal(rollups.find(({ model }) => model === '(other)')!.requests, 500)
  assert.ok(rollups.every(({ model }) => model!.length <= 100))
  assert.equal(ledger.totals().get('one')!.last30d.requests, 1501)
})

test("a provider's odd usage spoils neither sums nor records", async (t) => {
  const { database, requests } = await place(t)
  const { ledger, request, close } = await open(database)
  const odd = { inputTokens: '12', outputTokens: NaN, totalTokens: 7, 'gpt.x': 1, $y: 2 }
  request({ usage: odd as unknown as RequestRecord['usage'] })
  await close()
  assert.equal(ledger.failing, undefined)
  const { inputTokens, outputTokens, totalTokens } = ledger.totals().get('one')!.last24h
  assert.deepEqual([inputTokens, outputTokens, totalTokens], [0, 0, 7])
  assert.deepEqual((await records(requests, '2026-03-10.db'))[0]!.usage, { totalTokens: 7 })
})

test('without a database there are totals, and no files', async () => {
  const { ledger, request, close } = await open(false)
  request()
  await ledger.flush()
  assert.deepEqual(ledger.totals().get('one')!.last24h, sums(1))
  assert.equal(ledger.failing, undefined)
  await close()
})

test('a kill loses at most what was not flushed', { timeout: 60_000 }, async (t) => {
  const { database, requests } = await place(t)
  const script = `
    const [, storeModule, ledgerModule, database, base] = process.argv
    const { openStateStore } = await import(storeModule)
    const { Ledger } = await import(ledgerModule)
    const record = JSON.parse(base)
    const store = await openStateStore(database)
    const ledger = new Ledger({ database, store, now: () => record.at })
    for (let sent = 1; ; sent += 1) {
      ledger.record(record)
      if (sent % 30) continue
      await ledger.flush()
      console.log(sent)
    }`
  const modules = ['../../src/state/store.js', '../../src/usage/ledger.js'].map(
    (path) => new URL(path, import.meta.url).href,
  )
  const args = [...modules, database, JSON.stringify({ ...base, at: NOON })]
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let flushed = 0
  for await (const line of createInterface(child.stdout)) {
    flushed = Number(line)
    if (flushed === 300) child.kill('SIGKILL')
  }
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')

  const { ledger, request, close } = await open(database)
  assert.ok(ledger.totals().get('one')!.last24h.requests >= flushed)
  request({ id: 'next' })
  await close()
  const kept = await records(requests, '2026-03-10.db')
  assert.ok(kept.length > flushed, `${flushed} were flushed, ${kept.length - 1} found`)
  assert.equal(kept.filter(({ id }) => id === 'next').length, 1)
})
