import assert from 'node:assert/strict'
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ConfigError } from '../../../src/index.js'
import { loadConfig } from '../../../config/index.js'
import type { Order, Told } from './gateway.js'
import { mutate } from './mutate.js'
import { Random } from './random.js'
import {
  ANSWERS,
  CONFIGS,
  CREDENTIALS,
  GOOD_ANSWER,
  LOGIN,
  QUESTION,
  REQUESTS,
  SOCKETS,
  UPSTREAM_FRAMES,
} from './seeds.js'
import { RawUpstream } from './upstream.js'

export interface FuzzFigures {
  readonly cases: Readonly<Record<Kind, number>>
  /** Connections that were still open after {@link END_MS}. */
  readonly withoutEnd: number
  readonly goodRequests: number
  /** After a tenth of the cases and at the end; MB, after a collection. */
  readonly heapMB: readonly [early: number, late: number]
}

const KINDS = ['request', 'answer', 'socket', 'credential', 'config'] as const
type Kind = (typeof KINDS)[number]

/** Every connection must have ended by then: the timeouts of the gateway under test are shorter; ms. */
const END_MS = 6_000
/** After so many cases a good request must be answered right. */
const CHECK_EVERY = 25
/** Cases that run at the same time. */
const LANES = 8

/** Throws mutated requests, answers, frames and files at a gateway in a process of its own. */
export async function runFuzz({ cases, seed }: { cases: number; seed: number }): Promise<FuzzFigures> {
  const fuzzed = await FuzzedGateway.start()
  const random = new Random(seed)
  const counts: Record<Kind, number> = { request: 0, answer: 0, socket: 0, credential: 0, config: 0 }
  let withoutEnd = 0
  let goodRequests = 0
  let early = 0
  try {
    for (let done = 0; done < cases; done += LANES) {
      const lanes = Array.from({ length: LANES }, () => {
        const kind = random.of(KINDS)
        counts[kind]++
        return fuzzed.try(kind, random)
      })
      for (const ended of await Promise.all(lanes)) if (!ended) withoutEnd++
      if (done % CHECK_EVERY < LANES) {
        await fuzzed.answersRight(`seed ${seed}, about case ${done}`)
        goodRequests++
      }
      if (early === 0 && done >= cases / 10) early = await fuzzed.heapMB()
    }
    await fuzzed.answersRight(`seed ${seed}, at the end`)
    return {
      cases: counts,
      withoutEnd,
      goodRequests: goodRequests + 1,
      heapMB: [early, await fuzzed.heapMB()],
    }
  } finally {
    await fuzzed.stop()
  }
}

/** A gateway in a process of its own, its upstreams, and its folder. */
class FuzzedGateway {
  #url = ''

  private constructor(
    private readonly dir: string,
    private readonly process: ChildProcess,
    private readonly upstream: RawUpstream,
    private readonly steady: RawUpstream,
  ) {}

  static async start(): Promise<FuzzedGateway> {
    const dir = await mkdtemp(join(tmpdir(), 'codex-pool-fuzz-'))
    const [upstream, steady] = [new RawUpstream(GOOD_ANSWER), new RawUpstream(GOOD_ANSWER)]
    await mkdir(join(dir, 'pool'))
    for (const id of ['a', 'b', 'c']) {
      await writeFile(join(dir, 'pool', `plain_${id}.json`), JSON.stringify({ token: `token-of-${id}` }))
      await writeFile(join(dir, 'pool', `${id}.json`), JSON.stringify(LOGIN).replaceAll('fuzz', `fuzz-${id}`))
    }
    await writeFile(join(dir, 'pool', 'steady_one.json'), JSON.stringify({ token: 'steady-token' }))
    const config = join(dir, 'codex-pool.config.json')
    await writeFile(config, JSON.stringify(configOf(await upstream.listen(), await steady.listen())))
    const script = join(import.meta.dirname, 'gateway.js')
    const process = fork(script, [config], {
      cwd: dir,
      execArgv: ['--expose-gc'],
      env: { PATH: '', HOME: dir },
    })
    const fuzzed = new FuzzedGateway(dir, process, upstream, steady)
    fuzzed.#url = (await fuzzed.#told('listening')).url
    return fuzzed
  }

