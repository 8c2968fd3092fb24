import type { ClientRequest, SocketProtocol, Verdict } from '../../config/provider.js'
import type { Account } from '../../src/accounts/account.js'
import { available, fit } from '../../src/accounts/selection.js'
import type { Pool } from '../../src/pool/pool.js'
import { boundKey } from '../auth-injection.js'
import type { Exchange } from '../exchange.js'
import type { Turn } from './turn.js'

export interface WatchParts {
  readonly exchange: Exchange
  readonly account: Account
  readonly pool: Pool
  /** A response begins; its lease and its record are the caller's. */
  readonly begin: (told: { model?: string | undefined; counts: boolean }) => Turn
  /** Sends the upstream a message that the client has not sent. */
  readonly ask: (message: string) => void
  /** The client has been told to come again: this connection has done its work. */
  readonly onMoved: () => void
}

/** Reads what passes on one WebSocket, and puts in the few words of our own. */
export class SocketWatch {
  readonly #protocol: SocketProtocol | undefined
  #turn: Turn | undefined
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
    const message = this.#protocol && !binary ? parsed(data) : undefined
    const told = message === undefined ? undefined : this.#protocol!.begins(message)
    if (!told) return data
    this.#turn?.end(undefined)
    this.#turn = this.parts.begin(told)
    const own = this.#withoutForeign(message)
    this.#asked = own
    return own === message ? data : JSON.stringify(own)
  }

  /** What another account issued stays here. */
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
    // Once output has begun most messages are deltas: their type alone is looked at.
    if ((!turn || turn.output) && !protocol.reads.has(typeOf(data))) return data
    const message = parsed(data)
    if (message === undefined) return data
    this.#learn(protocol, message)
    const verdict = this.#judge(message)
    if (verdict?.kind === 'repair' && this.#askAgain(verdict.body)) return undefined
    const { exchange, account, pool } = this.parts
    const other =
      verdict && replacementMessage(protocol, verdict, { exchange, account, pool, model: turn?.model })
    if (protocol.ends(message)) this.#endTurn(message)
    if (other?.comesAgain) this.parts.onMoved()
    if (other) return JSON.stringify(other.message)
    const rewritten = protocol.withPoolQuota?.(message, pool.forAnswers(account.provider), pool.now())
    return rewritten === undefined || rewritten === message ? data : JSON.stringify(rewritten)
  }

  #learn(protocol: SocketProtocol, message: unknown): void {
    const { exchange, account, pool } = this.parts
    const quota = protocol.quota?.(message)
    if (quota) pool.observe(account, quota, 'headers')
    for (const [name, value] of Object.entries(protocol.bound?.(message) ?? {}))
      pool.issued.set(boundKey(exchange, name, value), account.key)
  }

  /** What a message says about the account, which is remembered. */
  #judge(message: unknown): Verdict | undefined {
    const verdict = this.parts.exchange.provider.classifyEvent?.(message, this.#asRequest())
    if (verdict === 'output') {
      if (this.#turn) this.#turn.output = true
      this.#asked = undefined
      return undefined
    }
    if (verdict === undefined || verdict.kind === 'pass' || verdict.kind === 'repair') return verdict
    this.#remember(verdict)
    this.#turn?.refuse(`${verdict.kind}: ${verdict.reason}`)
    return verdict
  }

  /** The message that is being answered, in the form of a request. */
  #asRequest(): ClientRequest {
    const { method, url, path, prefix, headers, client } = this.parts.exchange
    return { method, url, path, prefix, headers, client, json: () => this.#asked }
  }

  /** Without what only another account can read; once. */
  #askAgain(repaired: unknown): boolean {
    if (this.#asked === undefined || this.parts.exchange.route.retry.attempts === 1) return false
    this.#asked = undefined
    this.parts.ask(JSON.stringify(repaired))
    return true
  }

  #remember(verdict: Verdict): void {
    const { account, pool } = this.parts
    // The handshake's headers name the model of its time, and the client may have changed it since.
    const model = this.#turn?.model
    const renamed = verdict.kind === 'refused' && verdict.model !== undefined && model !== undefined
    void pool.applyVerdict(account, renamed ? { ...verdict, model } : verdict)
  }

  #endTurn(message: unknown): void {
    const { exchange, account, pool } = this.parts
    const turn = this.#turn
    if (!turn) return
    this.#turn = undefined
    this.#asked = undefined
    const usage = exchange.provider.usage?.(message)
    if (usage && !turn.refused) pool.succeeded(account, turn.model)
    turn.end(usage)
  }

  /** The connection is over. */
  close(): void {
    this.#turn?.end(undefined)
    this.#turn = undefined
  }
}

function parsed(data: Buffer): unknown {
  try {
    return JSON.parse(data.toString('utf8'))
  } catch {
    return undefined
  }
}

/** The type stands first; to look for it further on would be to read the whole of a large message. */
function typeOf(data: Buffer): string {
  return /"type"\s*:\s*"([^"]+)"/.exec(data.toString('latin1', 0, 256))?.[1] ?? ''
}

export interface Refused {
  readonly exchange: Exchange
  readonly account: Account
  readonly pool: Pool
  /** Of the response that was refused. */
  readonly model: string | undefined
}

/** What the client gets in place of an account's refusal; `undefined`: the refusal itself. */
export type Replacement = { readonly message: unknown; readonly comesAgain: boolean } | undefined

/**
 * Over HTTP another account would be asked now. Here the client has to send everything once more, and is told what
 * makes it do so by itself, also after output: then it throws away what it has got. Whoever can serve it by then is
 * found by its next handshake, which also has the words for a pool that only rests.
 */
export function replacementMessage(
  protocol: SocketProtocol,
  { kind }: Verdict,
  refused: Refused,
): Replacement {
  const { exchange, account, pool, model } = refused
  if (kind === 'pass' || kind === 'unavailable' || kind === 'repair') return undefined
  if (exchange.route.retry.attempts === 1) return undefined
  const now = pool.now()
  const fitting = fit(pool.accounts.of(account.provider), exchange.provider, exchange)
  const again: Replacement = { message: protocol.reconnect, comesAgain: true }
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
