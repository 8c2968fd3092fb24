import assert from 'node:assert/strict'
import { chmod, mkdir, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { createGateway } from '../../src/index.js'
import { startPool, until } from '../kit/pool.js'

const write = (text: string) => (file: string) => writeFile(file, text, { mode: 0o600 })
const json = (value: unknown) => write(JSON.stringify(value))

/** What lies in pool folders, and what is said about it. */
const bad: Record<string, { make: (file: string) => Promise<unknown>; reason: RegExp }> = {
  empty: { make: write(''), reason: /^is empty$/ },
  blank: { make: write(' \n'), reason: /^is empty$/ },
  'half-written': {
    make: write('{"tokens":{"access_token":"a-secret-token'),
    reason: /not valid JSON \(half-written\?\)/,
  },
  'no-object': { make: json(['a-secret-token']), reason: /no JSON object/ },
  'no-json': { make: write("{'tokens': {}}"), reason: /^is not valid JSON$/ },
  'an-environment': { make: write('OPENAI_API_KEY=a-secret-token'), reason: /^is not valid JSON$/ },
  'in-base64': { make: write(btoa('{"tokens":{}}')), reason: /^is not valid JSON$/ },
  'in-utf-32': {
    make: (file) =>
      writeFile(file, Buffer.from([...'{"a":1}'].flatMap((letter) => [letter.charCodeAt(0), 0, 0, 0]))),
    reason: /not text in UTF-8 or UTF-16/,
  },
  'no-text': {
    make: (file) => writeFile(file, Buffer.from([0x7b, 0xff, 0xc0, 0x7d])),
    reason: /not text in UTF-8/,
  },
  'a-text': { make: json('a-secret-token'), reason: /no JSON object/ },
  'a-folder': { make: (file) => mkdir(file), reason: /not a regular file/ },
  'a-dangling-link': { make: (file) => symlink(`${file}.gone`, file), reason: /cannot be read: ENOENT/ },
  'a-loop': { make: (file) => symlink(file, file), reason: /cannot be read: ELOOP/ },
  'too-large': {
    make: async (file) => (await writeFile(file, ''), truncate(file, 2 ** 21)),
    reason: /larger than any credential file/,
  },
  'no-login': { make: json({}), reason: /is empty/ },
  'signed-out': { make: json({ OPENAI_API_KEY: null }), reason: /is signed out/ },
  unfinished: {
    make: json({ tokens: { refresh_token: 'a-secret-token' } }),
    reason: /without an access_token/,
  },
  'a-gemini-login': {
    make: json({ access_token: 'a-secret-token', expiry_date: 1 }),
    reason: /gemini_NAME\.json/,
  },
  'a-package': { make: json({ name: 'x', dependencies: {} }), reason: /a program, not a login/ },
  'a-configuration': { make: json({ routes: [] }), reason: /a configuration, not a login/ },
  'something-else': { make: json({ hello: 'a-secret-token' }), reason: /is not an auth\.json/ },
  'a-broken-key': { make: json({ OPENAI_API_KEY: 'sk-a secret\ntoken' }), reason: /a space, a line break/ },
  gemini_x: { make: json({ hello: 'a-secret-token' }), reason: /./ },
}

test('one bad file never stops the others: it is skipped, and named with the reason', async (t) => {
  const pool = await startPool(t, {
    codex: [{ id: 'alice' }],
    prepare: async ({ poolDir }) => {
      for (const [name, { make }] of Object.entries(bad)) await make(join(poolDir, `${name}.json`))
      for (const name of ['README.md', '.hidden', 'auth.json.bak', '.bob.codex-pool.lock'])
        await writeFile(join(poolDir, name), 'x')
    },
  })
  const { body, text } = await pool.request.get('/admin/accounts').expect(200)
  const reasons = new Map<string, string>(body.skipped.map(({ file, reason }: never) => [file, reason]))
  for (const [name, { reason }] of Object.entries(bad))
    assert.match(reasons.get(`${name}.json`) ?? 'not named', reason, name)
  assert.equal(reasons.size, Object.keys(bad).length, 'what is no credential file by its name is left alone')
  assert.deepEqual(
    body.accounts.map(({ id }: never) => id),
    ['alice'],
  )
  const health = await pool.request.get('/healthz').expect(200)
  for (const name of Object.keys(bad))
    assert.ok(health.body.problems.some((problem: string) => problem.startsWith(`${name}.json: `)))
  assert.ok(!`${text}${health.text}`.includes('secret'))
  assert.equal(await pool.servedBy('s1'), 'alice')
})

const swapped = (text: string) => Buffer.from(text, 'utf16le').swap16()
const windows: Record<string, (text: string) => string | Buffer> = {
  'a byte-order mark': (text) => `\ufeff${text}`,
  'UTF-16': (text) => Buffer.from(text, 'utf16le'),
  'UTF-16 with a mark': (text) => Buffer.from(`\ufeff${text}`, 'utf16le'),
  'UTF-16, big end first': (text) => swapped(text),
  'UTF-16, big end first, with a mark': (text) => swapped(`\ufeff${text}`),
  'line ends of Windows': (text) => text.replaceAll('\n', '\r\n'),
}
for (const [what, encode] of Object.entries(windows))
  test(`a file with ${what} is read, and refreshed`, async (t) => {
    const pool = await startPool(t, {
      codex: [{ id: 'alice' }],
      prepare: ({ sim, poolDir }) => {
        const text = JSON.stringify(sim.account('alice').authJson({ expired: true }), null, 2)
        return writeFile(join(poolDir, 'alice.json'), encode(text), { mode: 0o600 })
      },
    })
    assert.equal(await pool.servedBy('s1'), 'alice')
    const { body } = await pool.request.get('/admin/accounts').expect(200)
    assert.deepEqual(body.skipped, [])
    assert.equal(JSON.parse(await readFile(pool.file('alice'), 'utf8')).auth_mode, 'chatgpt')
  })

test('a file that is just being rewritten keeps its account', async (t) => {
  const pool = await startPool(t, { codex: [{ id: 'alice' }] })
  const whole = JSON.stringify(pool.sim.account('alice').authJson())
  for (const half of ['', whole.slice(0, 100)]) {
    await writeFile(pool.file('alice'), half)
    const { body } = await pool.request.post('/admin/reload').expect(200)
    assert.equal(body.accounts, 1)
    assert.match((await pool.request.get('/healthz')).body.problems.join(), /last good content stays in use/)
    await pool.ask('s1').expect(200)
  }
  await writeFile(pool.file('alice'), whole, { mode: 0o600 })
  await pool.request.post('/admin/reload').expect(200)
  assert.deepEqual((await pool.request.get('/healthz')).body.problems, [])
})

test('of two copies of one login only one is used: they share a refresh token that works once', async (t) => {
  const pool = await startPool(t, {
    codex: [{ id: 'alice' }],
    prepare: ({ sim, poolDir }) =>
      json(sim.account('alice').authJson({ expired: true }))(join(poolDir, 'copy.json')),
  })
  const { body } = await pool.request.get('/admin/accounts').expect(200)
  assert.deepEqual(
    body.accounts.map(({ id }: never) => id),
    ['alice'],
  )
  assert.deepEqual(body.skipped, [{ file: 'copy.json', reason: 'is the same login as alice.json' }])
  await pool.ask('s1').expect(200)
})

test('two members of one workspace are two accounts', async (t) => {
  const codex = ['alice', 'bob'].map((id) => ({ id, accountId: 'acct-of-the-team' }))
  const pool = await startPool(t, { codex })
  for (const session of ['s1', 's2']) await pool.ask(session).expect(200)
  assert.deepEqual(pool.asked().sort(), ['alice', 'bob'])
})

test('a file that others can read is used, and reported', async (t) => {
  const pool = await startPool(t, {
    codex: [{ id: 'alice' }],
    prepare: ({ poolDir }) => chmod(join(poolDir, 'alice.json'), 0o644),
  })
  assert.equal(await pool.servedBy('s1'), 'alice')
  assert.match((await pool.request.get('/healthz')).body.problems.join(), /alice\.json: .*chmod 600/)
})

test('a pool folder that is not there is an empty pool', async (t) => {
  const pool = await startPool(t, { prepare: ({ poolDir }) => rm(poolDir, { recursive: true }) })
  assert.equal((await pool.request.get('/healthz').expect(200)).body.accounts.total, 0)
  await pool.ask('s1').expect(400)
})

test('a pool folder that is a file is said to be one', async (t) => {
  const pool = await startPool(t, { codex: [{ id: 'alice' }] })
  const opened = createGateway(
    { poolDir: pool.file('alice'), database: false, watch: false, log: { level: 'silent' } },
    { env: {} },
  )
  await assert.rejects(opened, /ENOTDIR|not a (folder|directory)/)
})

test('files are noticed as they come, change and go', async (t) => {
  const pool = await startPool(t, { codex: [{ id: 'alice' }], config: { watch: true } })
  const ids = () => pool.gateway.accounts().map(({ id }) => id)
  const bob = pool.sim.addCodex({ id: 'bob' })
  await json(bob.authJson())(pool.file('bob'))
  await until(() => ids().includes('bob'))
  await writeFile(pool.file('bob'), '{}')
  await until(() => pool.gateway.skipped().some(({ file }) => file === 'bob.json'))
  await rm(pool.file('alice'))
  await until(() => !ids().includes('alice'))
})

test('each provider takes the files that its pattern fits best', async (t) => {
  const config = {
    providers: {
      azure: { type: 'custom' as const, upstream: 'https://azure.example', authorize: () => ({}) },
      special: {
        type: 'bearer' as const,
        upstream: 'https://special.example',
        credentials: 'azure_special_*.json',
      },
    },
  }
  const pool = await startPool(t, {
    codex: [{ id: 'alice' }],
    config,
    prepare: async ({ poolDir }) => {
      await json({ key: 'x' })(join(poolDir, 'azure_work.json'))
      await json({ token: 'a-token' })(join(poolDir, 'azure_special_one.json'))
    },
  })
  const { body } = await pool.request.get('/admin/accounts').expect(200)
  assert.deepEqual(
    body.accounts.map(({ id, provider }: never) => [id, provider]),
    [
      ['alice', 'codex'],
      ['azure_special_one', 'special'],
      ['azure_work', 'azure'],
    ],
  )
})

for (const [mode, isOpen] of [
  [0o755, false],
  [0o757, true],
  [0o1777, true],
] as const)
  test(`a pool folder of mode ${mode.toString(8)} is ${isOpen ? '' : 'not '}reported as open to others`, async (t) => {
    const pool = await startPool(t, { codex: [{ id: 'alice' }] })
    await chmod(join(pool.dir, 'pool'), mode)
    await pool.gateway.reload()
    const { body } = await pool.request.get('/healthz').expect(200)
    assert.equal(/others may put files there/.test(body.problems.join()), isOpen)
    await pool.servedBy('s1')
  })
