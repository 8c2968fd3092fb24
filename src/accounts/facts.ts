import { CredentialRejected, type CallContext, type Provider } from '../../config/provider.js'
import type { Account } from './account.js'

export interface FactsOptions {
  readonly provider: (name: string) => Provider | undefined
  readonly call: (provider: string, timeoutMs: number) => CallContext
  readonly now: () => number
}

/** Discovery may have to set the account up first, and then polls. */
const DISCOVERY_MS = 60_000

/** What a provider finds out once per account, such as its project. */
export class Facts {
  #flights = new Map<Account, Promise<string | undefined>>()

  constructor(private readonly options: FactsOptions) {}

  /** Makes sure that they are known. Returns why they cannot be had. */
  async ready(account: Account): Promise<string | undefined> {
    const provider = this.options.provider(account.provider)
    if (!provider?.discover || Object.keys(account.facts).length > 0) return undefined
    const running = this.#flights.get(account)
    if (running) return running
    const flight = this.#discover(account, provider).finally(() => this.#flights.delete(account))
    this.#flights.set(account, flight)
    return flight
  }

  async #discover(account: Account, provider: Provider): Promise<string | undefined> {
    try {
      const context = this.options.call(account.provider, DISCOVERY_MS)
      account.facts = await provider.discover!(account.forProvider(), context)
      return undefined
    } catch (error) {
      const reason = (error as Error).message
      if (error instanceof CredentialRejected) account.loginNeeded = { reason, since: this.options.now() }
      return reason
    }
  }
}
