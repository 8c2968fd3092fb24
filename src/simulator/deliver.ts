import type { OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type { Writable } from 'node:stream'
import { setImmediate as turnOver, setTimeout as pause } from 'node:timers/promises'
import { constants, createGzip, type Gzip } from 'node:zlib'
import { type Fault, Pause, type WireFault } from './fault.js'
import type { Exchange, SimRequest } from './request.js'
import { type Answer, json } from './upstream.js'

/** Does the work of a request and answers it, as far as its fault allows. */
export async function act(
  request: SimRequest,
  response: ServerResponse,
  fault: Fault | undefined,
  work: () => Answer,
  pauseMs: number,
): Promise<void> {
  if (typeof fault === 'function') return fault(request, response)
  if (fault === 'hang') return
  if (fault === 'reset') return breakOff(response)
  const answer = (typeof fault === 'object' ? answerOf(fault) : undefined) ?? work()
  if (fault === 'mute') return
  if (fault === 'lost') return breakOff(response)
  const slow = answer.stream && pauseMs > 0 ? { pauseMs } : {}
  await deliver(response, answer, { ...slow, ...fault })
}

/** The answer that a fault gives in place of the work, if it gives one. */
export function answerOf({ status, body = '', headers = {} }: WireFault): Answer | undefined {
  return status === undefined ? undefined : { status, body, headers }
}

/** Tells the caller that a script of the test threw; otherwise the error would end the process. */
export function scriptFailed(error: unknown): Answer {
  const message = error instanceof Error ? error.message : String(error)
  return json(500, { error: { code: 'simulator_script_failed', message } })
}

const brokenOff = new WeakSet<ServerResponse>()

/** Destroys the connection from the simulator's side. */
export function breakOff(response: ServerResponse): void {
  brokenOff.add(response)
  response.destroy()
}

/** Follows a request, or a request for a WebSocket and the WebSocket that came of it. */
export class LiveExchange implements Exchange {
  readonly frames: unknown[] = []
  readonly closed: Promise<void>
  closeCode: number | undefined
  readonly #response: ServerResponse
  #socket: 'none' | 'open' | 'ended by the simulator' | 'ended by the client' = 'none'

  /** @param connection emits `close` when the exchange is over: the response, or the socket of an upgrade */
  constructor(response: ServerResponse, connection: Writable = response) {
    this.#response = response
    this.closed = new Promise((resolve) => {
      if (connection.closed) resolve()
      else connection.once('close', () => resolve())
    })
  }

  get status(): number | undefined {
    if (this.#socket !== 'none') return 101
    return this.#response.headersSent ? this.#response.statusCode : undefined
  }

  get clientLeft(): boolean {
    if (this.#socket !== 'none') return this.#socket === 'ended by the client'
    return this.#response.closed && !this.#response.writableFinished && !brokenOff.has(this.#response)
  }

  /** The WebSocket has opened. */
  opened(): void {
    this.#socket = 'open'
  }

  /** The simulator is about to close the WebSocket or to cut it. */
  ending(): void {
    this.#socket = 'ended by the simulator'
  }

  /** The WebSocket is closed; `code` as the client sent it. */
  ended(code: number): void {
    this.closeCode = code
    if (this.#socket === 'open') this.#socket = 'ended by the client'
  }
}

/** Sends an answer, damaged as the fault says. Ends early, without a throw, when the client leaves. */
export async function deliver(
  response: ServerResponse,
  answer: Answer,
  fault: WireFault = {},
): Promise<void> {
  const pieces = piecesOf(answer, fault)
  const added = Object.entries({ ...answer.headers, ...fault.headers })
  const headers: OutgoingHttpHeaders = Object.fromEntries(added.filter(([, value]) => value !== undefined))
  if (fault.gzip) headers['content-encoding'] = 'gzip'
  const whole = !answer.stream && !fault.gzip && !fault.ending && !fault.pauseMs
  if (whole) headers['content-length'] = Buffer.byteLength(pieces.join(''))
  response.writeHead(answer.status, headers)
  // The head goes out at once, so that a client can tell "answers, but no event yet" from "does not answer".
  if (!whole) response.flushHeaders()
  const gzip = fault.gzip ? createGzip() : undefined
  gzip?.pipe(response)
  for (const piece of pieces) {
    const wait = piece instanceof Pause ? piece.ms : fault.pauseMs
    if (wait) await pause(wait)
    if (response.destroyed) return
    if (piece instanceof Pause) continue
    await (gzip ? flushed(gzip, piece) : written(response, piece))
  }
  if (fault.ending === 'stall') return
  if (fault.ending !== 'cut') return void (gzip ?? response).end()
  // Node holds a write back until the turn is over, and destroying the connection before that would lose it.
  await turnOver()
  breakOff(response)
}

/** The events of a stream or the body, as far as they are sent. */
function piecesOf({ stream, body }: Answer, { events, ending, after = 0 }: WireFault): (string | Pause)[] {
  if (stream) {
    const wanted = events?.(stream.events) ?? stream.events
    const sent = ending ? wanted.slice(0, after) : wanted
    const end = stream.end !== undefined && !ending ? [stream.end] : []
    return [
      ...sent.map((event, index) => (event instanceof Pause ? event : stream.frame(event, index))),
      ...end,
    ]
  }
  if (body === undefined) return []
  const whole = typeof body === 'string' ? body : JSON.stringify(body)
  return [ending ? whole.slice(0, whole.length / 2) : whole]
}

/** Flushes each event: a client must be able to decode the first one before the stream ends. */
function flushed(gzip: Gzip, piece: string): Promise<void> {
  return new Promise((resolve) => {
    gzip.write(piece)
    gzip.flush(constants.Z_SYNC_FLUSH, () => resolve())
  })
}

/** Without `close`, a client that leaves while its socket is full would keep this waiting for ever. */
function written(response: ServerResponse, piece: string): Promise<void> {
  return new Promise((resolve) => {
    if (response.write(piece)) return resolve()
    const done = () => {
      response.off('drain', done).off('close', done)
      resolve()
    }
    response.on('drain', done).on('close', done)
  })
}
