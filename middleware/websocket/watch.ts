import { excessOf, MOST_VALUES, parseJson } from '../../config/index.js'
import type { Answer, ClientRequest, SocketProtocol, Verdict } from '../../config/provider.js'
import { fit, free, mayStay } from '../../src/accounts/selection.js'
import { boundKey } from '../auth-injection.js'
import { typeIn } from '../events.js'
import type { Exchange } from '../exchange.js'
import { failureAnswer, failureOf, GatewayFailure } from '../failure.js'
import { type FailureOptions, finalAnswer } from '../final-answer.js'
import type { MetricsOptions } from '../metrics.js'
import { homeOfResources, rememberMade, resourcesOf } from '../resources.js'
import { Tries } from '../tries.js'
import { findConversation, pin, pinOf } from '../stickiness.js'
import { FirstEvents } from '../usage-tap.js'
import type { Parsed } from './relay.js'
import { replacementMessage } from './replacement.js'
import { type Connection, type Told, Turn } from './turn.js'

export interface WatchParts extends Connection, MetricsOptions, FailureOptions {
  /** Sends the upstream a message that the client has not sent. */
  readonly ask: (message: string) => void
  /** Sends the client a message. */
  readonly tell: (message: Buffer | string) => void
  /** Messages of both ends wait, until `resume` or a `move`. */
  readonly pause: () => void
  readonly resume: () => void
  /**
   * Connects to another account, after a verdict, if there is one, that has been applied to this one. Messages of both ends
   * wait meanwhile. `undefined` if no account can be had.
   */
  readonly move: (
    verdict: Verdict | undefined,
    model: string | undefined,
    tries: Tries,
  ) => Promise<Moved | undefined>
  /** The client has been told to connect again: this connection is no longer needed. */
  readonly onMoved: () => void
}

export interface Moved extends Pick<Connection, 'account' | 'credential'> {
  /** Ends the lease of the handshake. */
  readonly release: () => void
}

/** Bytes of messages without output that are held back. */
const LONGEST_PRELUDE = 1024 * 1024
/** A third of the 300 s after which Codex gives a silent connection up; ms. */
const LONGEST_SILENCE_MS = 100_000

/** Reads the messages of one WebSocket, and replaces the few that must not pass as they are. */
export class SocketWatch {
  readonly #protocol: SocketProtocol | undefined
  #parts: WatchParts
  #turn: Turn | undefined
  #turns = 0
  /** The model that the client named last. */
  #model: string | undefined
  /** The client's message that began the response, while it may have to be sent once more; as it came. */
  #asked: unknown
  /** Whether the handshake names the conversation; else each message is looked at. */
  readonly #isNamed: boolean
  /** The first messages of the answer, for a conversation that is recognised by what its requests repeat. */
  #first: FirstEvents | undefined
  /** What the accounts have met that were asked for this response. */
  #tries = new Tries()
  /** Messages before output that the client has not got; `undefined` once it gets them. */
  #held: Buffer[] | undefined
  #timer: NodeJS.Timeout | undefined
  /** Types of messages that were output. */
  readonly #harmless = new Set<string>()
  /** Aborts when the connection is over. */
  readonly #gone = new AbortController()

  constructor(parts: WatchParts) {
    this.#parts = parts
    this.#protocol = protocolOf(parts.exchange)
    this.#isNamed = parts.exchange.conversation !== undefined
  }

  /** Whether a response runs. */
  get busy(): boolean {
    return this.#turn !== undefined
  }

