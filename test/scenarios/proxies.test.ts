import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import https from 'node:https'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { Network } from '../../src/network.js'
import { inOrder, startPool, type PoolOptions } from '../kit/pool.js'
import { startSocksProxy, startTunnelProxy, withEnvironment } from '../kit/proxies.js'
import { create, dial } from '../kit/websocket.js'
import { selfSigned } from '../slow/fault-matrix/certificate.js'

/** Codex, whose first account has to be refreshed before it is used. */
const expired = (proxy?: string): PoolOptions => ({
  codex: [{ id: 'alice' }],
  config: { ...inOrder, providers: { codex: { type: 'codex', ...(proxy && { proxy }) } } },
  prepare: async ({ sim, poolDir }) => {
    const auth = sim.account('alice').authJson({ expiresInMs: -60_000 })
    await writeFile(join(poolDir, 'alice.json'), JSON.stringify(auth), { mode: 0o600 })
  },
})

/** Nothing in the environment exempts anything. */
const noExceptions = { no_proxy: undefined, NO_PROXY: undefined }

for (const names of [
  ['HTTP_PROXY'],
  ['http_proxy', 'https_proxy'],
  ['ALL_PROXY', 'HTTPS_PROXY'],
  ['all_proxy'],
])
  test(`an upstream and a token endpoint on this machine are not asked through ${names.join(' and ')}`, async (t) => {
    const proxy = await startTunnelProxy(t)
    const set = Object.fromEntries(names.map((name) => [name, `http://${proxy.address}`]))
    withEnvironment(t, { ...noExceptions, ...set })
    const pool = await startPool(t, expired())
    await pool.ask('s1').expect(200)
    assert.equal(pool.sim.issuer.refreshes, 1)
    const socket = await dial(pool, 's2')
    await socket.ask(create())
    assert.deepEqual(proxy.asked, [])
  })

const proxies = {
  http: { start: startTunnelProxy, address: (it: string) => `http://${it}` },
  socks5: { start: startSocksProxy, address: (it: string) => `socks5://${it}` },
  socks5h: { start: startSocksProxy, address: (it: string) => `socks5h://${it}` },
}
for (const [kind, { start, address }] of Object.entries(proxies))
  test(`requests, WebSockets and token calls go through a provider's own ${kind} proxy`, async (t) => {
    const proxy = await start(t)
    const pool = await startPool(t, expired(address(proxy.address)))
    await pool.ask('s1').expect(200)
    assert.equal(pool.sim.issuer.refreshes, 1)
    const afterHttp = proxy.asked.length
    assert.ok(afterHttp >= 2, 'the token call and the request')
    const socket = await dial(pool, 's2')
    await socket.ask(create())
    assert.equal(proxy.asked.length, afterHttp + 1)
  })

test('an account goes through a proxy of its own, and the others through that of their provider', async (t) => {
  const [own, common] = [await startSocksProxy(t), await startTunnelProxy(t)]
  const pool = await startPool(t, {
    ...expired(`http://${common.address}`),
    codex: [{ id: 'alice' }, { id: 'bob' }],
    config: {
      ...inOrder,
      providers: {
        codex: {
          type: 'codex',
          proxy: `http://${common.address}`,
          accounts: { alice: { proxy: `socks5h://${own.address}` } },
        },
      },
    },
  })
  assert.equal(await pool.servedBy('s1'), 'alice')
  assert.equal(pool.sim.issuer.refreshes, 1)
  assert.deepEqual([own.asked.length >= 2, common.asked.length], [true, 0])
  pool.sim.account('alice').exhaust()
  assert.equal(await pool.servedBy('s2'), 'bob')
  assert.equal(common.asked.length, 1)
})

test('a host name is looked up by a socks5h proxy, and here for socks5', async (t) => {
  const network = new Network()
  t.after(() => network.close())
  const upstream = await startTls(t)
  for (const [scheme, named] of [
    ['socks5h', true],
    ['socks5', false],
  ] as const) {
    const proxy = await startSocksProxy(t)
    await assert.rejects(
      network.fetch(`${scheme}://${proxy.address}`)(`https://localhost:${upstream}/`),
      /SELF_SIGNED/,
    )
    assert.deepEqual(
      proxy.asked.map((one) => [one.port, one.named]),
      [[upstream, named]],
    )
  }
})

for (const scheme of ['', 'http://', 'socks5h://'])
  test(`a proxy of the environment (${scheme}HOST:PORT) is used for other hosts, unless NO_PROXY names them`, async (t) => {
    const network = new Network()
    t.after(() => network.close())
    const proxy = await (scheme === 'socks5h://' ? startSocksProxy(t) : startTunnelProxy(t))
    withEnvironment(t, { ...noExceptions, https_proxy: undefined, HTTPS_PROXY: `${scheme}${proxy.address}` })
    const fetch = network.fetch(undefined)
    const url = `https://upstream.invalid:${await startTls(t)}/`
    await assert.rejects(fetch(url), /SELF_SIGNED/)
    assert.deepEqual(
      proxy.asked.map(({ host }) => host),
      ['upstream.invalid'],
    )
    process.env.NO_PROXY = 'upstream.invalid'
    await assert.rejects(fetch(url), /^TypeError: (ENOTFOUND|EAI_AGAIN) upstream\.invalid:\d+$/)
    assert.equal(proxy.asked.length, 1)
  })

