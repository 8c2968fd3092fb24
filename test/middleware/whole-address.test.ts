import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { codeOf, startPool } from '../kit/pool.js'

/** A server that counts what reaches it. */
async function server(t: TestContext) {
  const seen: (string | undefined)[] = []
  const listening = createServer((request, response) => {
    seen.push(request.url)
    response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
  })
  await once(listening.listen(0, '127.0.0.1'), 'listening')
  t.after(() => listening.close())
  return { seen, host: `127.0.0.1:${(listening.address() as AddressInfo).port}` }
}

/** A provider that takes the whole of what follows its prefix for the address, as a careless one may. */
async function careless(t: TestContext, hosts?: (elsewhere: string) => string[]) {
  const [own, elsewhere] = [await server(t), await server(t)]
  const pool = await startPool(t, {
    config: {
      providers: {
        mine: {
          type: 'custom',
          upstream: `http://${own.host}/base`,
          authorize: ({ credential }) => ({ authorization: `Bearer ${credential.key}` }),
          path: ({ url }) => decodeURIComponent(url.slice('/mine/'.length)),
          ...(hosts && { hosts: hosts(elsewhere.host) }),
        },
      },
      routes: [{ path: '/mine', provider: 'mine' }],
    },
    prepare: ({ poolDir }) => writeFileSync(join(poolDir, 'mine_a.json'), '{"key":"key-of-the-account"}'),
  })
  const ask = (address: string) => pool.request.get(`/mine/${encodeURIComponent(address)}`)
  return { own, elsewhere, pool, ask }
}

test('a client chooses neither host nor scheme, whatever a provider makes of its path', async (t) => {
  const { own, elsewhere, ask } = await careless(t)
  const { host } = elsewhere
  const port = own.host.split(':')[1]
  const foreign = [
    `http://${host}/x`,
    `HTTP://${host}/x`,
    `https://${own.host}/x`,
    `http://user@${own.host}/x`,
    `http://${own.host}@${host}/x`,
    `http://localhost:${port}/x`,
    'http://[',
  ]
  for (const address of foreign) {
    const { status, body } = await ask(address)
    assert.deepEqual([address, status, codeOf(body)], [address, 500, 'provider_failed'])
    assert.doesNotMatch(JSON.stringify(body), /127\.0\.0\.1|key-of/)
  }
  assert.deepEqual([own.seen, elsewhere.seen], [[], []])
})

test('a path without a slash, and a whole address of the upstream, reach the upstream', async (t) => {
  const { own, ask } = await careless(t)
  const addresses = ['x', '/y', '?z=1', 'ftp://elsewhere/x', '//elsewhere/x', `http://${own.host}/whole`]
  for (const address of addresses) await ask(address).expect(200)
  const reached = [
    '/base/x',
    '/base/y',
    '/base?z=1',
    '/base/ftp://elsewhere/x',
    '/base//elsewhere/x',
    '/whole',
  ]
  assert.deepEqual(own.seen, reached)
})

test('a whole address may name a host of `hosts`, over https or on this machine', async (t) => {
  const { elsewhere, ask } = await careless(t, (host) => [host, 'plain.example'])
  await ask(`http://${elsewhere.host}/x`).expect(200)
  assert.deepEqual(elsewhere.seen, ['/x'])
  const { body } = await ask('http://plain.example/x')
  assert.equal(codeOf(body), 'provider_failed')
})