  fromClient(data: Buffer, binary: boolean, large?: Parsed): Buffer | string | undefined {
    const message = this.#mayAsk(data, binary) ? parsedOf(data, large) : undefined
    const told = message === undefined ? undefined : this.#protocol!.begins(message)
    if (!told) return data
    this.#model = told.model ?? this.#model
    this.#turn?.end(undefined)
    this.#turn = undefined
    this.#asked = message
    this.#tries = new Tries()
    this.#findConversation()
    if (this.#goesHome(told) || this.#followsConversation(told)) return undefined
    if (!this.#parts.account.hasRoom) {
      this.#waitForRoom(told).catch(this.#parts.onUnexpected)
      return undefined
    }
    const own = this.#begin(told)
    return own === message ? data : JSON.stringify(own)
  }

  /** Begins a response. @returns the message that asks the upstream for it */
  #begin(told: Told): unknown {
    const { exchange, account, pool } = this.#parts
    this.#turn = new Turn(this.#parts, ++this.#turns, told)
    if (!this.#isNamed) pin(exchange, account, pool)
    this.#first = exchange.trail && new FirstEvents()
    this.#hold()
    return this.#withoutForeign(this.#asked)
  }

  /** Has the response made by the account that has what the message names, if that is not the account of this connection. */
  #goesHome(told: Told): boolean {
    const { exchange, account, pool, onUnexpected } = this.#parts
    exchange.resources = resourcesOf(exchange, { ...this.#asRequest(), method: 'POST' })
    try {
      exchange.home = homeOfResources(exchange, pool.accounts.of(account.provider), pool.resources)
    } catch (error) {
      this.#fail(failureAnswer(failureOf(error as Error, onUnexpected), exchange))
      return true
    }
    const home = exchange.home?.account
    if (!home || home === account) return false
    const all = [home]
    const nowhere = () => this.#fail(finalAnswer(exchange, { fitting: all, all }, undefined, pool.now()))
    this.#moveTo(told, nowhere).catch(onUnexpected)
    return true
  }

  /**
   * Where the handshake names no conversation, a message may. Has the response made by the account that served it last, if
   * that is not the account of this connection and can be asked.
   */
  #followsConversation(told: Told): boolean {
    const { exchange, account, pool, ask, onUnexpected } = this.#parts
    const pinned = this.#isNamed || exchange.home ? undefined : pinOf(exchange, pool)
    if (pinned === undefined || pinned === account.key) return false
    const now = pool.now()
    const all = pool.accounts.of(account.provider)
    const able = free(fit(all, exchange.provider, exchange), new Set(), told.model, now)
    const home = able.find(({ key }) => key === pinned)
    if (!home || !mayStay(home, able, told.model, now)) return false
    this.#moveTo(told, () => ask(JSON.stringify(this.#begin(told)))).catch(onUnexpected)
    return true
  }

  /** Connects to the account of what the message names. `otherwise` runs if that cannot be had. */
  async #moveTo(told: Told, otherwise: () => void): Promise<void> {
    const { exchange } = this.#parts
    const moved = await this.#parts.move(undefined, told.model ?? exchange.model, this.#tries)
    moved?.release()
    if (this.#gone.signal.aborted) return
    if (!moved) return otherwise()
    this.#parts = { ...this.#parts, ...moved }
    this.#parts.ask(JSON.stringify(this.#begin(told)))
  }

  /** Tells the client why there is no response. */
  #fail({ status, body }: Answer): void {
    this.#asked = undefined
    this.#parts.tell(JSON.stringify({ type: 'error', status, ...(body as object) }))
  }

