import type { SocketProtocol, Usage } from '../../config/provider.js'
import type { Account } from '../../src/accounts/account.js'
import type { Pool } from '../../src/pool/pool.js'
import type { Exchange } from '../exchange.js'
import { CLIENT_LEFT, type MetricsOptions, recordTokens, requestEvent, requestRecord } from '../metrics.js'

/** Two connected sockets that belong to one account. */
export interface Connection {
  readonly exchange: Exchange
  readonly account: Account
  /** The one that the upstream accepted at the handshake. */
  readonly credential: object
  readonly pool: Pool
}

/** What a message tells of the response that it asks for. */
export type Told = NonNullable<ReturnType<SocketProtocol['begins']>>

/** One response on a WebSocket, from the client's request for it to its end. */
export class Turn {
  output = false
  refused: string | undefined
  readonly model: string | undefined
  readonly #startedAt = Date.now()
  #firstByteAt: number | undefined
  #release: () => void
  #attempts = 1

  constructor(
    private on: Connection & MetricsOptions,
    private readonly number: number,
    private readonly told: Told,
  ) {
    this.model = told.model ?? on.exchange.model
    this.#release = on.account.lease(this.model, on.pool.now())
  }

  firstByte(): void {
    this.#firstByteAt ??= Date.now()
  }

  /** Goes on with another account. */
  moveTo(connection: Connection & MetricsOptions, releaseHandshake: () => void): void {
    this.#release()
    // In one step with the lease below: a waiting request would find room in between.
    releaseHandshake()
    this.on = connection
    this.refused = undefined
    this.#attempts++
    this.#release = connection.account.lease(this.model, connection.pool.now())
  }

  /** Releases the account and writes the record. A warm-up is no use of the account. */
  end(usage: Usage | undefined): void {
    this.#release()
    if (!this.told.counts) return
    const { exchange, account, metrics, ledger, events } = this.on
    if (usage) recordTokens(metrics, account.id, usage)
    if (usage && !this.refused) account.count(this.model, usage)
    const status = usage ? 200 : this.refused ? 429 : CLIENT_LEFT
    const id = `${exchange.id}-${this.number}`
    const times = { startedAt: this.#startedAt, firstByteAt: this.#firstByteAt }
    const record = {
      id,
      account: account.id,
      model: this.model,
      status,
      attempts: this.#attempts,
      ...times,
      usage,
    }
    ledger.record(requestRecord(exchange, record))
    const { path } = exchange
    events.emit('request', requestEvent(exchange, { ...record, method: 'WS', path, account: account.key }))
  }
}
