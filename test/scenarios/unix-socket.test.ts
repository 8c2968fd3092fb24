import assert from 'node:assert/strict'
import { once } from 'node:events'
import { access, stat } from 'node:fs/promises'
import http from 'node:http'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { createGateway, startServer, type UserConfig } from '../../src/index.js'
import { parseListen } from '../../config/rules.js'
import { runCommand } from '../kit/command.js'
import { folder } from '../kit/config-folder.js'

async function onSocket(t: TestContext, path: string, config: UserConfig = {}) {
  const cwd = folder(t, { 'pool/one.json': '{"OPENAI_API_KEY":"sk-an-api-key-of-one"}' })
  const gateway = await createGateway(
    { listen: path, quotaPollMs: 0, log: { level: 'silent' }, ...config },
    { cwd, env: {} },
  )
  t.after(() => gateway.close())
  return { cwd, gateway, socket: join(cwd, 'my.sock') }
}

async function get(socketPath: string, path: string, headers = {}): Promise<number> {
  const request = http.get({ socketPath, path, headers })
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  response.resume()
  return response.statusCode!
}

for (const listen of ['unix:my.sock', './my.sock'])
  test(`the gateway listens on ${listen}, for its own user alone`, async (t) => {
    const { gateway, socket } = await onSocket(t, listen)
    const server = await startServer(gateway)
    assert.equal(server.url, `unix:${socket}`)
    assert.equal((await stat(socket)).mode & 0o777, 0o600)
    assert.equal(await get(socket, '/healthz'), 200)
    assert.equal(await get(socket, '/admin/accounts'), 200, 'its user is on this machine')
    assert.equal(await get(socket, '/admin/accounts', { 'x-forwarded-for': '127.0.0.1' }), 403)
    await server.stop(0)
    await assert.rejects(access(socket))
  })

test('access keys hold at a socket too', async (t) => {
  const keys = { me: 'a-key-of-enough-letters' }
  const { gateway, socket } = await onSocket(t, 'unix:my.sock', { access: { keys } })
  const server = await startServer(gateway)
  t.after(() => server.stop(0))
  assert.equal(await get(socket, '/v1/models'), 403)
})

test('a socket that a killed process has left is replaced, one in use is not', async (t) => {
  const { cwd, gateway, socket } = await onSocket(t, 'unix:my.sock')
  const make = `require('net').createServer().listen('${socket}', () => process.kill(process.pid, 'SIGKILL'))`
  const { spawnSync } = await import('node:child_process')
  spawnSync(process.execPath, ['-e', make], { cwd })
  await access(socket)
  const server = await startServer(gateway)
  assert.equal(await get(socket, '/healthz'), 200)
  await server.stop(0)
  const other = createServer().listen(socket)
  await once(other, 'listening')
  t.after(() => other.close())
  await assert.rejects(startServer(gateway), { code: 'EADDRINUSE' })
})

test('commands reach the gateway by its socket', async (t) => {
  const { cwd, gateway } = await onSocket(t, 'unix:my.sock')
  const server = await startServer(gateway)
  t.after(() => server.stop(0))
  const shown = await runCommand(t, ['--listen', 'unix:my.sock', 'accounts'], { cwd })
  assert.equal(shown.status, 0, shown.output)
  assert.doesNotMatch(shown.output, /No gateway answers/)
  const disabled = await runCommand(t, ['--listen', 'unix:my.sock', 'disable', 'one'], { cwd })
  assert.match(
    disabled.output,
    /one is disabled/,
    'with the admin token, after the gateway has proven itself',
  )
})

test('what is a socket, and what is not', () => {
  assert.equal(parseListen('unix:/run/x')?.socket, '/run/x')
  assert.equal(parseListen('/run/x.sock')?.socket, '/run/x.sock')
  for (const bad of ['unix:', '/run/x', 'x.sock']) assert.equal(parseListen(bad), undefined, bad)
})
