import type { CallContext } from '../../config/provider.js'
import type { AccountStore } from '../accounts/account-store.js'
import type { Account } from '../accounts/account.js'
import { Tokens } from '../refresh/tokens.js'
import type { Events } from '../telemetry/events.js'
import { Accounts } from '../accounts/accounts.js'
import { Background } from './background.js'
import { deadline } from './deadline.js'
import { Facts } from './facts.js'
import { Pool, type PoolSettings } from './pool.js'

export interface PoolContext {
  readonly settings: () => PoolSettings
  readonly memory: AccountStore
  readonly network: { fetch(proxy: string | undefined): typeof globalThis.fetch }
  readonly events: Events
  /** Aborts when the gateway closes. */
  readonly closing: AbortSignal
  readonly now: () => number
}

/** After this a quota poll is given up; ms. */
const POLL_MS = 15_000

/** Puts the pool together from its parts. Everything in it outlives a reload of the config. */
export function assemblePool({ settings, memory, network, events, closing, now }: PoolContext): {
  pool: Pool
  background: Background
} {
  const provider = (name: string) => settings().providers.get(name)
  const call = (name: string, timeoutMs: number): CallContext => ({
    fetch: network.fetch(settings().config.providers[name]?.proxy),
    signal: deadline(timeoutMs, closing),
  })
  const save = (account: Account) => memory.saveAccount(account)
  const accounts = new Accounts(memory)
  const tokens = new Tokens({
    provider,
    // A refresh that has begun is not broken off when the gateway closes: its answer would be lost.
    call: (name, timeoutMs) => ({ ...call(name, timeoutMs), signal: deadline(timeoutMs) }),
    settings: () => settings().config.refresh,
    spent: memory.spent,
    onRefresh: (account, outcome) => {
      save(account)
      events.emit('refresh', { account: account.key, outcome })
    },
    now,
  })
  const facts = new Facts({ provider, call, tokens, now })
  const pins = memory.openPins('pin', settings().config.pins, now)
  const issued = memory.openPins('issued', settings().config.pins, now)
  const pool = new Pool({ accounts, tokens, facts, pins, issued, events, save, now })

  const pollQuota = async (account: Account) => {
    const definition = provider(account.provider)
    if (
      !definition?.pollQuota ||
      (await tokens.ready(account)).kind !== 'fresh' ||
      (await facts.ready(account)) !== undefined
    )
      return
    const quota = await definition.pollQuota(account.forProvider(), call(account.provider, POLL_MS))
    if (quota) pool.observe(account, quota, 'poll')
  }
  const background = new Background({
    tokens,
    accounts: () => accounts.all(),
    spacingMs: () => settings().config.refresh.spacingMs,
    quotaPollMs: () => settings().config.quotaPollMs,
    pollQuota,
    now,
  })
  return { pool, background }
}
