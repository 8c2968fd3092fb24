import assert from 'node:assert/strict'
import { once } from 'node:events'
import { chmod, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import type { UserConfig } from '../../src/index.js'
import { emptyFolder, runCommand } from '../kit/command.js'
import { cannotMount, SmallDisk } from '../kit/disk.js'
import { codeOf, startPool, type TestPool } from '../kit/pool.js'

const one = [{ id: 'alice' }]
const keys = { laptop: 'a-long-random-key-of-a-laptop' }
const withKeys: UserConfig = { access: { keys } }

const tokenFile = (pool: TestPool) => join(pool.dir, 'data', 'admin-token')
const tokenOf = async (pool: TestPool) => (await readFile(tokenFile(pool), 'utf8')).trim()

test('where keys are set, /healthz without one tells counts only', async (t) => {
  const pool = await startPool(t, { codex: one, config: withKeys, onDisk: true })
  pool.sim.account('alice').revoke()
  await pool.ask('s1', { headers: { 'x-codex-pool-key': keys.laptop } })
  const { body, text } = await pool.request.get('/healthz').expect(200)
  assert.equal(body.status, 'degraded')
  assert.equal(body.accounts.total, 1)
  assert.equal(body.problemCount, 1)
  assert.doesNotMatch(text, /alice|log in/)
  const token = `Bearer ${await tokenOf(pool)}`
  for (const headers of [{ 'x-codex-pool-key': keys.laptop }, { authorization: token }] as Record<
    string,
    string
  >[]) {
    const told = await pool.request.get('/healthz').set(headers).expect(200)
    assert.match(told.body.problems.join(), /alice/)
  }
})

for (const header of ['x-forwarded-for', 'forwarded', 'via'])
  test(`a request that a proxy on this machine passes on is not local: ${header}`, async (t) => {
    const headers = { [header]: 'for=203.0.113.7' }
    const pool = await startPool(t, { codex: one })
    for (const path of ['/v1/models', '/admin/accounts', '/metrics'])
      assert.equal((await pool.request.get(path).set(headers)).status, 403, path)
    assert.equal((await pool.request.post('/admin/reload').set(headers)).status, 403)
    await pool.request.get('/v1/models').expect(200)
  })

const passedOn: [headers: Record<string, string>, status: number][] = [
  [{ 'x-forwarded-for': '127.0.0.1' }, 200],
  [{ 'x-forwarded-for': '::1', via: '1.1 proxy' }, 200],
  [{ 'x-forwarded-for': '127.0.0.1, 10.0.0.2' }, 200],
  [{ 'x-forwarded-for': '203.0.113.7' }, 403],
  [{ 'x-forwarded-for': '127.0.0.1, 203.0.113.7' }, 403],
  [{ 'x-forwarded-for': '127.0.0.1, 203.0.113.7, 10.0.0.2' }, 403],
  [{ 'x-forwarded-for': '' }, 403],
  [{ 'x-forwarded-for': 'unknown' }, 403],
  [{ forwarded: 'for=127.0.0.1' }, 403],
  [{ 'x-forwarded-for': '127.0.0.1', forwarded: 'for=203.0.113.7' }, 403],
  [{ via: '1.1 proxy' }, 403],
]
test('a request from a proxy in access.proxies comes from the last address that is no proxy', async (t) => {
  const proxies = ['127.0.0.1', '10.0.0.2']
  const pool = await startPool(t, { codex: one, config: { access: { proxies } } })
  for (const [headers, status] of passedOn)
    for (const path of ['/v1/models', '/admin/accounts'])
      assert.equal(
        (await pool.request.get(path).set(headers)).status,
        status,
        JSON.stringify({ path, headers }),
      )
})

test('a proxy that access.proxies does not list has no say', async (t) => {
  const pool = await startPool(t, { codex: one, config: { access: { proxies: ['10.0.0.2'] } } })
  await pool.request.get('/v1/models').set('x-forwarded-for', '127.0.0.1').expect(403)
})

test('a network that is trusted without keys reads no /admin, and reloads nothing', async (t) => {
  const headers = { 'x-forwarded-for': '203.0.113.7' }
  const pool = await startPool(t, { codex: one, config: { access: { keys: false } } })
  await pool.request.get('/v1/models').set(headers).expect(200)
  await pool.request.get('/metrics').set(headers).expect(200)
  for (const answer of [
    await pool.request.get('/admin/accounts').set(headers),
    await pool.request.get('/admin/requests/x').set(headers),
    await pool.request.post('/admin/reload').set(headers),
  ])
    assert.deepEqual([answer.status, codeOf(answer.body)], [403, 'admin_token_required'])
  await pool.request.get('/admin/accounts').expect(200)
})

test('a percent sign that stands for no character is answered 400', async (t) => {
  const pool = await startPool(t, { codex: one, onDisk: true })
  const token = `Bearer ${await tokenOf(pool)}`
  for (const asked of [
    pool.request.get('/admin/requests/%E0%A4%A'),
    pool.request.post('/admin/accounts/%zz/disable').set('authorization', token),
  ]) {
    const { status, body } = await asked
    assert.deepEqual([status, codeOf(body)], [400, 'bad_path'])
  }
})

for (const [what, content, mode] of [
  ['is empty', '', 0o600],
  ['holds no token', 'half', 0o600],
  ['can be read by others', 'a-token-that-others-have-read', 0o644],
] as const) {
  test(`a token file that ${what} is replaced at the start`, async (t) => {
    const pool = await startPool(t, { codex: one, config: withKeys, onDisk: true })
    await pool.restart(async () => {
      await writeFile(tokenFile(pool), content)
      await chmod(tokenFile(pool), mode)
    })
    const token = await tokenOf(pool)
    assert.notEqual(token, content)
    assert.equal((await stat(tokenFile(pool))).mode & 0o777, 0o600)
    await pool.request.get('/admin/accounts').set('authorization', `Bearer ${token}`).expect(200)
    if (content)
      await pool.request.get('/admin/accounts').set('authorization', `Bearer ${content}`).expect(403)
  })

  test(`a command refuses a token file that ${what}, with the way out`, async (t) => {
    const cwd = await emptyFolder(t)
    await mkdir(join(cwd, 'data'))
    await writeFile(join(cwd, 'data', 'admin-token'), content)
    await chmod(join(cwd, 'data', 'admin-token'), mode)
    const { status, output } = await runCommand(t, ['accounts'], { cwd })
    assert.equal(status, 1)
    assert.match(output, new RegExp(`admin-token ${what}; start the gateway again`))
    assert.doesNotMatch(output, /others-have-read/)
  })
}

test(
  'a full disk at the first start ends nothing, and leaves no empty token',
  { skip: cannotMount },
  async (t) => {
    const disk = new SmallDisk(t)
    const database = join(disk.dir, 'data', 'proxy.db')
    const pool = await startPool(t, { codex: one, config: { database }, prepare: () => disk.fill() })
    await pool.ask('s1').expect(200)
    const { status, body } = await pool.request
      .post('/admin/accounts/alice/disable')
      .set('authorization', 'Bearer ')
    assert.deepEqual([status, codeOf(body)], [403, 'admin_token_required'])
    disk.free()
    await pool.restart()
    assert.match(await readFile(join(disk.dir, 'data', 'admin-token'), 'utf8'), /^[\w-]{32}\n$/)
  },
)

/** A program on a port, which answers as it likes. */
async function program(t: TestContext, answer: http.RequestListener): Promise<string> {
  const server = http.createServer(answer).listen(0, '127.0.0.1')
  t.after(() => server.close())
  await once(server, 'listening')
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

test('a program that looks like a gateway, or passes on what one signs, is shown no token', async (t) => {
  const pool = await startPool(t, { codex: one, onDisk: true })
  const shown: unknown[] = []
  const looksLikeOne = await program(t, ({ headers }, response) => {
    shown.push(headers.authorization)
    response.setHeader('x-codex-pool-proof', 'mine')
    response.end('{ "status": "ok", "uptimeSeconds": 1, "accounts": {}, "problems": [] }')
  })
  const passesOn = await program(t, (request, response) => {
    shown.push(request.headers.authorization)
    const { url: path, method, headers } = request
    http
      .request(`${pool.url}${path}`, { method, headers }, (answer) => {
        response.writeHead(answer.statusCode!, answer.headers)
        answer.pipe(response)
      })
      .end()
  })
  const env = {
    ...pool.sim.environment,
    POOL_DIR: join(pool.dir, 'pool'),
    PROXY_DB_PATH: join(pool.dir, 'data', 'proxy.db'),
  }
  for (const listen of [looksLikeOne, passesOn])
    await runCommand(t, ['disable', 'alice', '--listen', listen], { cwd: pool.dir, env })
  assert.ok(shown.length >= 4)
  assert.deepEqual([...new Set(shown)], [undefined])
  assert.equal((await pool.account('alice')).state, 'ready')
  const done = await runCommand(t, ['disable', 'alice', '--listen', new URL(pool.url).host], {
    cwd: pool.dir,
    env,
  })
  assert.equal(done.status, 0, done.output)
  assert.equal((await pool.account('alice')).state, 'disabled')
  assert.ok((await readdir(join(pool.dir, 'data'))).includes('admin-token'))
})
