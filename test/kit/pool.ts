import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import supertest from 'supertest'
import {
  createGateway,
  startServer,
  type AccountReport,
  type Gateway,
  type GatewayOptions,
  type RunningServer,
  type UserConfig,
} from '../../src/index.js'
import { field, startSimulator, type Simulator, type SimulatorOptions } from '../../src/simulator/index.js'
import { noSecretIsSeen, watchLogs } from './secret-watch.js'

// Without this, a proxy in the developer's environment would get the requests to the simulator.
process.env.no_proxy = '*'
watchLogs()

/** The client's own login in all tests. The kit fails a test if a part of it reaches an upstream. */
export const CLIENT = { token: 'the-clients-own-token', accountId: 'acct-of-the-client' }

export interface PoolOptions extends SimulatorOptions {
  config?: UserConfig
  env?: GatewayOptions['env']
  /** Hands `config` over as a file, `DIR/codex-pool.config.json`. @default false */
  asFile?: boolean
  /** Keeps state in `DIR/data/proxy.db`, for what must outlive a restart. @default false */
  onDisk?: boolean
  /** Runs once the pool's files are written and before the gateway reads them. */
  prepare?: (pool: { sim: Simulator; poolDir: string }) => unknown
}

export interface AskOptions {
  path?: string
  model?: string
  prompt?: string
  headers?: Record<string, string>
  /** More fields of the body. */
  body?: object
}

/** Starts a gateway with a simulator, each on a free port; both are closed when the test ends. */
export async function startPool(t: TestContext, options: PoolOptions = {}): Promise<TestPool> {
  const { config, env, asFile = false, onDisk = false, prepare, ...simulated } = options
  const end: (() => Promise<unknown>)[] = []
  t.after(async () => {
    for (const step of end.reverse()) await step()
  })
  const dir = await mkdtemp(join(tmpdir(), 'codex-pool-'))
  end.push(() => rm(dir, { recursive: true, force: true }))
  const sim = await startSimulator(simulated)
  sim.forbid(CLIENT.token)
  sim.forbid(CLIENT.accountId)
  end.push(() => sim.close())
  const poolDir = join(dir, 'pool')
  await sim.writePool(poolDir)
  await prepare?.({ sim, poolDir })
  const settings: UserConfig = {
    listen: '127.0.0.1:0',
    poolDir,
    database: onDisk && join(dir, 'data', 'proxy.db'),
    quotaPollMs: 0,
    watch: false,
    log: { level: 'debug' },
    // Room for ten thousand takes longer to make than most tests to run.
    pins: { max: 100 },
    ...config,
  }
  const configFile = join(dir, 'codex-pool.config.json')
  if (asFile) await writeFile(configFile, JSON.stringify(settings))
  const pool = new TestPool(sim, dir, asFile ? configFile : settings, settings, {
    env: { ...sim.environment, CODEX_HOME: join(dir, 'codex-home'), ...env },
    cwd: dir,
  })
  end.push(() => pool.stop())
  await pool.start()
  end.push(async () => {
    assert.deepEqual(sim.violations, [], 'something reached an upstream that must not')
    assert.equal(sim.issuer.reuses, 0, 'a spent refresh token was presented')
    await noSecretIsSeen(pool)
  })
  return pool
}

export class TestPool {
  gateway!: Gateway
  server!: RunningServer

  constructor(
    readonly sim: Simulator,
    /** Holds `pool/` and `data/`. */
    readonly dir: string,
    private readonly config: UserConfig | string,
    /** What the gateway was started with. A change applies from the next reload, if it was not handed over as a file. */
    readonly settings: UserConfig,
    private readonly options: GatewayOptions,
  ) {}

  async start(): Promise<void> {
    this.gateway = await createGateway(this.config, this.options)
    this.server = await startServer(this.gateway)
  }

  async stop(): Promise<void> {
    await this.server?.stop(0)
    await this.gateway?.close()
  }

  /** Stops it and starts it again with the same folders. `meanwhile` runs while it is down. */
  async restart(meanwhile?: () => unknown): Promise<void> {
    await this.stop()
    await meanwhile?.()
    await this.start()
  }

  get url(): string {
    return this.server.url
  }

  get request() {
    return supertest(this.url)
  }

  /** Path of a file of the pool. */
  file(id: string): string {
    return join(this.dir, 'pool', `${id}.json`)
  }