  /** One case; whether its connection ended in time. */
  async try(kind: Kind, random: Random): Promise<boolean> {
    switch (kind) {
      case 'request':
        return this.#send(mutate(random.of(REQUESTS), random))
      case 'socket':
        this.upstream.frames(mutate(random.of(UPSTREAM_FRAMES), random))
        return this.#send(random.below(2) === 0 ? random.of(SOCKETS) : mutate(random.of(SOCKETS), random))
      case 'answer':
        this.upstream.answer(mutate(random.of(ANSWERS), random), 3)
        return this.#send(random.of(REQUESTS))
      case 'credential':
        return this.#readCredential(random)
      case 'config':
        return readConfig(mutate(random.of(CONFIGS), random), this.dir)
    }
  }

  /** The gateway still lives, and serves. */
  async answersRight(when: string): Promise<void> {
    assert.equal(this.process.exitCode ?? this.process.signalCode, null, `the gateway has ended: ${when}`)
    const answer = await fetch(`${this.#url}/steady/responses`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: QUESTION,
      signal: AbortSignal.timeout(END_MS),
    })
    assert.equal(answer.status, 200, when)
    assert.match(await answer.text(), /"delta":"yes"/, when)
  }

  async heapMB(): Promise<number> {
    this.#order({ kind: 'memory' })
    return Math.round((await this.#told('memory')).heapMB * 10) / 10
  }

  async stop(): Promise<void> {
    if (this.process.connected) this.#order({ kind: 'stop' })
    if (this.process.exitCode === null && this.process.signalCode === null) await once(this.process, 'exit')
    this.upstream.close()
    this.steady.close()
    await rm(this.dir, { recursive: true, force: true })
  }

  /** Sends bytes as they are; whether the gateway ended the connection in time. */
  #send(bytes: Buffer): Promise<boolean> {
    const { hostname, port } = new URL(this.#url)
    return new Promise((resolve) => {
      const socket = net.connect(Number(port), hostname)
      const late = setTimeout(() => {
        resolve(false)
        socket.destroy()
      }, END_MS)
      socket.on('error', () => {})
      socket.once('close', () => {
        clearTimeout(late)
        resolve(true)
      })
      socket.resume()
      socket.write(bytes)
      // A client that has said all it had to say; what is cut off in its middle is not waited for any more.
      socket.end()
    })
  }

  async #readCredential(random: Random): Promise<boolean> {
    const [name, content] = random.of(CREDENTIALS)
    await writeFile(join(this.dir, 'pool', name), mutate(Buffer.from(JSON.stringify(content)), random))
    this.#order({ kind: 'reload' })
    await this.#told('reloaded')
    const { status } = await fetch(`${this.#url}/admin/accounts`, { signal: AbortSignal.timeout(END_MS) })
    assert.equal(status, 200, `/admin/accounts after a mutated ${name}`)
    return true
  }

  #order(order: Order): void {
    this.process.send(order)
  }

  #told<K extends Told['kind']>(kind: K): Promise<Extract<Told, { kind: K }>> {
    return new Promise((resolve, reject) => {
      const onMessage = (told: Told) => {
        if (told.kind !== kind) return
        stop()
        resolve(told as Extract<Told, { kind: K }>)
      }
      const onExit = (code: number | null) => {
        stop()
        reject(new Error(`the gateway has ended with status ${code}`))
      }
      const stop = () => this.process.off('message', onMessage).off('exit', onExit)
      this.process.on('message', onMessage).on('exit', onExit)
    })
  }
}

function configOf(upstream: string, steady: string): object {
  return {
    listen: '127.0.0.1:0',
    poolDir: './pool',
    database: './data/proxy.db',
    watch: false,
    quotaPollMs: 0,
    log: { level: 'silent' },
    providers: {
      codex: {
        codexHome: false,
        responsesBase: upstream,
        whamBase: upstream,
        refreshBase: upstream,
        openaiBase: upstream,
      },
      gemini: { upstream, refreshBase: upstream },
      'gemini-api-key': { upstream },
      plain: { type: 'bearer', upstream },
      steady: { type: 'bearer', upstream: steady },
    },
    retry: { default: { connectTimeoutMs: 1_000, headersTimeoutMs: 1_000, idleTimeoutMs: 1_000 } },
    routes: [
      { path: '/plain', provider: 'plain' },
      { path: '/steady', provider: 'steady' },
    ],
  }
}

/** A configuration either loads or is refused in words. */
async function readConfig(bytes: Buffer, dir: string): Promise<boolean> {
  const file = join(dir, 'mutant.config.json')
  await writeFile(file, bytes)
  await loadConfig({ file, cwd: dir, env: {}, ownModules: {} }).catch((error: unknown) => {
    if (!(error instanceof ConfigError)) throw error
  })
  return true
}
