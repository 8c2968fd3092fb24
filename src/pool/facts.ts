import { messageOf, withoutValuesOf } from '../../config/index.js'
import { type CallContext, CredentialRejected, type Provider, type Verdict } from '../../config/provider.js'
import type { Account } from '../accounts/account.js'
import type { TokenResult } from '../refresh/tokens.js'

export interface FactsOptions {
  readonly provider: (name: string) => Provider | undefined
  readonly call: (provider: string, timeoutMs: number) => CallContext
  readonly applyVerdict: (
    account: Account,
    verdict: Verdict,
    credential: object,
  ) => Promise<TokenResult | undefined>
  /** Saves an account whose facts are new. */
  readonly found: (account: Account) => void
  readonly now: () => number
}

/** A discovery may have to set the account up first and then poll until that is done; ms. */
const DISCOVERY_MS = 60_000

/** After passing trouble the upstream is not asked for this long; ms. */
const PAUSE_MS = 10_000

/** Finds out what a provider needs to know once per account, such as its project. */
export class Facts {
  #discoveries = new Map<Account, Promise<string | undefined>>()
  #failed = new Map<Account, { reason: string; until: number }>()

  constructor(private readonly options: FactsOptions) {}

  /** Makes sure that the account's facts are known. @returns why they cannot be found out */
  async ready(account: Account): Promise<string | undefined> {
    const provider = this.options.provider(account.provider)
    if (!provider?.discover || Object.keys(account.facts).length > 0) return undefined
    const failed = this.#failed.get(account)
    if (failed && failed.until > this.options.now()) return failed.reason
    const running = this.#discoveries.get(account)
    if (running) return running
    const started = this.#find(account, provider).finally(() => this.#discoveries.delete(account))
    this.#discoveries.set(account, started)
    return started
  }

  async #find(account: Account, provider: Provider): Promise<string | undefined> {
    const { credential } = account
    try {
      account.facts = await this.#discover(account, provider)
      this.#failed.delete(account)
      this.options.found(account)
      return undefined
    } catch (error) {
      const reason = withoutValuesOf(credential, messageOf(error))
      if (error instanceof CredentialRejected)
        await this.options.applyVerdict(account, { kind: 'needs-login', reason }, account.credential)
      else this.#failed.set(account, { reason, until: this.options.now() + PAUSE_MS })
      return reason
    }
  }

  /** Calls the provider; if the token at hand is refused, once more with a new one. */
  async #discover(account: Account, provider: Provider): Promise<Record<string, string>> {
    const { credential } = account
    const discover = () =>
      provider.discover!(account.forProvider(), this.options.call(account.provider, DISCOVERY_MS))
    try {
      return await discover()
    } catch (error) {
      if ((error as { status?: unknown }).status !== 401) throw error
      const verdict: Verdict = { kind: 'unauthorized', reason: messageOf(error) }
      if ((await this.options.applyVerdict(account, verdict, credential))?.kind !== 'fresh') throw error
      return discover()
    }
  }
}
