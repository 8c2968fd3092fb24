import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { test, type TestContext } from 'node:test'
import { chromium, type Page, type Request } from 'playwright-core'
import { startPool, turn, type TestPool } from '../kit/pool.js'

const ARGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** A site of its own on this machine; `localhost` with another port is another origin than the gateway's. */
async function site(t: TestContext): Promise<string> {
  const server = http.createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>a page</title>')
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.after(() => server.close().closeAllConnections())
  return `http://localhost:${(server.address() as AddressInfo).port}`
}

/** A page of a site, in a real browser, and a gateway that allows the sites which are named. */
async function open(
  t: TestContext,
  { allowed }: { allowed: boolean },
): Promise<{ page: Page; pool: TestPool }> {
  const origin = await site(t)
  const pool = await startPool(t, {
    codex: [{ id: 'alice' }],
    config: { access: { origins: allowed ? [origin] : [] } },
  })
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ARGS,
  })
  t.after(() => browser.close())
  const page = await browser.newPage()
  await page.goto(origin)
  return { page, pool }
}

/** What a script of the page reads. */
function read(
  page: Page,
  url: string,
  init?: object,
): Promise<{ status: number; text: string } | { refused: string }> {
  return page.evaluate(
    async ([address, options]) => {
      try {
        const response = await fetch(address, options)
        return { status: response.status, text: await response.text() }
      } catch (error) {
        return { refused: String(error) }
      }
    },
    [url, init] as const,
  )
}

const question = {
  method: 'POST',
  headers: { 'content-type': 'application/json', 'session-id': 's1' },
  body: JSON.stringify(turn()),
}

test('an allowed page reads a stream and an error of the gateway', async (t) => {
  const { page, pool } = await open(t, { allowed: true })
  const answer = await read(page, `${pool.url}/v1/responses`, question)
  assert.ok('text' in answer && answer.text.includes('response.completed'), JSON.stringify(answer))
  const missing = await read(page, `${pool.url}/nowhere`)
  assert.ok(
    'text' in missing && missing.status === 404 && missing.text.includes('no_route'),
    JSON.stringify(missing),
  )
})

test('a page that is not allowed reads nothing, and nothing of it reaches an upstream', async (t) => {
  const { page, pool } = await open(t, { allowed: false })
  for (const path of ['/v1/responses', '/healthz', '/admin/accounts', '/metrics'])
    assert.ok(
      'refused' in (await read(page, pool.url + path, path === '/v1/responses' ? question : {})),
      path,
    )
  // A script may send such a request, and never reads its answer.
  await read(page, `${pool.url}/v1/models`, { mode: 'no-cors' })
  assert.equal(pool.sim.requests.length, 0)
})

for (const tag of ['img', 'script', 'iframe'])
  test(`an <${tag}> of a foreign page reaches no upstream`, async (t) => {
    const { page, pool } = await open(t, { allowed: false })
    const isOurs = (request: Request) => request.url().startsWith(pool.url)
    // Chromium hides the refusal of an image or a script from the page altogether.
    const over = Promise.race([
      page.waitForEvent('requestfinished', isOurs),
      page.waitForEvent('requestfailed', isOurs),
    ])
    await page.setContent(`<${tag} src="${pool.url}/v1/models"></${tag}>`)
    const answer = await (await over).response()
    assert.ok(answer === null || answer.status() === 403)
    assert.equal(pool.sim.requests.length, 0)
  })
