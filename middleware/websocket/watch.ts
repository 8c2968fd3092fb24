import type { SocketProtocol, Verdict } from '../../config/provider.js'
import type { Account } from '../../src/accounts/account.js'
import type { Pool } from '../../src/accounts/pool.js'
import { available, fit } from '../../src/accounts/selection.js'
import { boundKey } from '../auth-injection.js'
import type { Exchange } from '../exchange.js'
import type { Turn } from './turn.js'

export interface WatchParts {
  readonly exchange: Exchange
  readonly account: Account
  readonly pool: Pool
  /** A response begins; its lease and its record are the caller's. */
  readonly begin: (told: { model?: string | undefined; counts: boolean }) => Turn
  /** The client has been told to come again: this connection has done its work. */
  readonly onMoved: () => void
}

/** Reads what passes on one WebSocket, and puts in the few words of our own. */
export class SocketWatch {
  readonly #protocol: SocketProtocol | undefined
  #turn: Turn | undefined

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
    return this.#withoutForeign(message) ?? data
  }

  /** What another account issued stays here. */
  #withoutForeign(message: unknown): string | undefined {
    const { exchange, account, pool } = this.parts
    const foreign = Object.entries(this.#protocol!.bound?.(message) ?? {})
      .filter(([name, value]) => pool.pins.get(boundKey(exchange, name, value)) !== account.key)
      .map(([name]) => name)
    if (foreign.length === 0 || !this.#protocol!.withoutBound) return undefined
    return JSON.stringify(this.#protocol!.withoutBound(message, foreign))
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
    const instead = this.#judge(protocol, message)
    if (protocol.ends(message)) this.#endTurn(message)
    if (instead !== undefined) return JSON.stringify(instead)
    const rewritten = protocol.withPoolQuota?.(message, this.#poolAccounts(), this.parts.pool.now())
    return rewritten === undefined || rewritten === message ? data : JSON.stringify(rewritten)
  }

  #learn(protocol: SocketProtocol, message: unknown): void {
    const { exchange, account, pool } = this.parts
    const quota = protocol.quota?.(message)
    if (quota) pool.observe(account, quota, 'headers')
    for (const [name, value] of Object.entries(protocol.bound?.(message) ?? {}))
      pool.pins.set(boundKey(exchange, name, value), account.key)
  }

  /** What the client gets in place of a refusal. */
  #judge(protocol: SocketProtocol, message: unknown): unknown {
    const { exchange } = this.parts
    const verdict = exchange.provider.classifyEvent?.(message, exchange)
    if (verdict === undefined) return undefined
    if (verdict === 'output') {
      if (this.#turn) this.#turn.output = true
      return undefined
    }
    if (verdict.kind === 'pass') return undefined
    this.#remember(verdict)
    this.#turn?.refuse(`${verdict.kind}: ${verdict.reason}`)
    // After output the client has seen a part: it must hear of the end, and recovers by itself.
    if (this.#turn?.output || exchange.matched.retry.attempts === 1) return undefined
    return this.#instead(protocol, verdict)
  }

  #remember(verdict: Exclude<Verdict, { kind: 'pass' }>): void {
    const { account, pool } = this.parts
    if (verdict.kind === 'cooling' || verdict.kind === 'exhausted') pool.rest(account, verdict)
    if (verdict.kind === 'refused' && verdict.model !== undefined) pool.rest(account, verdict)
    if (verdict.kind === 'needs-login') pool.needsLogin(account, verdict.reason)
    if (verdict.kind === 'unauthorized') void pool.tokens.renew(account, account.credential)
  }

  #instead(protocol: SocketProtocol, verdict: Exclude<Verdict, { kind: 'pass' }>): unknown {
    if (verdict.kind === 'unavailable' || verdict.kind === 'repair') return undefined
    const { exchange, account, pool } = this.parts
    const now = pool.now()
    const model = this.#turn?.model
    const fitting = fit(pool.accounts.of(account.provider), exchange.provider, exchange)
    const others = available(fitting, new Set(), model, now).some((other) => !other.refuses(model, now))
    if (others) {
      this.parts.onMoved()
      return protocol.reconnect
    }
    const usable = fitting.filter((one) => !one.loginNeeded && !one.disabled)
    if (usable.length === 0 || !usable.every((one) => one.state(now, model) === 'exhausted')) return undefined
    const resets = usable.flatMap((one) => one.resetsAt(now, model) ?? [])
    return protocol.exhausted({
      resetsAt: resets.length > 0 ? Math.min(...resets) : undefined,
      plan: account.plan,
      model,
    })
  }

  #poolAccounts() {
    const { account, pool } = this.parts
    const now = pool.now()
    return pool.accounts.of(account.provider).map((one) => one.forAnswers(now))
  }

  #endTurn(message: unknown): void {
    const { exchange, account, pool } = this.parts
    const turn = this.#turn
    if (!turn) return
    this.#turn = undefined
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
