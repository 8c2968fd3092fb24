import { type IncomingMessage, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { ResolvedConfig } from '../../config/config.js'
import type { Answer, Verdict } from '../../config/provider.js'
import type { Network } from '../../src/network.js'
import type { Pool } from '../../src/pool/pool.js'
import { attempt } from '../attempt.js'
import { authInjection } from '../auth-injection.js'
import type { ReplayBudget } from '../body.js'
import { type Exchange, openExchange, type Outcome, type Snapshot } from '../exchange.js'
import { failureAnswer, failureOf, GatewayFailure } from '../failure.js'
import { type FailureOptions, troubleOf } from '../final-answer.js'
import type { HeldAnswer } from '../forward.js'
import { refusal } from '../guard.js'
import { deliverable, forwardableProtocols } from '../headers.js'
import { CLIENT_LEFT, type MetricsOptions } from '../metrics.js'
import { failover } from '../retry.js'
import { identify } from '../stickiness.js'
import { Search } from '../search.js'
import type { Tries } from '../tries.js'
import { type End, Relay } from './relay.js'
import { accept, dial, isHandshake, offersWell, protocolsOf, socketOf, type WebSocket } from './sockets.js'
import { type Moved, protocolOf, SocketWatch } from './watch.js'

export interface UpgradeParts extends MetricsOptions, FailureOptions {
  readonly pool: Pool
  readonly network: Network
  readonly budget: ReplayBudget
  readonly snapshot: () => Snapshot
  readonly access: () => ResolvedConfig['access']
}

/** Codex falls back to plain HTTP at once on 426; on anything else it tries for seconds first. */
export const UPGRADE_NOT_SERVED = new GatewayFailure(
  426,
  'upgrade_not_served',
  'WebSockets are not served here; use HTTP',
)

/** The server restarts (RFC 6455's registry): the client connects again and sends everything again. */
const SERVICE_RESTART = 1012
/** A client that was told to connect again closes by itself; after this time we close. */
const MOVED_MS = 2_000

/** The life of one WebSocket: the same rules and the same search for an account as for a request, then a relay. */
export class WebSockets {
  #open = new Map<WebSocket, SocketWatch>()
  #draining = false

  constructor(private readonly parts: UpgradeParts) {}

  async upgrade(request: IncomingMessage, socket: Socket, head: Buffer): Promise<void> {
    // Without a listener a client that resets the connection would end the process.
    socket.on('error', () => socket.destroy())
    // The client left before the host app handed the upgrade over: no event tells of that any more.
    if (socket.destroyed) return
    const refused = refusal(request, this.parts.access())
    if (refused) return sendAnswer(socket, failureAnswer(refused, undefined))
    const client = listenEarly(socket, head)
    const exchange = openExchange(request, this.parts.snapshot(), client.gone)
    if (exchange instanceof GatewayFailure) return sendAnswer(socket, failureAnswer(exchange, undefined))
    exchange.upgrades = true
    this.parts.explanations.begin(exchange)
    const status = await this.#serve(exchange, request, socket, client.taken).catch((error: Error) => {
      const failure = failureOf(error, this.parts.onUnexpected)
      const answer = failureAnswer(failure, exchange)
      exchange.outcome ??= { kind: 'own', answer }
      sendAnswer(socket, answer)
      return failure.status
    })
    this.parts.metrics.requests.inc({ status })
    this.parts.explanations.end(exchange, status)
  }

  /** Returns the status of the handshake, when everything after it is over as well. */
  async #serve(
    exchange: Exchange,
    request: IncomingMessage,
    socket: Socket,
    takeHead: () => Buffer,
  ): Promise<number> {
    this.#check(exchange, request)
    const offered = protocolsOf(request)
    const passed = forwardableProtocols(offered)
    // Also the headers of the exchange, which go upstream.
    request.headers['sec-websocket-protocol'] = passed.length > 0 ? passed.join(', ') : undefined
    identify(exchange, this.parts.pool.trails)
    const outcome = await this.#search(exchange)
    exchange.outcome = outcome
    if (outcome.kind === 'left') return CLIENT_LEFT
    if (outcome.kind === 'own') {
      sendAnswer(socket, outcome.answer)
      return outcome.answer.status
    }
    // From here on each response takes a lease of its own: an idle socket does not use the account.
    outcome.release()
    const upstream = socketOf(outcome.answer)
    if (!upstream) {
      sendUpstreamAnswer(socket, outcome.answer)
      return outcome.answer.status
    }
    if (!socket.readable || !socket.writable) {
      upstream.terminate()
      return CLIENT_LEFT
    }
    exchange.servedBy = outcome.account
    // A client whose subprotocols were all kept back ends the connection unless it is told one of them.
    const fallback = passed.length > 0 ? '' : (offered[0] ?? '')
    const chosen = {
      protocol: upstream.protocol || fallback,
      maxPayload: exchange.snapshot.maxBodyBytes,
      headers: deliverable(outcome.answer.response.rawHeaders, exchange.provider.hiddenHeaders),
    }
    const client = await accept(request, socket, takeHead(), chosen).catch((error: Error) => {
      upstream.terminate()
      throw error
    })
    await this.#relay(exchange, outcome, { socket: client, wire: socket }, upstream)
    return 101
  }

  /** @throws GatewayFailure for an upgrade that is not served */
  #check(exchange: Exchange, request: IncomingMessage): void {
    const { route } = exchange
    const served =
      route.websocket && isHandshake(request) && (protocolOf(exchange)?.serves?.(exchange) ?? true)
    if (!served || this.#draining) throw UPGRADE_NOT_SERVED
    if (!offersWell(protocolsOf(request)))
      throw new GatewayFailure(400, 'bad_handshake', 'Sec-WebSocket-Protocol is malformed')
  }

  #search(exchange: Exchange, search?: Search): Promise<Outcome> {
    const { pool, network, events } = this.parts
    const { maxBodyBytes } = exchange.snapshot
    const askOne = attempt(
      pool,
      authInjection(pool, network),
      (plan, _client, timeouts, signal) => dial(plan, timeouts, signal, maxBodyBytes),
      events,
    )
    return failover(exchange, pool, askOne, search)
  }

  async #relay(
    exchange: Exchange,
    { answer, account, credential }: Extract<Outcome, { kind: 'upstream' }>,
    { socket: client, wire }: End,
    upstream: WebSocket,
  ): Promise<void> {
    let moved: NodeJS.Timeout | undefined
    let current: Pick<Moved, 'account' | 'credential'> = { account, credential }
    const watch = new SocketWatch({
      ...this.parts,
      exchange,
      account,
      credential,
      ask: (message) => relay.toUpstream(message),
      tell: (message) => relay.toClient(message),
      pause: () => relay.pause(),
      resume: () => relay.resume(),
      move: async (verdict, model, tries) => {
        relay.pause()
        exchange.model = model
        const found = await this.#another(exchange, current, verdict, tries)
        if (!found) {
          // First the client hears of the failure; the upstream's own end, which may have come meanwhile, cuts it off.
          setImmediate(() => relay.resume())
          return undefined
        }
        relay.exchange(found.upstream)
        current = found
        return found
      },
      onMoved: () => {
        clearTimeout(moved)
        moved = setTimeout(() => client.close(SERVICE_RESTART, 'another account'), MOVED_MS)
      },
    })
    this.#open.set(client, watch)
    const far = { socket: upstream, wire: answer.response.socket }
    const relay = new Relay({ socket: client, wire }, far, {
      budget: this.parts.budget,
      failureOf: (error) => failureOf(error, this.parts.onUnexpected),
      fromClient: (data, binary, large) => watch.fromClient(data, binary, large),
      fromUpstream: (data, binary, large) => {
        const message = watch.fromUpstream(data, binary, large)
        if (this.#draining && !watch.busy) setImmediate(() => client.close(SERVICE_RESTART, 'restart'))
        return message
      },
      upstreamEnded: (code, reason) => watch.upstreamEnded(code, reason),
    })
    // The drain began during the handshake and has not seen this socket.
    if (this.#draining) client.close(SERVICE_RESTART, 'restart')
    await relay.closed
    clearTimeout(moved)
    watch.close()
    this.#open.delete(client)
  }

  /** Applies a verdict to the account of a connection, and connects to the account that is asked next. */
  async #another(
    exchange: Exchange,
    { account, credential }: Pick<Moved, 'account' | 'credential'>,
    verdict: Verdict | undefined,
    tries: Tries,
  ): Promise<(Moved & { readonly upstream: End }) | undefined> {
    const { pool } = this.parts
    const result = verdict && (await pool.applyVerdict(account, verdict, credential))
    if (result?.kind === 'unavailable') tries.trouble = troubleOf(result)
    const again = result?.kind === 'fresh' && tries.mayReplay(account, 'refresh')
    if (again) tries.accounts.delete(account)
    else tries.accounts.add(account)
    if (verdict?.kind === 'unavailable') {
      tries.troubled.add(account)
      if (++tries.spent >= exchange.route.retry.attempts) return undefined
    }
    const search = new Search(exchange, pool, tries)
    const outcome = await this.#search(exchange, search).catch((error: Error) => {
      failureOf(error, this.parts.onUnexpected)
      return undefined
    })
    if (outcome?.kind !== 'upstream') return undefined
    const { answer, release } = outcome
    const upstream = socketOf(answer)
    if (!upstream) {
      release()
      return void answer.discard()
    }
    exchange.servedBy = outcome.account
    const end = { socket: upstream, wire: answer.response.socket }
    return { account: outcome.account, credential: outcome.credential, release, upstream: end }
  }

  /** Accepts nothing new; idle connections end now, the others after their running response. */
  drain(): void {
    this.#draining = true
    for (const [client, watch] of this.#open) if (!watch.busy) client.close(SERVICE_RESTART, 'restart')
  }

  /** Ends all connections. */
  close(): void {
    this.#draining = true
    for (const client of this.#open.keys()) client.terminate()
  }
}

/** Bytes. A client may send nothing at all before the handshake is answered (RFC 6455 §4.1). */
const MOST_EARLY = 16 * 1024

/**
 * Reads the client's socket while an account is searched: after an upgrade Node does not, so a client that leaves would
 * not be noticed. `taken` stops that and gives back the bytes that came early.
 */
export function listenEarly(socket: Socket, head: Buffer): { gone: AbortSignal; taken: () => Buffer } {
  const gone = new AbortController()
  const early: Buffer[] = [head]
  let size = head.length
  const onReadable = () => {
    for (let chunk = socket.read() as Buffer | null; chunk !== null; chunk = socket.read() as Buffer | null) {
      early.push(chunk)
      size += chunk.length
    }
    if (size > MOST_EARLY) socket.destroy()
  }
  const onEnd = () => socket.destroy()
  const onClose = () => gone.abort()
  socket.on('readable', onReadable).once('end', onEnd).once('close', onClose)
  return {
    gone: gone.signal,
    taken: () => {
      socket.off('readable', onReadable).off('end', onEnd).off('close', onClose)
      return Buffer.concat(early)
    },
  }
}

/** Time to read a refusal and close; ms. */
const LONGEST_GOODBYE_MS = 2_000

/** Answers a handshake with plain HTTP and closes the connection. */
export function sendAnswer(socket: Duplex, { status, headers = {}, body }: Answer): void {
  const bytes = Buffer.from(body === undefined ? '' : JSON.stringify(body))
  write(socket, status, { ...headers, 'content-type': 'application/json' }, bytes)
}

/** Same, with an upstream's refusal. */
export function sendUpstreamAnswer(socket: Duplex, answer: HeldAnswer): void {
  const type = answer.response.headers['content-type']
  const encoding = answer.response.headers['content-encoding']
  const headers = { ...(type && { 'content-type': type }), ...(encoding && { 'content-encoding': encoding }) }
  answer.discard()
  write(socket, answer.status, headers, Buffer.concat(answer.begun))
}

function write(
  socket: Duplex,
  status: number,
  headers: Readonly<Record<string, string>>,
  body: Buffer,
): void {
  if (socket.destroyed) return
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  const head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\nconnection: close\r\n${lines.join('')}`
  socket.end(Buffer.concat([Buffer.from(`${head}content-length: ${body.length}\r\n\r\n`), body]))
  // A client that never closes its side would keep the connection for ever.
  const late = setTimeout(() => socket.destroy(), LONGEST_GOODBYE_MS)
  socket.once('close', () => clearTimeout(late))
}
