import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { startSimulator, type CodexAccount, type Simulator } from '../../src/simulator/index.js'
import { until } from '../kit/pool.js'
import { fullSize } from '../kit/size.js'
import { chance } from './torture/chance.js'
import { Reader } from './torture/reader.js'
import { openRelay, type Relay } from './torture/relay.js'
import { Victim } from './torture/victim.js'

const SECONDS = Number(process.env.TORTURE_SECONDS ?? (fullSize ? 60 : 6))
const SEED = Number(process.env.TORTURE_SEED ?? 20260901)
const IDS = ['alice', 'bob', 'carol', 'dave', 'erin', 'frank']

/** An `auth.json` with a field that no version knows. */
const loginOf = (account: CodexAccount, of: string) =>
  JSON.stringify({ ...account.authJson(), field_of_tomorrow: { of } })

interface Scene {
  readonly sim: Simulator
  readonly relay: Relay
  readonly poolDir: string
  readonly codexHome: string
  /** Every credential file, the client's own copy of alice's included. */
  readonly files: readonly string[]
  filesOf(id: string): string[]
}

async function openScene(t: TestContext): Promise<Scene> {
  const dir = await mkdtemp(join(tmpdir(), 'codex-pool-torture-'))
  const [poolDir, codexHome] = [join(dir, 'pool'), join(dir, 'codex-home')]
  for (const folder of [poolDir, codexHome]) await mkdir(folder)
  const sim = await startSimulator({ codex: IDS.map((id) => ({ id, accessTokenLifetimeMs: 2000 })) })
  const relay = await openRelay(sim.url)
  t.after(async () => {
    await relay.close()
    await sim.close()
    await rm(dir, { recursive: true, force: true, maxRetries: 5 })
  })
  const copy = join(codexHome, 'auth.json')
  const filesOf = (id: string) => [join(poolDir, `${id}.json`), ...(id === 'alice' ? [copy] : [])]
  const scene = { sim, relay, poolDir, codexHome, filesOf, files: IDS.flatMap(filesOf) }
  for (const id of IDS) await logIn(scene, sim.account(id))
  return scene
}

/** Writes a login into the pool's file and the client copy, as a person would; atomic, since this write is not under test. */
async function logIn({ filesOf }: Scene, account: CodexAccount): Promise<void> {
  for (const file of filesOf(account.id)) {
    await writeFile(`${file}.new`, loginOf(account, basename(file)), { mode: 0o600 })
    await rename(`${file}.new`, file)
  }
}

/** Refresh tokens whose answer died with the process that had asked, so that no process knows the next token. */
async function lostWith(life: string, { relay }: Scene, reader: Reader): Promise<string[]> {
  await relay.idle(life)
  const held = await reader.readAll()
  const known = (token: string) =>
    held.includes(token) ||
    reader.seen.has(token) ||
    relay.rotations.some(({ presented }) => presented === token)
  return relay.rotations
    .filter(({ by, issued }) => by === life && !known(issued))
    .map(({ presented }) => presented)
}

test('processes that are killed at any moment never present a token twice, and lose no account', async (t) => {
  const scene = await openScene(t)
  const { sim, relay, poolDir, codexHome } = scene
  const over = new AbortController()
  const refreshed = () => sim.issuer.refreshes > IDS.length
  const ended = new AbortController()
  const random = chance(SEED)
  const lost = new Set<string>()
  const logins: string[] = []

  const reader = new Reader(scene.files, (file, content) => {
    assert.deepEqual(content.field_of_tomorrow, { of: basename(file) }, `${file}: an unknown field`)
    assert.equal(content.auth_mode, 'chatgpt')
  })
  const victims = ['one', 'two', 'three'].map(
    (name) =>
      new Victim(name, {
        settings: (life) => ({
          poolDir,
          codexHome,
          issuer: `${relay.url}/${life}`,
          upstream: `${sim.url}/backend-api`,
        }),
        // One half dies at any moment, the other while tokens are refreshed.
        fate: (life) => {
          // On a busy machine a process takes longer than that to start: the first ones live until they have refreshed.
          const longest = refreshed() ? 600 : 6_000
          const [age, calls, after] = [random() * longest, 1 + random() * 6, random() * 20]
          if (random() < 0.5) return delay(age)
          return Promise.race([delay(longest), relay.called(life, calls).then(() => delay(after))])
        },
        onDeath: async (life) => {
          for (const token of await lostWith(life, scene, reader)) lost.add(token)
        },
      }),
  )
  t.after(() => ended.abort())
  t.after(() => victims.forEach((victim) => victim.stop()))

  // A login that died with a process is found out by the next one; its owner then logs in again.
  async function comfort(): Promise<void> {
    const seen = new Map<string, number>()
    while (!ended.signal.aborted) {
      for (const account of sim.codex.accounts) {
        if (account.reuses === (seen.get(account.id) ?? 0)) continue
        account.login()
        await logIn(scene, account)
        logins.push(account.id)
        // Calls of the old login that run on do not count as news.
        await delay(100)
        seen.set(account.id, account.reuses)
      }
      await delay(5)
    }
  }

  const watching = Promise.all([reader.run(ended.signal), comfort()])
  const killing = Promise.all(victims.map((victim) => victim.run(over.signal)))
  const time = delay(SECONDS * 1000).then(() => until(refreshed))
  await Promise.race([time, killing, watching]).finally(() => over.abort())
  await Promise.race([killing, watching])
  ended.abort()
  await Promise.all([killing, watching])

  const kills = victims.reduce((sum, victim) => sum + victim.kills, 0)
  const reused = new Set(relay.reused)
  const unexplained = [...reused].filter((token) => !lost.has(token))
  t.diagnostic(
    `${SECONDS} s, seed ${SEED}: ${kills} kills; ${sim.issuer.refreshes} refreshes; ${reader.reads} reads, all whole; ` +
      `${lost.size} answers died with the process that had asked, of which ${reused.size - unexplained.length} were ` +
      `found out by presenting the old token; tokens reused for no such reason: ${unexplained.length}`,
  )
  assert.equal(unexplained.length, 0, 'a spent refresh token was presented')
  assert.ok(sim.issuer.refreshes > IDS.length, 'tokens were refreshed at all')
  assert.deepEqual(sim.violations, [])
  await noneIsLost(scene, lost)
})

/**
 * A file of each account holds what the issuer gave last, but for answers that died with a process. Of alice's two files
 * the client's copy is written first: a process that dies then leaves the pool's file to the next one.
 */
async function noneIsLost({ sim, filesOf, relay }: Scene, lost: ReadonlySet<string>): Promise<void> {
  for (const account of sim.codex.accounts) {
    const held: string[] = []
    for (const file of filesOf(account.id)) {
      const { tokens } = JSON.parse(await readFile(file, 'utf8')) as ReturnType<CodexAccount['authJson']>
      held.push(tokens.refresh_token)
      assert.equal((await stat(file)).mode & 0o777, 0o600)
    }
    const lastOne = relay.rotations.findLast(({ issued }) => issued === account.refreshToken)
    const excused = lastOne !== undefined && lost.has(lastOne.presented)
    assert.ok(held.includes(account.refreshToken) || excused, `the files of ${account.id} hold an old login`)
  }
}
