import type { Usage } from '../../config/provider.js'
import type { Account } from '../../src/accounts/account.js'
import type { Pool } from '../../src/pool/pool.js'
import type { Exchange } from '../exchange.js'
import { recordTokens, type MetricsOptions } from '../metrics.js'

/** One response on a WebSocket, from the client's request for it to its end. */
export class Turn {
  output = false
  refused: string | undefined
  readonly model: string | undefined
  readonly #startedAt = Date.now()
  #firstByteAt: number | undefined
  readonly #release: () => void

  constructor(
    private readonly to: {
      exchange: Exchange
      account: Account
      pool: Pool
      number: number
    } & MetricsOptions,
    private readonly told: { model?: string | undefined; counts: boolean },
  ) {
    this.model = told.model ?? to.exchange.model
    this.#release = to.account.lease(this.model, to.pool.now())
  }

  firstByte(): void {
    this.#firstByteAt ??= Date.now()
  }

  refuse(reason: string): void {
    this.refused = reason
  }

  /** Releases the account and writes the record. A warm-up is no use of the account. */
  end(usage: Usage | undefined): void {
    this.#release()
    if (!this.told.counts) return
    const { exchange, account, metrics, ledger, number } = this.to
    const { route, client, conversationKey } = exchange
    if (usage) recordTokens(metrics, account.id, usage)
    ledger.record({
      id: `${exchange.id}-${number}`,
      at: this.#startedAt,
      provider: route.providerName,
      account: account.id,
      route: route.path,
      model: this.model,
      conversation: conversationKey,
      client,
      status: usage ? 200 : this.refused ? 429 : 499,
      attempts: 1,
      durationMs: Date.now() - this.#startedAt,
      firstByteMs: this.#firstByteAt === undefined ? undefined : this.#firstByteAt - this.#startedAt,
      usage,
    })
  }
}