test('a proxy that refuses is named, and the account is not to blame', async (t) => {
  for (const [scheme, start] of [
    ['http', startTunnelProxy],
    ['socks5', startSocksProxy],
  ] as const) {
    const proxy = await start(t, { refuses: true })
    const providers = { codex: { type: 'codex', proxy: `${scheme}://${proxy.address}` } } as const
    const pool = await startPool(t, { codex: [{ id: 'alice' }], config: { providers } })
    const { body } = await pool.ask('s1').expect(502)
    assert.match(body.error.message, /proxy/i)
    assert.equal((await pool.account('alice')).state, 'ready')
  }
})

test('a failed call says why: code, host and port, and which certificate', async (t) => {
  const network = new Network()
  t.after(() => network.close())
  const tls = await startTls(t)
  const refusing = await startSocksProxy(t, { refuses: true })
  const closed = await startTunnelProxy(t, { refuses: true })
  const free = await freePort()
  const calls: [url: string, proxy: string | undefined, told: RegExp][] = [
    [`http://127.0.0.1:${free}/`, undefined, new RegExp(`^ECONNREFUSED 127\\.0\\.0\\.1:${free}$`)],
    ['https://no.such.host.invalid/', undefined, /^(ENOTFOUND|EAI_AGAIN) no\.such\.host\.invalid:443$/],
    [
      `https://localhost:${tls}/`,
      undefined,
      new RegExp(`^DEPTH_ZERO_SELF_SIGNED_CERT localhost:${tls}: self-signed`),
    ],
    [
      `https://127.0.0.1:${free}/`,
      `socks5h://${refusing.address}`,
      new RegExp(`^ERR_PROXY 127\\.0\\.0\\.1:${free}: .*[Ss]ocks`),
    ],
    [
      `https://127.0.0.1:${free}/`,
      `http://${closed.address}`,
      new RegExp(`^ERR_PROXY 127\\.0\\.0\\.1:${free}: .*403`),
    ],
    [
      'https://api.example/',
      `socks5h://127.0.0.1:${free}`,
      new RegExp(`^ERR_PROXY api\\.example:443: connect ECONNREFUSED 127\\.0\\.0\\.1:${free}$`),
    ],
  ]
  for (const [url, proxy, told] of calls)
    await assert.rejects(network.fetch(proxy)(url), (error: Error) => {
      assert.ok(error instanceof TypeError)
      assert.match(error.message, told)
      return true
    })
})

test('a request and a token call that reach nobody name code, host and port in the answer', async (t) => {
  const port = await freePort()
  const nobody = `http://127.0.0.1:${port}`
  const request = await startPool(t, { codex: [{ id: 'alice' }], env: { UPSTREAM_RESPONSES_BASE: nobody } })
  const { body } = await request.ask('s1').expect(502)
  assert.match(body.error.message, new RegExp(`ECONNREFUSED 127\\.0\\.0\\.1:${port}`))
  const token = await startPool(t, { ...expired(), env: { UPSTREAM_REFRESH_BASE: nobody } })
  const refused = await token.ask('s1')
  assert.match(refused.text, new RegExp(`ECONNREFUSED 127\\.0\\.0\\.1:${port}`))
})

const systemCa = process.allowedNodeEnvironmentFlags.has('--use-system-ca')
const trusts: Record<string, { env: (file: string) => Record<string, string>; skip: string | false }> = {
  NODE_EXTRA_CA_CERTS: { env: (file) => ({ NODE_EXTRA_CA_CERTS: file }), skip: false },
  // On Linux OpenSSL's variable says where the certificates of the system are.
  '--use-system-ca': {
    env: (file) => ({ NODE_OPTIONS: '--use-system-ca', SSL_CERT_FILE: file }),
    skip: process.platform !== 'linux' ? 'not Linux' : !systemCa && 'this Node does not know the option',
  },
}
for (const [name, { env, skip }] of Object.entries(trusts))
  test(`${name} counts for forwarded requests and own calls`, { skip }, async (t) => {
    const certificate = selfSigned()
    const port = await startTls(t, certificate)
    const dir = await mkdtemp(join(tmpdir(), 'codex-pool-ca-'))
    t.after(() => rm(dir, { recursive: true, force: true }))
    const file = join(dir, 'ca.pem')
    await writeFile(file, certificate.cert)
    const script = `
    import https from 'node:https'
    import { Network } from ${JSON.stringify(new URL('../../src/network.js', import.meta.url).href)}
    const network = new Network()
    const url = new URL('https://localhost:${port}/')
    const own = await network.fetch()(url).then((it) => it.text(), (error) => error.message)
    const sent = await new Promise((resolve) => https
      .get(url, { agent: network.agent('a', url, undefined, true) }, (it) => resolve(it.statusCode))
      .on('error', ({ code }) => resolve(code)))
    console.log(own, sent)
    await network.close()`
    const run = async (env: Record<string, string>) => {
      const child = spawn(process.execPath, ['--input-type=module', '--eval', script], { env })
      let output = ''
      child.stdout.on('data', (text: Buffer) => (output += text.toString()))
      await once(child, 'close')
      return output.trim()
    }
    assert.match(await run({}), /^DEPTH_ZERO_SELF_SIGNED_CERT .* DEPTH_ZERO_SELF_SIGNED_CERT$/)
    assert.equal(await run(env(file)), 'hello 200')
  })

async function startTls(t: TestContext, certificate = selfSigned()): Promise<number> {
  const server = https.createServer(certificate, (_request, response) => response.end('hello'))
  t.after(() => server.close())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
