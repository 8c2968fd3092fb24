import { messageOf, withoutValuesOf } from '../../config/index.js'
import { type CallContext, CredentialRejected, type Provider } from '../../config/provider.js'
import type { Account } from '../accounts/account.js'
import type { Tokens } from '../refresh/tokens.js'

export interface FactsOptions {
  readonly provider: (name: string) => Provider | undefined
  readonly call: (provider: string, timeoutMs: number) => CallContext
  readonly tokens: Tokens
  readonly now: () => number
}

/** Discovery may have to set the account up first, and then polls. */
const DISCOVERY_MS = 60_000

/** After passing trouble the upstream is left alone for so long; ms. */
const PAUSE_MS = 10_000

/** What a provider finds out once per account, such as its project. */
export class Facts {
  #flights = new Map<Account, Promise<string | undefined>>()
  #failed = new Map<Account, { reason: string; until: number }>()

  constructor(private readonly options: FactsOptions) {}

  /** Makes sure that they are known. Returns why they cannot be had. */
  async ready(account: Account): Promise<string | undefined> {
    const provider = this.options.provider(account.provider)
    if (!provider?.discover || Object.keys(account.facts).length > 0) return undefined
    const failed = this.#failed.get(account)
    if (failed && failed.until > this.options.now()) return failed.reason
    const running = this.#flights.get(account)
    if (running) return running
    const flight = this.#find(account, provider).finally(() => this.#flights.delete(account))
    this.#flights.set(account, flight)
    return flight
  }

  async #find(account: Account, provider: Provider): Promise<string | undefined> {
    try {
      account.facts = await this.#discover(account, provider)
      this.#failed.delete(account)
      return undefined
    } catch (error) {
      const reason = withoutValuesOf(account.credential, messageOf(error))
      if (error instanceof CredentialRejected) account.loginNeeded = { reason, since: this.options.now() }
      else this.#failed.set(account, { reason, until: this.options.now() + PAUSE_MS })
      return reason
    }
  }

  /** With a fresh token, if the one at hand is refused. */
  async #discover(account: Account, provider: Provider): Promise<Record<string, string>> {
    const { credential } = account
    const discover = () =>
      provider.discover!(account.forProvider(), this.options.call(account.provider, DISCOVERY_MS))
    try {
      return await discover()
    } catch (error) {
      if ((error as { status?: unknown }).status !== 401) throw error
      if ((await this.options.tokens.renew(account, credential)).kind !== 'fresh') throw error
      return discover()
    }
  }
}
