import type { SocketProtocol, Verdict } from '../../config/provider.js'
import type { Account } from '../../src/accounts/account.js'
import type { Pool } from '../../src/accounts/pool.js'
import { available, fit } from '../../src/accounts/selection.js'
import type { Exchange } from '../exchange.js'

export interface Refused {
  readonly exchange: Exchange
  readonly account: Account
  readonly pool: Pool
  /** Of the response that was refused. */
  readonly model: string | undefined
}

/** What the client gets in place of an account's refusal; `undefined`: the refusal itself. */
export type Instead = { readonly message: unknown; readonly comesAgain: boolean } | undefined

/**
 * Over HTTP another account would be asked now. Here the client has to send everything once more, and is told what
 * makes it do so by itself, also after output: then it throws away what it has got. Whoever can serve it by then is
 * found by its next handshake, which also has the words for a pool that only rests.
 */
export function instead(protocol: SocketProtocol, { kind }: Verdict, refused: Refused): Instead {
  const { exchange, account, pool, model } = refused
  if (kind === 'pass' || kind === 'unavailable' || kind === 'repair') return undefined
  if (exchange.matched.retry.attempts === 1) return undefined
  const now = pool.now()
  const fitting = fit(pool.accounts.of(account.provider), exchange.provider, exchange)
  const again: Instead = { message: protocol.reconnect, comesAgain: true }
  if (kind === 'refused') {
    const others = available(fitting, new Set([account]), model, now)
    return others.some((other) => !other.refuses(model, now)) ? again : undefined
  }
  const usable = fitting.filter((one) => !one.loginNeeded && !one.disabled)
  if (usable.length === 0 || !usable.every((one) => one.state(now, model) === 'exhausted')) return again
  const resets = usable.flatMap((one) => one.resetsAt(now, model) ?? [])
  const resetsAt = resets.length > 0 ? Math.min(...resets) : undefined
  return { message: protocol.exhausted({ resetsAt, plan: account.plan, model }), comesAgain: false }
}
