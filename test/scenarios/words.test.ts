import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import type { Provider, UserConfig } from '../../src/index.js'
import { folder } from '../kit/config-folder.js'
import { startCommand } from '../kit/command.js'
import { startPool, type TestPool } from '../kit/pool.js'

/** Of no form that is known for keys. */
const KEY = 'Wunderbar+geheim/7731-schluessel'

const quoting = (): Error =>
  new Error(
    `no use for ${KEY} of ${JSON.stringify({ KEY })}: ENOTFOUND http://${KEY.toLowerCase()}/?k=${encodeURIComponent(KEY)} "${KEY.slice(0, 10)}"... is not valid`,
  )

/** All that the gateway writes to its log from now on. */
function captureLog(t: TestContext): { text: string } {
  const log = { text: '' }
  t.mock.method(process.stderr, 'write', (chunk: unknown) => ((log.text += String(chunk)), true))
  return log
}

const mine = {
  type: 'custom' as const,
  credentials: 'mine_*.json',
  authorize: ({ credential }: { credential: { key?: unknown } }) => ({
    authorization: `Bearer ${credential.key}`,
  }),
}

async function poolWith(t: TestContext, hooks: Partial<Provider>): Promise<TestPool> {
  const config: UserConfig = {
    log: { level: 'debug' },
    providers: { mine: { ...mine, upstream: 'http://127.0.0.1:1', ...hooks } },
    routes: [{ path: '/mine', provider: 'mine' }],
  }
  return startPool(t, {
    config,
    codexApiKeys: [{ id: 'openai' }],
    onDisk: true,
    prepare: async ({ sim, poolDir }) => {
      Object.assign(config.providers!['mine']!, { upstream: sim.environment['UPSTREAM_OPENAI_BASE'] })
      await writeFile(join(poolDir, 'mine_a.json'), JSON.stringify({ key: KEY }), { mode: 0o600 })
    },
  })
}

/** All places where words leave. */
async function wordsOf(pool: TestPool, log: { text: string }): Promise<Record<string, string>> {
  const events: unknown[] = []
  for (const name of ['attempt', 'refresh', 'cooldown', 'request'] as const)
    pool.gateway.events.on(name, (...told: unknown[]) => events.push(...told))
  pool.gateway.retry()
  const { headers, text } = await pool.request.post('/mine/responses').send({ model: 'm', input: [] })
  const id = headers['x-codex-pool-request-id']!
  const places: Record<string, string> = { answer: text + JSON.stringify(headers) }
  places['reload'] = JSON.stringify(await pool.gateway.reload())
  for (const path of ['/healthz', '/admin/accounts', `/admin/requests/${id}`])
    places[path.replace(id, 'ID')] = (await pool.request.get(path)).text
  return { ...places, log: log.text, events: JSON.stringify(events) }
}

const fail = () => {
  throw quoting()
}
const ended = () => ({ expiresAt: 1, refreshable: true, login: 'a' })

const hooks: Record<string, [Partial<Provider>, told: RegExp]> = {
  authorize: [{ authorize: fail }, /authorize failed/],
  path: [{ path: fail }, /no use for/],
  'path that gives a bad address': [{ path: () => `http://${KEY}:1/x` }, /./],
  serves: [{ serves: fail }, /no use for/],
  rewriteBody: [{ rewriteBody: fail }, /no use for/],
  inspect: [{ inspect: fail }, /inspect failed/],
  refresh: [{ inspect: ended, refresh: async () => fail() }, /refresh/],
  discover: [{ discover: async () => fail() }, /no use for/],
  classify: [{ classify: fail }, /no use for/],
  quota: [{ quota: fail }, /quota failed/],
  model: [{ model: fail }, /no use for/],
}

