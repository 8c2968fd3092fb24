import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ProviderEntry } from '../../../src/index.js'
import type { Simulator } from '../../../src/simulator/index.js'
import { turn, type PoolOptions } from '../../kit/pool.js'
import { frame, OUTPUT } from '../../kit/stream.js'

export type FrontName = 'codex' | 'gemini' | 'gemini-api-key' | 'bearer'

/** One provider as its client and its upstream see it. Its two accounts are called `a` and `b`. */
export interface Front {
  readonly name: FrontName
  /** Name in the configuration. */
  readonly provider: string
  /** What the simulator has and what the configuration says of it. `base` is the simulator, or what stands before it. */
  accounts(): Pick<PoolOptions, 'codex' | 'codexApiKeys' | 'gemini' | 'geminiApiKeys'>
  environment(base: string): Record<string, string>
  providers(base: string): Record<string, ProviderEntry>
  writeCredentials?(sim: Simulator, poolDir: string): Promise<unknown>
  readonly route: string
  /** What its client asks. */
  readonly path: string
  /** The request; `padding` makes it longer. */
  body(padding: string): object
  /** How the path ends at the upstream. */
  readonly upstreamPath: string
  readonly model: string
  /** Events that come before any output. */
  readonly beforeOutput: number
  /** Events after which an answer is on its way. */
  readonly untilOutput: number
  /** What a whole answer ends with. */
  readonly end: RegExp
  /** A whole answer, for faults that write it themselves. */
  readonly sample: string
  /** Whether errors come in Google's form. */
  readonly google: boolean
}

const pair = [{ id: 'a' }, { id: 'b' }]
const contents = (text: string) => [{ role: 'user', parts: [{ text }] }]
const GEMINI = 'gemini-2.5-pro'
const candidates = [{ content: { role: 'model', parts: [{ text: 'x' }] }, finishReason: 'STOP', index: 0 }]
const responses = OUTPUT + frame('response.completed', { response: { id: 'r', output: [], usage: null } })
const google = (event: object) => `data: ${JSON.stringify(event)}\r\n\r\n`

const codex: Front = {
  name: 'codex',
  provider: 'codex',
  accounts: () => ({ codex: pair }),
  environment: (base) => ({
    UPSTREAM_RESPONSES_BASE: `${base}/backend-api/codex`,
    UPSTREAM_WHAM_BASE: `${base}/backend-api`,
    UPSTREAM_REFRESH_BASE: base,
  }),
  providers: () => ({}),
  route: '/v1',
  path: '/v1/responses',
  body: (padding) => turn({ prompt: `hi${padding}` }),
  upstreamPath: '/codex/responses',
  model: 'gpt-5.5',
  beforeOutput: 1,
  untilOutput: 5,
  end: /response\.completed/,
  sample: responses,
  google: false,
}

const gemini: Front = {
  name: 'gemini',
  provider: 'gemini',
  accounts: () => ({ gemini: pair }),
  environment: (base) => ({ UPSTREAM_GEMINI_BASE: base, UPSTREAM_GEMINI_REFRESH_BASE: base }),
  providers: () => ({}),
  route: '/v1internal:',
  path: '/v1internal:streamGenerateContent?alt=sse',
  body: (padding) => ({
    model: GEMINI,
    project: 'codex-pool',
    user_prompt_id: 'prompt',
    request: { contents: contents(`hi${padding}`), session_id: 'session' },
  }),
  upstreamPath: ':streamGenerateContent',
  model: GEMINI,
  beforeOutput: 0,
  untilOutput: 1,
  end: /"finishReason":"STOP"/,
  sample: google({ response: { candidates }, traceId: 'trace' }),
  google: true,
}

const geminiApiKey: Front = {
  name: 'gemini-api-key',
  provider: 'gemini-api-key',
  accounts: () => ({ geminiApiKeys: pair }),
  environment: (base) => ({ UPSTREAM_GEMINI_API_BASE: base }),
  providers: () => ({}),
  route: '/v1beta',
  path: `/v1beta/models/${GEMINI}:streamGenerateContent?alt=sse`,
  body: (padding) => ({ contents: contents(`hi${padding}`) }),
  upstreamPath: ':streamGenerateContent',
  model: GEMINI,
  beforeOutput: 0,
  untilOutput: 1,
  end: /"finishReason":"STOP"/,
  sample: google({ candidates }),
  google: true,
}

/** A provider of the user's own, on an upstream that takes bearer tokens. */
const bearer: Front = {
  name: 'bearer',
  provider: 'mine',
  accounts: () => ({ codexApiKeys: pair }),
  environment: () => ({}),
  providers: (base) => ({ mine: { type: 'bearer', upstream: `${base}/openai/v1` } }),
  async writeCredentials(sim, poolDir) {
    await mkdir(poolDir, { recursive: true })
    for (const { id, key } of sim.codex.apiKeys)
      await writeFile(join(poolDir, `mine_${id}.json`), JSON.stringify({ token: key }), { mode: 0o600 })
  },
  route: '/mine',
  path: '/mine/responses',
  body: (padding) => turn({ prompt: `hi${padding}` }),
  upstreamPath: '/openai/v1/responses',
  model: 'gpt-5.5',
  // No function reads its events: any byte is output.
  beforeOutput: 0,
  untilOutput: 5,
  end: /response\.completed/,
  sample: responses,
  google: false,
}

export const fronts: readonly Front[] = [codex, gemini, geminiApiKey, bearer]
