import { kept, redact } from '../../config/index.js'
import type { AccountState } from '../../config/provider.js'
import type { Stores } from '../usage/ledger.js'
import type { Log } from './log.js'
import type { Accounts } from '../accounts/accounts.js'

export interface HealthReport {
  readonly status: 'ok' | 'degraded'
  readonly uptimeSeconds: number
  readonly accounts: {
    readonly total: number
    /** By provider, then by state. */
    readonly byProvider: Readonly<Record<string, Partial<Record<AccountState, number>>>>
  }
  /** The problems of this moment, in words. */
  readonly problems: readonly string[]
  readonly recentErrors: readonly { readonly at: string; readonly message: string }[]
}

const REMEMBERED_ERRORS = 20
/** Characters. */
const LONGEST_ERROR = 1_000

export interface HealthOptions {
  readonly accounts: Accounts
  /** Why the last reload kept the old configuration. */
  readonly configProblem: () => string | undefined
  readonly stores: Stores
  readonly log: Log
  readonly now: () => number
}

/** The report of `/healthz`. */
export class Health {
  readonly #startedAt = Date.now()
  #errors: { at: string; message: string }[] = []

  constructor(private readonly options: HealthOptions) {}

  error(message: string): void {
    this.#errors.push({ at: new Date().toISOString(), message: kept(redact(message), LONGEST_ERROR) })
    this.#errors.splice(0, this.#errors.length - REMEMBERED_ERRORS)
  }

  report(): HealthReport {
    const byProvider: Record<string, Partial<Record<AccountState, number>>> = {}
    const { accounts, now } = this.options
    for (const account of accounts.all()) {
      const states = (byProvider[account.provider] ??= {})
      const state = account.state(now())
      states[state] = (states[state] ?? 0) + 1
    }
    const problems = this.#problems()
    return {
      status: problems.length > 0 ? 'degraded' : 'ok',
      uptimeSeconds: Math.floor((Date.now() - this.#startedAt) / 1000),
      accounts: { total: accounts.all().length, byProvider },
      problems,
      recentErrors: this.#errors,
    }
  }

  #problems(): string[] {
    const { accounts, configProblem, stores, log, now } = this.options
    const files = [...accounts.skipped, ...accounts.warnings].map(({ file, reason }) => `${file}: ${reason}`)
    const logins: string[] = []
    const unwritten: string[] = []
    for (const { id, loginNeeded, unsaved, unshared } of accounts.all()) {
      if (loginNeeded) logins.push(`${id}: needs a new login: ${loginNeeded.reason}`)
      if (unsaved)
        unwritten.push(
          `${id}: its refreshed login is in memory only, the file cannot be written (${unsaved})`,
        )
      if (unshared) unwritten.push(`${id}: ${unshared}`)
    }
    const refused = accounts.all().flatMap((account) =>
      account
        .cooldowns()
        .filter(({ model, cooldown: { kind, until, resetsAt } }) => {
          // A quota comes back by itself; a plan or a payment that has ended needs the person.
          return kind === 'exhausted' && model === undefined && resetsAt === undefined && until > now()
        })
        .map(({ cooldown }) => `${account.id}: is not served: ${cooldown.reason}`),
    )
    const empty = accounts.all().length === 0 ? ['the pool has no account'] : []
    const silence = log.failing()
    const silent =
      silence === undefined ? [] : [`the log is silent, its lines cannot be written (${silence})`]
    const own = [configProblem() ?? [], silent, stores.failing()].flat()
    return [...empty, ...own, ...unwritten, ...logins, ...refused, ...files].map((problem) => redact(problem))
  }
}
