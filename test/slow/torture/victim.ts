import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import type { PoolProcess } from './pool.js'

export interface VictimOptions {
  /** What the life that is called so gets. */
  readonly settings: (life: string) => PoolProcess
  /** Settles when a life is to end, counted from its begin. */
  readonly fate: (life: string) => Promise<unknown>
  /** It does nothing any more. */
  readonly onDeath: (life: string) => Promise<void>
}

/** A process that is killed and followed by the next, over and over. */
export class Victim {
  kills = 0
  readonly #children = new Set<ChildProcess>()

  constructor(
    private readonly name: string,
    private readonly options: VictimOptions,
  ) {}

  async run(signal: AbortSignal): Promise<void> {
    let next = this.#prepare()
    while (!signal.aborted) {
      const life = next
      await life.ready
      // Meanwhile the next one starts, so that most of the time is spent with dying.
      next = this.#prepare()
      await this.#live(life)
    }
    this.stop()
  }

  #prepare(): Life {
    const name = `${this.name}-${this.kills + this.#children.size}`
    const script = new URL('./pool.js', import.meta.url)
    const child = fork(script, [JSON.stringify(this.options.settings(name))])
    this.#children.add(child)
    const gone = once(child, 'exit').finally(() => this.#children.delete(child))
    return { name, child, gone, ready: Promise.race([once(child, 'message'), gone]) }
  }

  async #live({ name, child, gone }: Life): Promise<void> {
    const fate = this.options.fate(name)
    if (child.connected) child.send('live')
    await Promise.race([fate, gone])
    child.kill('SIGKILL')
    const [code, signal] = await gone
    if (signal !== 'SIGKILL') throw new Error(`${name} ended by itself, with ${code ?? signal}`)
    this.kills++
    await this.options.onDeath(name)
  }

  stop(): void {
    for (const child of this.#children) child.kill('SIGKILL')
  }
}

interface Life {
  readonly name: string
  readonly child: ChildProcess
  readonly gone: Promise<unknown[]>
  readonly ready: Promise<unknown>
}
