import assert from 'node:assert/strict'
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { UserConfig } from '../../src/index.js'
import type { AuthJson } from '../../src/simulator/index.js'
import { clientHeaders, turn } from '../kit/pool.js'
import { person, type Codex } from './codex.js'
import { said } from './run.js'
import { scenario, type Stage, type StageOptions } from './stage.js'
import { until } from './until.js'

/** The pool has a copy of the login with which the person's own Codex goes to ChatGPT directly. */
const copied: StageOptions = {
  codex: [{ id: 'alice' }],
  config: { providers: { codex: { type: 'codex', codexHome: 'me/.codex' } } },
}

/** Without a gateway between: the login that the client sends is its own. */
const direct = (url: string): string => `model_provider = "direct"

[model_providers.direct]
name = "ChatGPT"
base_url = "${url}/backend-api/codex"
wire_api = "responses"
requires_openai_auth = true
`

async function owner(stage: Stage): Promise<Codex> {
  const { url } = stage.sim
  const me = await person(stage, direct(url), { name: 'me', issuer: url })
  await copyFile(join(stage.folder, 'pool', 'alice.json'), join(me.home, 'auth.json'))
  return me
}

async function gatewayWorks(stage: Stage): Promise<void> {
  const headers = { ...clientHeaders(), 'content-type': 'application/json' }
  const body = JSON.stringify(turn())
  const response = await fetch(`${stage.url}/v1/responses`, { method: 'POST', headers, body })
  assert.equal(response.status, 200, await response.text())
}

/** Who refreshed the login so far, in order. */
const renewals = ({ sim }: Stage) =>
  sim.requests
    .filter(({ kind }) => kind === 'issuer')
    .map(({ headers }) => (headers['user-agent'] === 'codex-pool' ? 'gateway' : 'client'))

async function together(stage: Stage, me: Codex): Promise<void> {
  const files = [join(me.home, 'auth.json'), join(stage.folder, 'pool', 'alice.json')]
  const { refreshToken } = stage.sim.account('alice')
  await until(
    async () => {
      const all = await Promise.all(files.map(async (file) => JSON.parse(await readFile(file, 'utf8'))))
      return all.every(({ tokens }: AuthJson) => tokens.refresh_token === refreshToken) || undefined
    },
    () => 'the files have different logins',
  )
}

scenario('gateway and client on copies of one login both outlive its token', copied, async (stage) => {
  const me = await owner(stage)
  const alice = stage.sim.account('alice')
  for (const first of ['gateway', 'client', 'gateway', 'client'] as const) {
    alice.expireAccessToken()
    if (first === 'gateway') await gatewayWorks(stage)
    said(await me.exec('say hi'), 'Hello from the simulator.')
    await together(stage, me)
    await gatewayWorks(stage)
    assert.equal(renewals(stage).at(-1), first)
  }
  assert.deepEqual(renewals(stage), ['gateway', 'client', 'gateway', 'client'])
  assert.deepEqual(stage.sim.issuer, { refreshes: 4, reuses: 0 })
})

const MINUTE = 60_000

/** The token of both copies ends so soon from the start of the gateway; ms. */
const ending = (expiresInMs: number, config: UserConfig = {}): StageOptions => ({
  ...copied,
  config: { ...copied.config, ...config },
  prepare: async (sim, poolDir) => {
    const auth = JSON.stringify(sim.account('alice').authJson({ expiresInMs }))
    const home = join(poolDir, '..', 'me', '.codex')
    await mkdir(home, { recursive: true })
    for (const file of [join(home, 'auth.json'), join(poolDir, 'alice.json')])
      await writeFile(file, auth, { mode: 0o600 })
  },
})

// Codex refreshes from 5 minutes before the end of its token. Two programs that call the issuer at one time end the login,
// and neither sees the lock of the other: so in each of these two scenarios one of them alone has a reason to call.
scenario(
  'the gateway refreshes a copied login before the client would',
  ending(6 * MINUTE),
  async (stage) => {
    const me = await person(stage, direct(stage.sim.url), { name: 'me', issuer: stage.sim.url })
    await until(
      async () => renewals(stage).length > 0 || undefined,
      () => 'the gateway does not refresh',
    )
    await together(stage, me)
    said(await me.exec('say hi'), 'Hello from the simulator.')
    await gatewayWorks(stage)
    assert.deepEqual(renewals(stage), ['gateway'])
    assert.deepEqual(stage.sim.issuer, { refreshes: 1, reuses: 0 })
  },
)

scenario(
  'a client whose token ends by the clock refreshes it for the gateway as well',
  ending(4 * MINUTE, { refresh: { enabled: false } }),
  async (stage) => {
    const me = await person(stage, direct(stage.sim.url), { name: 'me', issuer: stage.sim.url })
    said(await me.exec('say hi'), 'Hello from the simulator.')
    await together(stage, me)
    await gatewayWorks(stage)
    assert.deepEqual(renewals(stage), ['client'])
    assert.deepEqual(stage.sim.issuer, { refreshes: 1, reuses: 0 })
  },
)

scenario(
  'a client in the middle of its work uses the login that the gateway has refreshed',
  copied,
  async (stage) => {
    const me = await owner(stage)
    const alice = stage.sim.account('alice')
    let refreshed: Promise<void> | undefined
    stage.sim.reply(({ request, toolOutputs: [output] }) => {
      if (request.headers['user-agent'] === clientHeaders()['user-agent']) return 'Hello, gateway.'
      if (output !== undefined) return 'I went on.'
      alice.expireAccessToken()
      refreshed = gatewayWorks(stage)
      return [{ custom: 'exec', input: 'text(JSON.stringify(await tools.exec_command({cmd:"sleep 1"})))' }]
    })
    said(await me.exec('use the tool'), 'I went on.')
    await refreshed
    await together(stage, me)
    assert.deepEqual(renewals(stage), ['gateway'])
    assert.equal(stage.sim.issuer.reuses, 0)
  },
)
