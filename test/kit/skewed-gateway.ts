import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { startSimulator, type Simulator, type SimulatorOptions } from '../../src/simulator/index.js'
import { clientHeaders, turn } from './pool.js'

export interface SkewedGateway {
  readonly sim: Simulator
  /** One turn of Codex; its status. */
  ask(): Promise<number>
  issuerCalls(): number
}

/** `codex-pool` in a process whose clock is wrong by `skewMs`, over a simulator whose clock is right. */
export async function skewedGateway(
  t: TestContext,
  skewMs: number,
  options: SimulatorOptions,
): Promise<SkewedGateway> {
  const dir = await mkdtemp(join(tmpdir(), 'codex-pool-skewed-'))
  const sim = await startSimulator(options)
  await sim.writePool(join(dir, 'pool'))
  const main = fileURLToPath(new URL('../../src/cli/bin.js', import.meta.url))
  const child = spawn(process.execPath, ['--import', shifted(skewMs), main, '--listen', '127.0.0.1:0'], {
    cwd: dir,
    env: { PATH: process.env.PATH, ...sim.environment, CODEX_HOME: dir, no_proxy: '*' },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.after(async () => {
    child.kill('SIGKILL')
    await sim.close()
    await rm(dir, { recursive: true, force: true, maxRetries: 5 })
  })
  let said = ''
  while (!/listening on \S+\n/.test(said)) said += String((await once(child.stdout, 'data'))[0])
  const [, url] = /listening on (\S+)/.exec(said)!
  return {
    sim,
    issuerCalls: () => sim.requests.filter(({ kind }) => kind === 'issuer').length,
    async ask() {
      const headers = { ...clientHeaders(), 'content-type': 'application/json' }
      const response = await fetch(`${url}/v1/responses`, {
        method: 'POST',
        headers,
        body: JSON.stringify(turn()),
      })
      await response.text()
      return response.status
    },
  }
}

/** A module that puts every clock of a process forward. */
function shifted(ms: number): string {
  const source = `const Real = Date
    globalThis.Date = class Date extends Real {
      constructor(...given) { given.length === 0 ? super(Real.now() + ${ms}) : super(...given) }
      static now() { return Real.now() + ${ms} }
    }`
  return `data:text/javascript,${encodeURIComponent(source)}`
}
