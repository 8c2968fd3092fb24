import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { text as readText } from 'node:stream/consumers'
import { type ClientOptions, WebSocket } from 'ws'
import { field } from '../../src/simulator/index.js'
import { clientHeaders, type TestPool } from './pool.js'

export interface ConnectOptions extends ClientOptions {
  headers?: Record<string, string>
  /** Subprotocols to offer. @default none */
  protocols?: string[]
  /** Waits for `resume()` of `raw` before anything is read. @default false */
  paused?: boolean
}

/** A client's end of a WebSocket; it keeps the frames that have come until the test asks for them. */
export interface TestSocket {
  readonly raw: WebSocket
  /** Headers of the 101. */
  readonly headers: IncomingMessage['headers']
  /** Sends a frame of JSON. */
  send(frame: object): void
  /** Sends a `response.create` and gives what answers it, up to its end or to an error. */
  ask(frame: object): Promise<unknown[]>
  /** The next frame: parsed if it is text. @throws if the WebSocket ends first */
  next(): Promise<unknown>
  /** How it ended. */
  readonly closed: Promise<{ code: number; reason: string }>
}

export interface Refusal {
  readonly status: number | undefined
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

/** Opens a WebSocket. @throws if it is refused */
export async function connect(url: string, options: ConnectOptions = {}): Promise<TestSocket> {
  const opened = await attempt(url, options)
  if ('raw' in opened) return opened
  throw new Error(`refused: ${opened.status} ${opened.body}`)
}

/** The answer over HTTP that a handshake gets. @throws if it is not refused */
export async function refusal(url: string, options: ConnectOptions = {}): Promise<Refusal> {
  const refused = await attempt(url, options)
  if (!('raw' in refused)) return refused
  refused.raw.terminate()
  throw new Error('the WebSocket was opened')
}

async function attempt(url: string, options: ConnectOptions): Promise<TestSocket | Refusal> {
  const raw = new WebSocket(url.replace(/^http/, 'ws'), options.protocols, {
    perMessageDeflate: false,
    ...options,
  })
  const frames = queue(raw)
  if (options.paused) raw.once('open', () => raw.pause())
  const upgraded = once(raw, 'upgrade') as Promise<[IncomingMessage]>
  upgraded.catch(() => undefined)
  const refused = new Promise<IncomingMessage>((resolve) =>
    raw.once('unexpected-response', (_request, response) => resolve(response)),
  )
  const response = await Promise.race([once(raw, 'open').then(() => undefined), refused])
  if (response) {
    const { statusCode: status, headers, socket } = response
    const body = await readText(response)
    // A refusal over HTTP leaves the connection open for the next request.
    socket.destroy()
    return { status, headers, body }
  }
  return socketOver(raw, frames, (await upgraded)[0].headers)
}

function socketOver(
  raw: WebSocket,
  next: () => Promise<unknown>,
  headers: IncomingMessage['headers'],
): TestSocket {
  const closed = new Promise<{ code: number; reason: string }>((resolve) =>
    raw.once('close', (code, reason) => resolve({ code, reason: String(reason) })),
  )
  const send = (frame: object) => raw.send(JSON.stringify(frame))
  async function ask(frame: object): Promise<unknown[]> {
    send(frame)
    const answered = []
    do answered.push(await next())
    while (!ENDS.includes(field(answered.at(-1), 'type')))
    return answered
  }
  return { raw, headers, send, ask, next, closed }
}

const ENDS: unknown[] = ['response.completed', 'response.failed', 'response.incomplete', 'error']

/** Keeps the frames that have come until the test asks for them. */
function queue(raw: WebSocket): () => Promise<unknown> {
  const frames: unknown[] = []
  const waiting: PromiseWithResolvers[] = []
  raw.on('message', (data: Buffer, isBinary) => {
    const frame: unknown = isBinary ? data : parsed(String(data))
    const first = waiting.shift()
    if (first) first.resolve(frame)
    else frames.push(frame)
  })
  raw.on('error', () => undefined)
  raw.on('close', (code) => {
    for (const { reject } of waiting.splice(0)) reject(new Error(`closed with ${code}`))
  })
  return () => {
    if (frames.length > 0) return Promise.resolve(frames.shift())
    if (raw.readyState === raw.CLOSED) return Promise.reject(new Error('closed'))
    return new Promise((resolve, reject) => waiting.push({ resolve, reject }))
  }
}

interface PromiseWithResolvers {
  resolve(frame: unknown): void
  reject(error: Error): void
}

function parsed(source: string): unknown {
  try {
    return JSON.parse(source)
  } catch {
    return source
  }
}

/** The `type` of each frame. */
export const typesOf = (frames: readonly unknown[]): unknown[] => frames.map((frame) => field(frame, 'type'))

/** What the model said in a response that came whole. */
export const saidBy = (frames: readonly unknown[]): unknown =>
  field(frames.at(-1), 'response', 'output', 0, 'content', 0, 'text')

/** Whether a frame asks the model something, which the opening one does not. */
export const isTurn = (frame: unknown): boolean =>
  field(frame, 'type') === 'response.create' && field(frame, 'generate') !== false

/** A frame that asks the model something, as Codex sends it. */
export function create(prompt = 'hi', more: object = {}): object {
  const input = [{ type: 'message', role: 'user', content: [{ type: 'input_text', text: prompt }] }]
  return { type: 'response.create', model: 'gpt-5.5', stream: true, store: false, input, ...more }
}

/** The frame with which Codex opens a conversation before anything is asked. */
export const prewarm = (): object => create('', { generate: false, input: [] })

/** What every handshake of Codex carries. */
export const CODEX_BETA = { 'openai-beta': 'responses_websockets=2026-02-06' }

export interface DialOptions extends ConnectOptions {
  /** @default '/v1/responses' */
  path?: string
}

/** Opens a WebSocket through the gateway as Codex does for a session. @throws if it is refused */
export const dial = (pool: TestPool, session: string, options: DialOptions = {}): Promise<TestSocket> =>
  connect(pool.url + (options.path ?? '/v1/responses'), asCodex(session, options))

/** Same, for one that is to be refused. @throws if it is opened */
export const refusedBy = (pool: TestPool, session: string, options: DialOptions = {}): Promise<Refusal> =>
  refusal(pool.url + (options.path ?? '/v1/responses'), asCodex(session, options))

function asCodex(session: string, { path: _path, ...options }: DialOptions): ConnectOptions {
  const named = { 'session-id': session, 'thread-id': session }
  return { ...options, headers: { ...clientHeaders(), ...CODEX_BETA, ...named, ...options.headers } }
}
