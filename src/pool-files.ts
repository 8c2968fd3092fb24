import { sweepLeftovers } from './accounts/leftovers.js'
import type { Pool } from './accounts/pool.js'
import { Watcher } from './accounts/watcher.js'
import type { Settings } from './settings.js'

export interface PoolFilesOptions {
  readonly pool: Pool
  readonly settings: () => Settings
  readonly onError: (error: Error) => void
}

/** Keeps the accounts in step with the files of the pool folder, and with the clients' own copies of logins. */
export class PoolFiles {
  #watcher = new Watcher(() => void this.#changed().catch(this.options.onError))

  constructor(private readonly options: PoolFilesOptions) {}

  async open(): Promise<void> {
    await sweepLeftovers(this.options.settings().config.poolDir)
    await this.scan()
  }

  async scan(): Promise<void> {
    const { config, providers } = this.options.settings()
    await this.options.pool.accounts.scan(config.poolDir, providers)
    const twins = [...providers.values()].flatMap((provider) => provider.twins ?? [])
    if (config.watch) await this.#watcher.watch({ poolDir: config.poolDir, twins })
  }

  async #changed(): Promise<void> {
    await this.scan()
    const { pool, settings } = this.options
    const { providers } = settings()
    const copied = pool.accounts
      .all()
      .filter(({ provider }) => (providers.get(provider)?.twins?.length ?? 0) > 0)
    await Promise.all(copied.map((account) => pool.tokens.lookAround(account)))
  }

  close(): Promise<void> {
    return this.#watcher.close()
  }
}