for (const [name, [functions, told]] of Object.entries(hooks))
  test(`an error of ${name} that quotes a credential leaves the gateway without it, everywhere`, async (t) => {
    const log = captureLog(t)
    const pool = await poolWith(t, functions)
    const places = await wordsOf(pool, log)
    assert.match(Object.values(places).join(), told, 'the error is told')
    for (const [place, text] of Object.entries(places))
      assert.ok(
        !text.toLowerCase().includes(KEY.slice(0, 10).toLowerCase()),
        `it stands in ${place}: ${text}`,
      )
  })

test('a credential is redacted as long as its file is in the pool, and the one before it with it', async (t) => {
  const pool = await poolWith(t, {})
  const { log } = pool.gateway
  const lines = captureLog(t)
  const said = (text: string): string => {
    lines.text = ''
    log.warn(text)
    return lines.text
  }
  assert.match(said(`it is ${KEY}`), /it is \[redacted\]/)
  await writeFile(pool.file('mine_a'), JSON.stringify({ key: 'another-quiet-word' }))
  await pool.gateway.reload()
  assert.match(said(`${KEY} or another-quiet-word`), /\[redacted\] or \[redacted\]/)
  await rename(pool.file('mine_a'), pool.file('mine_b'))
  await pool.gateway.reload()
  assert.match(said('another-quiet-word'), /\[redacted\]/)
  await rm(pool.file('mine_b'))
  await pool.gateway.reload()
  assert.match(said('another-quiet-word'), /another-quiet-word/)
})

const ODD = 'pass"wort\\mit zeichen\tund ümlaut'
const spellings: Record<string, string> = {
  'as it is': ODD,
  'in an address': `https://x.example/?k=${encodeURIComponent(ODD)}&b=1`,
  'in JSON': JSON.stringify({ k: ODD }),
  'in hexadecimal digits': Buffer.from(ODD).toString('hex'),
  'in base64': Buffer.from(ODD).toString('base64'),
  'behind a name in base64': Buffer.from(`user:${ODD}`).toString('base64'),
  'between others in base64': Buffer.from(`ab${ODD}cd`).toString('base64url'),
  'in an address in an address': `https://x.example/?to=${encodeURIComponent(`https://y.example/?k=${encodeURIComponent(ODD)}`)}`,
  'in JSON in JSON': JSON.stringify({ k: JSON.stringify({ k: ODD }) }),
  'in base64 of an address': Buffer.from(`id:${encodeURIComponent(ODD)}`).toString('base64'),
  'in base64 of JSON': Buffer.from(JSON.stringify({ k: ODD })).toString('base64'),
  'in base64 of base64': Buffer.from(Buffer.from(ODD).toString('base64')).toString('base64'),
  'and a short one that stands alone': 'the pin is "a7x", as said',
}
for (const [name, text] of Object.entries(spellings))
  test(`a credential is redacted in every spelling: ${name}`, async (t) => {
    const pool = await poolWith(t, {})
    await writeFile(pool.file('mine_a'), JSON.stringify({ key: KEY, password: ODD, secret: 'a7x' }))
    await pool.gateway.reload()
    const log = captureLog(t)
    pool.gateway.log.warn(`it says ${text}.`)
    assert.match(log.text, /it says .*\[redacted\]/)
    const kept = log.text.slice(log.text.indexOf('it says'))
    for (const part of ['wort', 'zeichen', 'a7x', ...(text.match(/[\w%+/-]{16,}/g) ?? [])])
      assert.ok(!kept.includes(part), kept)
  })

test('a refresh that quotes the new tokens, which no account has yet, leaves without them', async (t) => {
  const log = captureLog(t)
  const answers = [
    '{"data":{"access_token":"Frischer-Zettel-1"}}',
    'refresh_token=Frischer-Zettel-2&plan=pro-plan-2',
  ]
  const issuer = createServer((_request, response) => response.end(answers.shift() ?? '{}'))
  await once(issuer.listen(0, '127.0.0.1'), 'listening')
  t.after(() => issuer.close())
  const url = `http://127.0.0.1:${(issuer.address() as AddressInfo).port}`
  const refresh: Provider['refresh'] = async (_credential, { fetch }) => {
    const first = await fetch(url).then((answer) => answer.text())
    const second = await fetch(url).then((answer) => answer.text())
    throw new Error(`what is ${first} or ${second}`)
  }
  const pool = await poolWith(t, { inspect: ended, refresh })
  const places = await wordsOf(pool, log)
  assert.match(Object.values(places).join(), /pro-plan-2/, 'the error is told')
  for (const [place, text] of Object.entries(places)) assert.ok(!text.includes('Zettel'), `${place}: ${text}`)
})