  /** One turn of Codex in a session (none: `undefined`), with the headers and the body that it sends. */
  ask(session: string | undefined, options: AskOptions = {}): supertest.Test {
    const { path = '/v1/responses', headers, body } = options
    const named = session === undefined ? {} : { 'session-id': session, 'thread-id': session }
    return this.request
      .post(path)
      .set({ ...clientHeaders(), accept: 'text/event-stream', ...named, ...headers })
      .timeout(PATIENCE_MS)
      .send({ ...turn(options), ...body })
  }

  /** Which accounts the model was asked on so far, by id and in order. */
  asked(): (string | undefined)[] {
    return this.sim.requests.filter(({ kind }) => kind === 'codex').map(({ account }) => account)
  }

  /** Asks, and says which account served it. */
  async servedBy(session: string | undefined, options?: AskOptions): Promise<string | undefined> {
    const response = await this.ask(session, options)
    assert.equal(response.status, 200, response.text)
    return this.asked().at(-1)
  }

  /** What `/admin/accounts` says about one account. */
  async account(id: string): Promise<AccountReport> {
    const { body } = await this.request.get('/admin/accounts').expect(200)
    const found = (body.accounts as AccountReport[]).find((account) => account.id === id)
    return found ?? assert.fail(`/admin/accounts does not know ${id}`)
  }
}

export function clientHeaders(): Record<string, string> {
  return {
    authorization: `Bearer ${CLIENT.token}`,
    'chatgpt-account-id': CLIENT.accountId,
    originator: 'codex_exec',
    'user-agent': 'codex_exec/0.169.0 (Debian 12.0.0; x86_64) xterm (codex_exec; 0.169.0)',
  }
}

export function turn({ model = 'gpt-5.5', prompt = 'hi' }: AskOptions = {}): object {
  const input = [{ type: 'message', role: 'user', content: [{ type: 'input_text', text: prompt }] }]
  const instructions = 'You are a coding agent.'
  return {
    model,
    instructions,
    stream: true,
    store: false,
    input,
    tool_choice: 'auto',
    parallel_tool_calls: true,
  }
}

/** The events of a stream: the parsed `data:` of each. */
export function eventsOf(text: string): unknown[] {
  return text.split('\n').flatMap((line) => (line.startsWith('data: ') ? [JSON.parse(line.slice(6))] : []))
}

/** What the model has said in a stream. */
export function saidIn(text: string): unknown {
  const done = eventsOf(text).find((event) => field(event, 'type') === 'response.output_item.done')
  return field(done, 'item', 'content', 0, 'text')
}

/** The code of an error of the gateway's own. */
export function codeOf(body: unknown): unknown {
  return field(body, 'error', 'code')
}

/**
 * Stops the clock that the gateway, the simulator and their tokens go by, and lets the test set it. Timers run on.
 * Call it before {@link startPool}.
 */
export function stopClock(t: TestContext): { readonly now: number; advance: (ms: number) => void } {
  let now = Date.now()
  t.mock.method(Date, 'now', () => now)
  return {
    get now() {
      return now
    },
    advance: (ms) => void (now += ms),
  }
}

/** Longer than any test waits unless something is broken; ms. */
const PATIENCE_MS = 20_000

/** Fails the test instead of hanging the run if a promise does not settle. */
export async function within<T>(waiting: Promise<T>): Promise<T> {
  const late = new AbortController()
  const limit = delay(PATIENCE_MS, undefined, { signal: late.signal }).then(() =>
    assert.fail('waited in vain'),
  )
  try {
    return await Promise.race([waiting, limit])
  } finally {
    late.abort()
    limit.catch(() => {})
  }
}

/** Polls until `holds` is true, for what no event tells. */
export async function until(holds: () => unknown): Promise<void> {
  // Not by `Date.now`, which may stand still.
  for (const start = performance.now(); !(await holds()); await delay(5))
    assert.ok(performance.now() - start < PATIENCE_MS, 'waited in vain')
}

/** Asks accounts in the order of their names, so that a test knows which account meets a fault. */
export const inOrder: UserConfig = {
  strategies: { 'in-order': (accounts) => accounts[0] },
  routes: [{ path: '/v1', provider: 'codex', strategy: { sticky: 'in-order' } }],
}
