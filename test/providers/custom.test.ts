import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type { ClientRequest, CustomSettings, UserConfig } from '../../config/index.js'
import { startPool } from '../kit/pool.js'

class Base {
  readonly type = 'custom'
  /** Not a member of a provider: a class may have fields of its own. */
  calls = 0
  #upstream: string

  constructor(upstream: string) {
    this.#upstream = upstream
  }

  get upstream(): string {
    return this.#upstream
  }

  get credentials(): string {
    return 'classy_*.json'
  }

  authorize({ credential }: Parameters<CustomSettings['authorize']>[0]): Record<string, string> {
    return { authorization: this.#bearer(credential['key']) }
  }

  #bearer(key: string): string {
    return `Bearer ${key}`
  }
}

class Classy extends Base {
  path({ url }: ClientRequest): string {
    this.calls += 1
    return url.replace('/classy', '')
  }
}

test('a provider that is an instance of a class works with its methods, getters and private fields', async (t) => {
  const config: UserConfig = { providers: {}, routes: [{ path: '/classy', provider: 'classy' }] }
  let classy: Classy | undefined
  const pool = await startPool(t, {
    codexApiKeys: [{ id: 'openai' }],
    config,
    prepare: async ({ sim, poolDir }) => {
      const { OPENAI_API_KEY: key } = sim.codex.apiKeys[0]!.authJson()
      classy = new Classy(sim.environment['UPSTREAM_OPENAI_BASE']!)
      config.providers!['classy'] = classy
      await writeFile(join(poolDir, 'classy_a.json'), JSON.stringify({ key }), { mode: 0o600 })
    },
  })
  await pool.request.post('/classy/responses').send({ model: 'gpt-5.5', stream: true, input: [] }).expect(200)
  assert.ok(classy!.calls > 0)
})