const NEW = 'Frischer-Zettel-7'
/** Hooks that get or make a token which stands in no credential, and a later error that quotes it. */
const makers: Record<string, (ask: () => Promise<string>) => Partial<Provider>> = {
  'an answer to discover': (ask) => ({
    discover: async (_account, { fetch }) => {
      throw new Error(`what is ${await (await fetch(await ask())).text()}`)
    },
  }),
  'an answer to redeem': (ask) => ({
    redeem: async (_account, { fetch }) => {
      throw new Error(`what is ${await (await fetch(await ask())).text()}`)
    },
  }),
  'a fact': () => ({ discover: async () => ({ sessionToken: NEW }), path: () => said(NEW) }),
  'a header of authorize': () => ({
    authorize: async () => ({ authorization: `Bearer ${NEW}` }),
    classify: () => said(`Bearer ${NEW}`),
  }),
  'a signature of authorize': () => ({
    authorize: ({ credential }) => ({ 'x-auth-signature': `${NEW}/${String(credential['key']).length}` }),
    classify: () => said(encodeURIComponent(`${NEW}/3`)),
  }),
}
const said = (what: string): never => {
  throw new Error(`what is ${what}`)
}
for (const [name, hooksOf] of Object.entries(makers))
  test(`an error that quotes ${name}, which is in no credential, leaves without it`, async (t) => {
    const log = captureLog(t)
    const issuer = createServer((_request, response) => response.end(JSON.stringify({ new_token: NEW })))
    await once(issuer.listen(0, '127.0.0.1'), 'listening')
    t.after(() => issuer.close())
    const url = `http://127.0.0.1:${(issuer.address() as AddressInfo).port}`
    const pool = await poolWith(
      t,
      hooksOf(async () => url),
    )
    await pool.gateway.reload()
    const places = await wordsOf(pool, log)
    const token = (await readFile(join(pool.dir, 'data', 'admin-token'), 'utf8')).trim()
    const redeemed = pool.request
      .post('/admin/accounts/mine_a/redeem')
      .set('authorization', `Bearer ${token}`)
    Object.assign(places, { redeemed: (await redeemed).text, log: log.text })
    assert.match(Object.values(places).join(), /what is/, 'the error is told')
    for (const [place, text] of Object.entries(places))
      assert.ok(!text.includes('Zettel'), `${place}: ${text}`)
  })

const KEY_OF_CONFIG = 'wunderbar-7731-schluessel'
const throwing: Record<string, string> = {
  'a word of its own': `const keys = { a: '${KEY_OF_CONFIG}' }\nthrow new Error('no use for ' + keys.a)`,
  'a word of its environment': `throw new Error('no use for ' + process.env.POOL_KEY)`,
  'a bad upstream': `export default { providers: { mine: { type: 'bearer', upstream: 'ftp://example.com/${KEY_OF_CONFIG}/x' } } }`,
}
for (const [what, text] of Object.entries(throwing))
  test(`check tells what is wrong with a config file that quotes ${what}, without it`, async (t) => {
    const cwd = folder(t, { 'codex-pool.config.ts': text })
    const { status, output } = await startCommand(t, ['check'], { cwd, env: { POOL_KEY: KEY_OF_CONFIG } })
      .ended
    assert.equal(status, 2, output)
    assert.match(output, /no use for|upstream/)
    assert.ok(!output.includes(KEY_OF_CONFIG), output)
  })