  /** As many requests run on the account as its `concurrency` allows. Waits, then asks another account. */
  async #waitForRoom(told: Told): Promise<void> {
    const { exchange, account, pause, resume, ask } = this.#parts
    const { signal } = this.#gone
    const { waitForSlotMs } = exchange.route.retry
    const tries = this.#tries
    pause()
    while (!account.hasRoom && tries.waitedMs < waitForSlotMs && !signal.aborted)
      await tries.waitForRoom([account], waitForSlotMs, signal)
    if (signal.aborted) return
    if (account.hasRoom) {
      ask(JSON.stringify(this.#begin(told)))
      return resume()
    }
    const model = told.model ?? exchange.model
    const moved = this.#isWhole() ? await this.#parts.move(undefined, model, tries) : undefined
    moved?.release()
    if (moved && !signal.aborted) {
      this.#parts = { ...this.#parts, ...moved }
      return ask(JSON.stringify(this.#begin(told)))
    }
    // The client sends everything again, and its next handshake finds an account with room, or is refused.
    this.#asked = undefined
    resume()
    const reconnect = this.#protocol?.reconnect
    if (reconnect !== undefined) this.#parts.tell(JSON.stringify(reconnect))
    this.#parts.onMoved()
  }

  #mayAsk(data: Buffer, binary: boolean): boolean {
    const { asks = '', binary: readsBinary } = this.#protocol ?? { asks: false }
    return asks !== false && (!binary || readsBinary === true) && data.includes(asks)
  }

  /** Where the handshake names no conversation, each message may tell its own. */
  #findConversation(): void {
    const { exchange, pool } = this.#parts
    if (this.#isNamed) return
    findConversation(exchange, this.#asRequest(), pool.trails, `${exchange.id}-${this.#turns + 1}`)
  }

  /** Remembers how the answer begins, for a conversation that is recognised by what its requests repeat. */
  #rememberOpening(message: unknown): void {
    const { exchange, pool } = this.#parts
    const opening = this.#first && exchange.provider.opening?.(message, this.#first, this.#first.whole)
    if (opening && exchange.trail) pool.trails.answered(exchange.trail, opening)
    this.#first = undefined
  }

  /** A value that another account issued must not reach this one. */
  #withoutForeign(message: unknown): unknown {
    const { exchange, account, pool } = this.#parts
    const foreign = Object.entries(this.#protocol!.bound?.(message) ?? {})
      .filter(([name, value]) => pool.issued.get(boundKey(exchange, name, value)) !== account.key)
      .map(([name]) => name)
    if (foreign.length === 0 || !this.#protocol!.withoutBound) return message
    return this.#protocol!.withoutBound(message, foreign) ?? message
  }

  fromUpstream(data: Buffer, binary: boolean, large?: Parsed): Buffer | string | undefined {
    const protocol = this.#protocol
    if (!protocol || (binary && !protocol.binary)) return data
    const turn = this.#turn
    turn?.firstByte()
    this.#first?.add(data)
    // Once output has begun most messages are deltas: only their type is read.
    if ((!turn || turn.output) && this.#isHarmless(protocol, data)) return data
    const message = large ? large.json : parseJson(data.toString('utf8'))
    if (message === undefined) return data
    this.#note(protocol, message)
    this.#beginUnasked(protocol, message)
    const verdict = this.#judge(message, data)
    if (verdict?.kind === 'repair' && this.#askAgain(verdict.body)) return undefined
    if (verdict && verdict.kind !== 'pass' && this.#mayMove()) {
      this.#move(protocol, verdict, data, message).catch(this.#parts.onUnexpected)
      return undefined
    }
    if (verdict) this.#apply(verdict)
    if (verdict === undefined && this.#keep(protocol, message, data)) return undefined
    this.#letGo()
    return this.#answer(protocol, verdict, data, message)
  }

  /** A response that the upstream begins by itself, such as one to speech. */
  #beginUnasked(protocol: SocketProtocol, message: unknown): void {
    const told = this.#turn ? undefined : protocol.answers?.(message)
    if (!told) return
    this.#turn = new Turn(this.#parts, ++this.#turns, { ...told, model: told.model ?? this.#model })
    this.#turn.firstByte()
    this.#turn.output = true
  }

  /** What the client gets of a message. */
  #answer(
    protocol: SocketProtocol,
    verdict: Verdict | undefined,
    data: Buffer,
    message: unknown,
  ): Buffer | string {
    const { account, pool } = this.#parts
    const other = verdict && replacementMessage(protocol, verdict, this.#parts, this.#turn, this.#tries)
    if (protocol.ends(message)) this.#endTurn(message)
    if (other?.reconnects) this.#parts.onMoved()
    if (other) return JSON.stringify(other.message)
    const rewritten = protocol.withPoolQuota?.(message, pool.forAnswers(account.provider), pool.now())
    return rewritten === undefined || rewritten === message ? data : JSON.stringify(rewritten)
  }

  /** From a client's request on, messages that show nothing are held back. */
  #hold(): void {
    this.#letGo()
    const { route, provider } = this.#parts.exchange
    if (route.retry.attempts === 1 || !provider.classifyEvent || !this.#isWhole()) return
    this.#held = []
    this.#waitInSilence()
  }

  /** A client that hears nothing for too long gets a message that shows nothing, or else what was held back. */
  #waitInSilence(): void {
    const keepAlive = this.#protocol?.keepAlive
    this.#timer = setTimeout(() => {
      if (keepAlive === undefined) return this.#letGo()
      this.#parts.tell(JSON.stringify(keepAlive))
      this.#waitInSilence()
    }, LONGEST_SILENCE_MS)
  }

  #isWhole(): boolean {
    return this.#asked !== undefined && (this.#protocol?.isWhole?.(this.#asked) ?? false)
  }

  /** Whether the client has seen nothing of the response, so that another account can be asked for it. */
  #mayMove(): boolean {
    return this.#turn !== undefined && this.#held !== undefined && this.#isWhole()
  }

