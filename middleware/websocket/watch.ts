import { parseJson, tooDeep } from '../../config/index.js'
import type { ClientRequest, SocketProtocol, Usage, Verdict } from '../../config/provider.js'
import type { Account } from '../../src/accounts/account.js'
import { available, exhaustionOf, fit } from '../../src/accounts/selection.js'
import type { Pool } from '../../src/pool/pool.js'
import { boundKey } from '../auth-injection.js'
import type { Exchange } from '../exchange.js'
import { GatewayFailure } from '../failure.js'
import { CLIENT_LEFT, type MetricsOptions, recordTokens, requestRecord } from '../metrics.js'

/** Two connected sockets that belong to one account. */
export interface Connection {
  readonly exchange: Exchange
  readonly account: Account
  /** The one that the upstream accepted at the handshake. */
  readonly credential: object
  readonly pool: Pool
}

/** One response on a WebSocket, from the client's request for it to its end. */
class Turn {
  output = false
  refused: string | undefined
  readonly model: string | undefined
  readonly #startedAt = Date.now()
  #firstByteAt: number | undefined
  readonly #release: () => void

  constructor(
    private readonly on: Connection & MetricsOptions,
    private readonly number: number,
    private readonly told: { readonly model?: string | undefined; readonly counts: boolean },
  ) {
    this.model = told.model ?? on.exchange.model
    this.#release = on.account.lease(this.model, on.pool.now())
  }

  firstByte(): void {
    this.#firstByteAt ??= Date.now()
  }

  /** Releases the account and writes the record. A warm-up is no use of the account. */
  end(usage: Usage | undefined): void {
    this.#release()
    if (!this.told.counts) return
    const { exchange, account, metrics, ledger } = this.on
    if (usage) recordTokens(metrics, account.id, usage)
    const status = usage ? 200 : this.refused ? 429 : CLIENT_LEFT
    const id = `${exchange.id}-${this.number}`
    const times = { startedAt: this.#startedAt, firstByteAt: this.#firstByteAt }
    const record = { id, account: account.id, model: this.model, status, attempts: 1, ...times, usage }
    ledger.record(requestRecord(exchange, record))
  }
}

export interface WatchParts extends Connection, MetricsOptions {
  /** Sends the upstream a message that the client has not sent. */
  readonly ask: (message: string) => void
  /** The client has been told to connect again: this connection is no longer needed. */
  readonly onMoved: () => void
}

/** Reads the messages of one WebSocket, and replaces the few that must not pass as they are. */
export class SocketWatch {
  readonly #protocol: SocketProtocol | undefined
  #turn: Turn | undefined
  #turns = 0
  /** The client's message that began the response, while it may have to be sent once more. */
  #asked: unknown

  constructor(private readonly parts: WatchParts) {
    this.#protocol = parts.exchange.provider.socket
  }

  /** Whether a response runs. */
  get busy(): boolean {
    return this.#turn !== undefined
  }

  fromClient(data: Buffer, binary: boolean): Buffer | string {
    const message = this.#protocol && !binary ? parsedOf(data) : undefined
    const told = message === undefined ? undefined : this.#protocol!.begins(message)
    if (!told) return data
    this.#turn?.end(undefined)
    this.#turn = new Turn(this.parts, ++this.#turns, told)
    const own = this.#withoutForeign(message)
    this.#asked = own
    return own === message ? data : JSON.stringify(own)
  }

