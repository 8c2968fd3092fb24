import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test, type TestContext } from 'node:test'
import { gzipSync } from 'node:zlib'
import { Network } from '../../src/network.js'

const MB = 1024 * 1024

async function called(t: TestContext, answer: (response: ServerResponse) => void): Promise<Response> {
  const server = createServer((_request, response) => answer(response))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const network = new Network()
  t.after(async () => {
    await network.close()
    server.closeAllConnections()
    server.close()
  })
  return network.fetch(undefined)(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
}

const endless: Record<string, (response: ServerResponse) => void> = {
  'of many bytes': (response) => response.end(Buffer.alloc(5 * MB)),
  'that is packed to a thousandth': (response) =>
    response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(Buffer.alloc(64 * MB))),
  'without an end': (response) => {
    const more = (): void => void (response.destroyed || response.write(Buffer.alloc(64 * 1024), more))
    more()
  },
}
for (const [name, answer] of Object.entries(endless))
  test(`an answer to a call of the gateway's own ${name} is given up`, async (t) => {
    const response = await called(t, answer)
    await assert.rejects(response.text(), /is larger than 4194304 bytes/)
  })

test("an answer to a call of the gateway's own keeps its status and headers", async (t) => {
  const full = await called(t, (response) => response.writeHead(403, { 'x-a': 'b' }).end('no'))
  assert.deepEqual([full.status, full.headers.get('x-a'), await full.text()], [403, 'b', 'no'])
  const empty = await called(t, (response) => response.writeHead(204).end())
  assert.deepEqual([empty.status, await empty.text()], [204, ''])
})