  /** Holds a message back, if it shows nothing. */
  #keep(protocol: SocketProtocol, message: unknown, data: Buffer): boolean {
    if (!this.#held || !this.#turn || this.#turn.output || protocol.ends(message)) return false
    this.#held.push(data)
    return (
      this.#held.reduce((sum, { length }) => sum + length, 0) <= LONGEST_PRELUDE || (this.#held.pop(), false)
    )
  }

  /** The client gets the messages that were held back, and all further ones at once. */
  #letGo(): void {
    clearTimeout(this.#timer)
    const held = this.#held ?? []
    this.#held = undefined
    const { account, pool } = this.#parts
    for (const data of held) {
      const message = parseJson(data.toString('utf8'))
      const rewritten = this.#protocol?.withPoolQuota?.(
        message,
        pool.forAnswers(account.provider),
        pool.now(),
      )
      this.#parts.tell(rewritten === undefined || rewritten === message ? data : JSON.stringify(rewritten))
    }
  }

  /** Asks another account for the response, unseen by the client; without one the client hears of the failure. */
  async #move(protocol: SocketProtocol, verdict: Verdict, data: Buffer, message: unknown): Promise<void> {
    if (!(await this.#askAnother(verdict))) this.#parts.tell(this.#answer(protocol, verdict, data, message))
  }

  /** Without another account the client gets what was held back. @returns whether another account has been asked */
  async #askAnother(verdict: Verdict): Promise<boolean> {
    const turn = this.#turn
    const moved = await this.#parts.move(this.#named(verdict), turn?.model, this.#tries)
    if (!moved || !turn || this.#turn !== turn) {
      moved?.release()
      this.#letGo()
      return false
    }
    this.#parts = { ...this.#parts, ...moved }
    turn.moveTo(this.#parts, moved.release)
    this.#first &&= new FirstEvents()
    this.#held = []
    this.#parts.ask(JSON.stringify(this.#withoutForeign(this.#asked)))
    return true
  }

  /**
   * The upstream's socket has ended. Before the client has seen anything of a response, that is a failure like any other.
   * @returns whether another account goes on, or the client has been told to connect again
   */
  async upstreamEnded(code: number, reason: string): Promise<boolean> {
    const told = this.#protocol?.closes?.(code, reason, this.#asRequest())
    if (told?.kind === 'pass') return false
    const verdict: Verdict = told ?? { kind: 'unavailable', reason: 'broken_answer' }
    if (this.#mayMove() && (await this.#askAnother(verdict))) return true
    if (told) this.#apply(told)
    // The reason would tell the client that its own key is wrong.
    if (told?.kind === 'needs-login' || told?.kind === 'unauthorized') {
      this.#parts.onMoved()
      return true
    }
    const turn = this.#turn
    if (!this.#protocol || !turn || turn.output) return false
    const other = replacementMessage(this.#protocol, verdict, this.#parts, turn, this.#tries)
    if (!other?.reconnects) return false
    this.#parts.tell(JSON.stringify(other.message))
    this.#parts.onMoved()
    this.close()
    return true
  }

  /** Keeps the quota, the bound values and the names of things that a message tells. */
  #note(protocol: SocketProtocol, message: unknown): void {
    const { exchange, account, pool } = this.#parts
    const quota = protocol.quota?.(message)
    if (quota) pool.observe(account, quota, 'headers', this.#parts.credential)
    for (const [name, value] of Object.entries(protocol.bound?.(message) ?? {}))
      pool.issued.set(boundKey(exchange, name, value), account.key)
    rememberMade(exchange, account, exchange.provider.resourcesMade?.(message, {}) ?? [], pool.resources)
  }

  /** Whether a message is of a type that was output before, and holds no error. */
  #isHarmless(protocol: SocketProtocol, data: Buffer): boolean {
    const type = typeIn(data)
    if (protocol.reads.has(type) || data.includes(ERROR)) return false
    return !this.#parts.exchange.provider.classifyEvent || this.#harmless.has(type)
  }

  /** The verdict in a message. */
  #judge(message: unknown, data: Buffer): Verdict | undefined {
    const verdict = this.#parts.exchange.provider.classifyEvent?.(message, this.#asRequest())
    if (verdict === 'output') {
      this.#harmless.add(typeIn(data))
      if (this.#turn) this.#turn.output = true
      this.#asked = undefined
      return undefined
    }
    if (verdict === undefined || verdict.kind === 'pass' || verdict.kind === 'repair') return verdict
    if (this.#turn) this.#turn.refused = `${verdict.kind}: ${verdict.reason}`
    return verdict
  }

  /** The message that is being answered, in the form of a request. */
  #asRequest(): ClientRequest {
    const { method, url, path, prefix, headers, client } = this.#parts.exchange
    // Once output has begun the message is gone; limits of one model need its model.
    const json = () => this.#asked ?? (this.#turn && { model: this.#turn.model })
    return { method, url, path, prefix, headers, client, json }
  }

  /** Sends the request once more, without the parts that only another account can read. */
  #askAgain(repaired: unknown): boolean {
    if (this.#asked === undefined || this.#parts.exchange.route.retry.attempts === 1) return false
    this.#asked = undefined
    this.#parts.ask(JSON.stringify(this.#withoutForeign(repaired)))
    return true
  }

  #apply(verdict: Verdict): void {
    const { account, credential, pool } = this.#parts
    if (verdict.kind !== 'pass' && verdict.kind !== 'repair')
      pool.applyVerdict(account, this.#named(verdict), credential).catch(this.#parts.onUnexpected)
  }

  /** The handshake's headers name the model of its time; the client may have changed it since. */
  #named(verdict: Verdict): Verdict {
    const model = this.#turn?.model
    const renamed = verdict.kind === 'refused' && verdict.model !== undefined && model !== undefined
    return renamed ? { ...verdict, model } : verdict
  }

  #endTurn(message: unknown): void {
    const { exchange, account, pool } = this.#parts
    const turn = this.#turn
    if (!turn) return
    this.#turn = undefined
    this.#asked = undefined
    this.#rememberOpening(message)
    const usage = exchange.provider.usage?.(message)
    if (usage && !turn.refused) pool.succeeded(account, turn.model, this.#parts.credential)
    turn.end(usage)
  }

  /** The connection is over. */
  close(): void {
    this.#gone.abort()
    clearTimeout(this.#timer)
    this.#held = undefined
    this.#turn?.end(undefined)
    this.#turn = undefined
  }
}

/** How the messages of a WebSocket are read. */
export function protocolOf(exchange: Exchange): SocketProtocol | undefined {
  const { socket } = exchange.provider
  return socket?.instead?.(exchange) ?? socket
}

/** A client's message. One that could be read by the upstream alone would slip past the rules about its parts. */
function parsedOf(data: Buffer, large: Parsed | undefined): unknown {
  if (large?.json !== undefined) return large.json
  const text = large ? '' : data.toString('utf8')
  const excess = large ? 'depth' : excessOf(text)
  if (excess === 'size')
    throw new GatewayFailure(413, 'body_too_large', `a message may have at most ${MOST_VALUES} values`)
  if (excess) throw new GatewayFailure(400, 'bad_json', 'the message is no JSON, or nested too deeply')
  return parseJson(text)
}

/** The field of a failure, whose type may stand behind it. In a text that quotes one, the quotes are escaped. */
const ERROR = '"error"'
