import { OLD_MS, sweepLeftovers } from '../credentials/leftovers.js'
import { Watcher } from '../credentials/watcher.js'
import type { Pool, PoolSettings } from './pool.js'

export interface PoolFilesOptions {
  readonly pool: Pool
  readonly settings: () => PoolSettings
  readonly onScanned?: () => void
  readonly onError: (error: Error) => void
}

/** Keeps the accounts in step with the files of the pool folder, and with the clients' own copies of logins. */
export class PoolFiles {
  #tidying: NodeJS.Timeout | undefined
  #watcher = new Watcher(() => void this.#changed().catch(this.options.onError))

  constructor(private readonly options: PoolFilesOptions) {}

  async open(): Promise<void> {
    await this.#tidy()
    this.#tidying = setInterval(() => void this.#tidy().catch(this.options.onError), OLD_MS).unref()
    await this.scan()
    // Not waited for: another gateway may hold a lock for a while.
    void this.#lookAfterAll()
  }

  async scan(): Promise<void> {
    const { config, providers } = this.options.settings()
    // First, so that no change falls between the reading and the watching.
    if (config.watch) await this.#watcher.watch({ poolDir: config.poolDir, twins: this.#twins() })
    await this.options.pool.accounts.scan(config.poolDir, providers)
    this.options.onScanned?.()
  }

  /** What was left by a kill a moment ago is too young to be told from a write that runs. */
  #tidy(): Promise<void> {
    return sweepLeftovers(this.options.settings().config.poolDir, this.#twins())
  }

  #twins(): string[] {
    return [...this.options.settings().providers.values()].flatMap(({ clientFiles: twins = [] }) => twins)
  }

  async #changed(): Promise<void> {
    await this.scan()
    const { accounts, tokens } = this.options.pool
    await tokens.retain(accounts.all())
    await this.#lookAfterAll()
  }

  async #lookAfterAll(): Promise<void> {
    const { accounts, tokens } = this.options.pool
    await Promise.all(accounts.all().map((account) => tokens.reconcile(account)))
  }

  async close(): Promise<void> {
    clearInterval(this.#tidying)
    await this.#watcher.close()
  }
}
