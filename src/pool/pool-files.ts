import { OLD_MS, sweepLeftovers } from '../credentials/credential-file.js'
import { Watcher } from '../credentials/watcher.js'
import type { Pool } from './pool.js'

export interface PoolFilesOptions {
  readonly pool: Pool
  readonly onScanned?: () => void
  readonly onError: (error: Error) => void
  readonly warn: (message: string) => void
}

/** Keeps the accounts in step with the files of the pool folder, and with the clients' own copies of logins. */
export class PoolFiles {
  #sweeping: NodeJS.Timeout | undefined
  #watcher = new Watcher(
    () => void this.#changed().catch(this.options.onError),
    (reason) => this.options.warn(`the pool folder cannot be watched (${reason}): it is looked at every 2 s`),
  )

  constructor(private readonly options: PoolFilesOptions) {}

  async open(): Promise<void> {
    await this.#sweep()
    // Repeated, since a file that a killed process has just left looks like a write that still runs.
    this.#sweeping = setInterval(() => void this.#sweep().catch(this.options.onError), OLD_MS).unref()
    await this.scan()
    // The start does not wait for this: another gateway may hold a lock for a while.
    this.#reconcileAll().catch(this.options.onError)
  }

  async scan(): Promise<void> {
    const { accounts, settings } = this.options.pool
    const { config, providers } = settings()
    // The watch begins first: a change during the scan would be missed.
    if (config.watch) await this.#watcher.watch({ poolDir: config.poolDir, clientFiles: this.#clientFiles() })
    await accounts.scan(config.poolDir, providers, config.accounts)
    // A new login in a file brings an account back.
    for (const account of accounts.all()) this.options.pool.noteState(account)
    this.options.onScanned?.()
  }

  #sweep(): Promise<void> {
    return sweepLeftovers(this.options.pool.settings().config.poolDir, this.#clientFiles())
  }

  #clientFiles(): string[] {
    const { providers } = this.options.pool.settings()
    return [...providers.values()].flatMap(({ clientFiles = [] }) => clientFiles)
  }

  async #changed(): Promise<void> {
    await this.scan()
    const { accounts, tokens } = this.options.pool
    await tokens.retain(accounts.all())
    await this.#reconcileAll()
  }

  async #reconcileAll(): Promise<void> {
    const { accounts, tokens } = this.options.pool
    await Promise.all(accounts.all().map((account) => tokens.reconcile(account)))
  }

  async close(): Promise<void> {
    clearInterval(this.#sweeping)
    await this.#watcher.close()
  }
}
