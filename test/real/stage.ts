import assert from 'node:assert/strict'
import { mkdir, mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { createGateway, type Gateway, startServer, type UserConfig } from '../../src/index.js'
import { type Simulator, type SimulatorOptions, startSimulator } from '../../src/simulator/index.js'
import { codeAssistCalls } from '../kit/simulator/code-assist-calls.js'
import { openOutside, type Outside } from './outside.js'
import { report } from './report.js'
import type { Run } from './run.js'

export interface Stage {
  readonly sim: Simulator
  readonly gateway: Gateway
  /** Where the gateway listens. */
  readonly url: string
  /** Empty, and gone when the scenario is over. */
  readonly folder: string
  readonly outside: Outside
  /** What the clients did so far. */
  readonly runs: Run[]
  /** Checked when the scenario is over, if it has not failed by then. */
  readonly promises: (() => void | Promise<void>)[]
  /** `provider/account outcome` of each attempt. */
  readonly attempts: string[]
}

export interface StageOptions extends SimulatorOptions {
  /** The gateway's configuration beside listener and pool. */
  config?: UserConfig
  /** Changes the pool before the gateway reads it. */
  prepare?: (sim: Simulator, poolDir: string) => void | Promise<void>
}

/**
 * A test with real clients: simulator, gateway, and a folder for the clients. Whatever else it promises, the upstreams
 * see nothing but the pool's credentials. A failure tells what the clients said and what the upstreams saw.
 */
export function scenario(name: string, options: StageOptions, act: (stage: Stage) => Promise<void>): void {
  test(name, { timeout: 240_000 }, async (t) => {
    const closers: Closer[] = []
    // What was opened last is closed first: the folder goes when nobody writes to it any more.
    t.after(async () => {
      for (const close of closers.reverse()) await close()
    })
    const stage = await openStage(options, (close) => closers.push(close))
    try {
      await act(stage)
      onlyThePool(stage)
      for (const promise of stage.promises) await promise()
    } catch (error) {
      throw new Error(report(stage, error), { cause: error })
    }
  })
}

type Closer = () => Promise<void>

async function openStage(options: StageOptions, after: (close: Closer) => void): Promise<Stage> {
  const { config = {}, prepare, ...world } = options
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'codex-pool-real-')))
  after(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }))
  const outside = await openOutside()
  after(() => outside.close())
  const sim = await startSimulator({ upstreams: codeAssistCalls, ...world })
  after(() => sim.close())

  const poolDir = join(folder, 'pool')
  await mkdir(poolDir)
  await sim.writePool(poolDir)
  await prepare?.(sim, poolDir)
  const settings: UserConfig = { listen: '127.0.0.1:0', poolDir, database: join(folder, 'proxy.db') }
  const gateway = await createGateway(
    { ...settings, log: { level: 'silent' }, ...config },
    { env: { ...sim.environment }, cwd: folder },
  )
  after(() => gateway.close())
  const attempts: string[] = []
  gateway.on('attempt', ({ account, outcome }) => attempts.push(`${account} ${outcome}`))
  const server = await startServer(gateway)
  after(() => server.stop(0))
  return { sim, gateway, url: server.url, folder, outside, runs: [], promises: [], attempts }
}

function onlyThePool({ sim }: Stage): void {
  assert.deepEqual(sim.violations, [])
  const strangers = sim.requests.filter(({ account }) => account === undefined)
  assert.deepEqual(
    strangers.map(({ method, url }) => `${method} ${url}`),
    [],
    'requests without a credential of the pool',
  )
}
