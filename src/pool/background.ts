import type { ResolvedConfig } from '../../config/config.js'
import type { Account } from '../accounts/account.js'
import type { Tokens } from '../refresh/tokens.js'

export interface BackgroundOptions {
  readonly tokens: Tokens
  readonly accounts: () => readonly Account[]
  readonly settings: () => Pick<ResolvedConfig, 'refresh' | 'quotaPollMs'>
  readonly pollQuota: (account: Account) => Promise<void>
  readonly now: () => number
}

const TICK_MS = 1_000

/** Work that no request waits for: tokens refreshed before they end, quota polled, unsaved logins written. */
export class Background {
  #timer: NodeJS.Timeout | undefined
  #lastRefresh = new Map<string, number>()
  #nextPoll = new Map<Account, number>()
  #running = new Set<Promise<unknown>>()

  constructor(private readonly options: BackgroundOptions) {}

  start(): void {
    this.#timer = setInterval(() => this.tick(), TICK_MS).unref()
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await Promise.allSettled(this.#running)
  }

  tick(): void {
    const now = this.options.now()
    const accounts = this.options.accounts()
    for (const account of accounts)
      if (account.unsaved || account.unshared) this.#run(this.options.tokens.reconcile(account))
    for (const account of mostUrgent(accounts, this.options.tokens)) this.#refresh(account, now)
    if (this.options.settings().quotaPollMs > 0) for (const account of accounts) this.#poll(account, now)
  }

  /** Lets every account's quota be polled within seconds. */
  pollSoon(): void {
    this.#nextPoll.clear()
  }

  #refresh(account: Account, now: number): void {
    if ((this.options.tokens.dueAt(account) ?? Infinity) > now) return
    // Accounts of one provider share an OAuth client; a burst of refreshes has cost whole logins.
    const { spacingMs } = this.options.settings().refresh
    if (now - (this.#lastRefresh.get(account.provider) ?? 0) < spacingMs) return
    this.#lastRefresh.set(account.provider, now)
    this.#run(this.options.tokens.refresh(account))
  }

  #poll(account: Account, now: number): void {
    const due = this.#nextPoll.get(account)
    // The first poll comes within seconds, but not for all accounts at once.
    if (due === undefined) this.#nextPoll.set(account, now + Math.random() * TICK_MS * 5)
    if (due === undefined || due > now || account.loginNeeded || account.disabled) return
    this.#nextPoll.set(account, now + this.options.settings().quotaPollMs * (0.8 + Math.random() * 0.4))
    this.#run(this.options.pollQuota(account))
  }

  #run(work: Promise<unknown>): void {
    const settled = work.catch(() => {}).finally(() => this.#running.delete(settled))
    this.#running.add(settled)
  }
}

/** Of each provider the account whose token ends first. */
function mostUrgent(accounts: readonly Account[], tokens: Tokens): Account[] {
  const first = new Map<string, { account: Account; dueAt: number }>()
  for (const account of accounts) {
    const dueAt = tokens.dueAt(account)
    if (dueAt === undefined || dueAt >= (first.get(account.provider)?.dueAt ?? Infinity)) continue
    first.set(account.provider, { account, dueAt })
  }
  return [...first.values()].map(({ account }) => account)
}