  /** A value that another account issued must not reach this one. */
  #withoutForeign(message: unknown): unknown {
    const { exchange, account, pool } = this.parts
    const foreign = Object.entries(this.#protocol!.bound?.(message) ?? {})
      .filter(([name, value]) => pool.issued.get(boundKey(exchange, name, value)) !== account.key)
      .map(([name]) => name)
    if (foreign.length === 0 || !this.#protocol!.withoutBound) return message
    return this.#protocol!.withoutBound(message, foreign) ?? message
  }

  fromUpstream(data: Buffer, binary: boolean): Buffer | string | undefined {
    const protocol = this.#protocol
    if (!protocol || binary) return data
    const turn = this.#turn
    turn?.firstByte()
    // Once output has begun most messages are deltas: only their type is read.
    if ((!turn || turn.output) && !protocol.reads.has(typeOf(data))) return data
    const message = parseJson(data.toString('utf8'))
    if (message === undefined) return data
    this.#note(protocol, message)
    const verdict = this.#judge(message)
    if (verdict?.kind === 'repair' && this.#askAgain(verdict.body)) return undefined
    const { account, pool } = this.parts
    const other = verdict && replacementMessage(protocol, verdict, this.parts, turn?.model)
    if (protocol.ends(message)) this.#endTurn(message)
    if (other?.reconnects) this.parts.onMoved()
    if (other) return JSON.stringify(other.message)
    const rewritten = protocol.withPoolQuota?.(message, pool.forAnswers(account.provider), pool.now())
    return rewritten === undefined || rewritten === message ? data : JSON.stringify(rewritten)
  }

  /** Keeps the quota and the bound values that a message tells. */
  #note(protocol: SocketProtocol, message: unknown): void {
    const { exchange, account, pool } = this.parts
    const quota = protocol.quota?.(message)
    if (quota) pool.observe(account, quota, 'headers', this.parts.credential)
    for (const [name, value] of Object.entries(protocol.bound?.(message) ?? {}))
      pool.issued.set(boundKey(exchange, name, value), account.key)
  }

  /** The verdict in a message; applied to the account. */
  #judge(message: unknown): Verdict | undefined {
    const verdict = this.parts.exchange.provider.classifyEvent?.(message, this.#asRequest())
    if (verdict === 'output') {
      if (this.#turn) this.#turn.output = true
      this.#asked = undefined
      return undefined
    }
    if (verdict === undefined || verdict.kind === 'pass' || verdict.kind === 'repair') return verdict
    this.#apply(verdict)
    if (this.#turn) this.#turn.refused = `${verdict.kind}: ${verdict.reason}`
    return verdict
  }

  /** The message that is being answered, in the form of a request. */
  #asRequest(): ClientRequest {
    const { method, url, path, prefix, headers, client } = this.parts.exchange
    return { method, url, path, prefix, headers, client, json: () => this.#asked }
  }

  /** Sends the request once more, without the parts that only another account can read. */
  #askAgain(repaired: unknown): boolean {
    if (this.#asked === undefined || this.parts.exchange.route.retry.attempts === 1) return false
    this.#asked = undefined
    this.parts.ask(JSON.stringify(repaired))
    return true
  }

  #apply(verdict: Verdict): void {
    const { account, credential, pool } = this.parts
    // The handshake's headers name the model of its time; the client may have changed it since.
    const model = this.#turn?.model
    const renamed = verdict.kind === 'refused' && verdict.model !== undefined && model !== undefined
    void pool.applyVerdict(account, renamed ? { ...verdict, model } : verdict, credential)
  }

  #endTurn(message: unknown): void {
    const { exchange, account, pool } = this.parts
    const turn = this.#turn
    if (!turn) return
    this.#turn = undefined
    this.#asked = undefined
    const usage = exchange.provider.usage?.(message)
    if (usage && !turn.refused) pool.succeeded(account, turn.model, this.parts.credential)
    turn.end(usage)
  }

  /** The connection is over. */
  close(): void {
    this.#turn?.end(undefined)
    this.#turn = undefined
  }
}

/** A client's message. One that could be read by the upstream alone would slip past the rules about its parts. */
function parsedOf(data: Buffer): unknown {
  const text = data.toString('utf8')
  if (tooDeep(text)) throw new GatewayFailure(400, 'bad_json', 'the message is nested too deeply')
  return parseJson(text)
}

/** The type stands first in a message; a search beyond its beginning would read the whole of a large one. */
function typeOf(data: Buffer): string {
  return /"type"\s*:\s*"([^"]+)"/.exec(data.toString('latin1', 0, 256))?.[1] ?? ''
}

/** The message that the client gets in place of an account's refusal; `undefined`: the refusal itself. */
type Replacement = { readonly message: unknown; readonly reconnects: boolean } | undefined

/**
 * Over HTTP another account would be asked now. Here the client must send everything once more. It is told what makes
 * it connect again by itself, even after output, which it then drops. Its next handshake finds an account, or answers
 * for a pool that is cooling.
 */
function replacementMessage(
  protocol: SocketProtocol,
  verdict: Verdict,
  { exchange, account, pool }: Connection,
  model: string | undefined,
): Replacement {
  const { kind } = verdict
  if (kind === 'pass' || kind === 'unavailable' || kind === 'repair') return undefined
  if (exchange.route.retry.attempts === 1) return undefined
  const now = pool.now()
  const fitting = fit(pool.accounts.of(account.provider), exchange.provider, exchange)
  const reconnect: Replacement = { message: protocol.reconnect, reconnects: true }
  if (kind === 'refused') {
    const others = available(fitting, new Set([account]), model, now)
    if (others.some((other) => !other.refuses(model, now))) return reconnect
    return verdict.instead && { message: verdict.instead.body, reconnects: false }
  }
  const exhaustion = exhaustionOf(fitting, model, now)
  if (!exhaustion) return reconnect
  return { message: protocol.exhausted({ ...exhaustion, plan: account.plan }), reconnects: false }
}
