import { isDeepStrictEqual } from 'node:util'
import { messageOf, redact, rememberGiven } from '../../config/index.js'
import { type CallContext, CredentialRejected, type Provider, type Verdict } from '../../config/provider.js'
import type { Account } from '../accounts/account.js'
import type { TokenResult } from '../refresh/tokens.js'

export interface FactsOptions {
  readonly provider: (name: string) => Provider | undefined
  readonly call: (account: Account, timeoutMs: number) => CallContext
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

/** So long after new facts, an error may still be about the old ones; ms. */
const LATE_MS = 60_000

/** Finds out the facts that a provider needs once per account, such as its project. */
export class Facts {
  #discoveries = new Map<Account, Promise<string | undefined>>()
  #failed = new Map<Account, { reason: string; until: number }>()
  /** The accounts whose facts were asked for again after the upstream had refused them, and what came of it. */
  #askedAgain = new WeakMap<Account, { at: number; changed: Promise<boolean> }>()

  constructor(private readonly options: FactsOptions) {}

  /**
   * Makes sure that the account's facts are known. After a change of the file they are asked for again.
   * @returns why they cannot be found out
   */
  async ready(account: Account): Promise<string | undefined> {
    const provider = this.options.provider(account.provider)
    const known = Object.keys(account.facts).length > 0
    if (!provider?.discover || (known && !account.factsDoubted)) return undefined
    // The file has changed, so a refusal of the facts may be doubted once more.
    if (account.factsDoubted) this.#askedAgain.delete(account)
    const failed = this.#failed.get(account)
    const reason =
      failed && failed.until > this.options.now() ? failed.reason : await this.#find(account, provider)
    // Facts that cannot be asked for now are better than none.
    return known && !account.loginNeeded ? undefined : reason
  }

  /**
   * Called after the upstream has refused a fact that `discover` found. Asks once more, and then not again before the
   * account's file changes, a restart or a retry.
   * @returns whether the facts are others now, so that the request can be sent again
   */
  async doubt(account: Account): Promise<boolean> {
    const provider = this.options.provider(account.provider)
    if (!provider?.discover) return false
    const before = this.#askedAgain.get(account)
    // A request that was sent with the old facts may be refused only now.
    if (before) return (await before.changed) && this.options.now() - before.at < LATE_MS
    const { facts } = account
    const changed = this.#find(account, provider).then(
      (trouble) => trouble === undefined && !isDeepStrictEqual(account.facts, facts),
    )
    this.#askedAgain.set(account, { at: this.options.now(), changed })
    return changed
  }

  /** Lets the facts be asked for again, whatever has failed. */
  forgetTrouble(account: Account): void {
    this.#askedAgain.delete(account)
    this.#failed.delete(account)
  }

  #find(account: Account, provider: Provider): Promise<string | undefined> {
    const running = this.#discoveries.get(account)
    if (running) return running
    const started = this.#ask(account, provider).finally(() => this.#discoveries.delete(account))
    this.#discoveries.set(account, started)
    return started
  }

  async #ask(account: Account, provider: Provider): Promise<string | undefined> {
    account.factsDoubted = false
    try {
      account.facts = await this.#discover(account, provider)
      rememberGiven(account, account.facts)
      this.#failed.delete(account)
      this.options.found(account)
      return undefined
    } catch (error) {
      const reason = redact(messageOf(error))
      if (error instanceof CredentialRejected)
        await this.options.applyVerdict(account, { kind: 'needs-login', reason }, account.credential)
      else this.#failed.set(account, { reason, until: this.options.now() + PAUSE_MS })
      return reason
    }
  }

  /** Calls the provider; if the token at hand is refused, once more with a new one. */
  async #discover(account: Account, provider: Provider): Promise<Record<string, string>> {
    const { credential } = account
    const discover = () => provider.discover!(account.forProvider(), this.options.call(account, DISCOVERY_MS))
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
