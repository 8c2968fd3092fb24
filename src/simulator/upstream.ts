import type { OutgoingHttpHeaders } from 'node:http'
import type { ModelRequest, Reply } from './model.js'
import type { Owner, SimRequest } from './request.js'

/** One simulated upstream: the requests that it owns, and its answers to them. */
export interface Upstream extends Owner {
  owns(request: SimRequest): boolean
  /** Id of the account that the request's credential belongs to, expired or not. */
  account(request: SimRequest): string | undefined
  answer(request: SimRequest): Answer
  /** Lets a WebSocket in, or refuses it over HTTP. An upstream without this answers 426. */
  upgrade?(request: SimRequest): Answer | Dialogue
}

/** An answer over HTTP. A scripted fault may damage it on the wire. */
export interface Answer {
  readonly status: number
  readonly headers?: OutgoingHttpHeaders
  /** Sent as JSON; a string is sent as it is. */
  readonly body?: unknown
  /** A stream in place of a body. */
  readonly stream?: EventStream
}

export interface EventStream {
  /** The JSON objects of the stream, in order. */
  readonly events: readonly object[]
  /** Writes one event as it stands on the wire. */
  readonly frame: (event: object, index: number) => string
  /** Text behind the last event of a stream that is complete. @default none */
  readonly end?: string
}

/** The upstream's side of one WebSocket. */
export interface Dialogue {
  /** Headers of the 101. */
  readonly headers: OutgoingHttpHeaders
  /** Does the work that a frame asks for, and gives the frames that answer it. */
  receive(frame: unknown): readonly object[]
  /** Whether frames are sent as binary ones. @default false */
  readonly binary?: boolean
  /** Ends the WebSocket after the frames that answer this one. */
  ends?(frame: unknown): { readonly code: number; readonly reason: string } | undefined
  /** The frame that refuses another one, as HTTP would with this answer. */
  refuse(frame: unknown, answer: Answer): object
}

/** The parts of the simulator that its upstreams share. */
export interface World {
  /** ms since 1970 */
  now(): number
  /** Records something that a request did wrong, although it may still be answered. */
  violation(request: SimRequest, what: string): void
  /** Asks the script for the model's reply. */
  reply(asked: ModelRequest): Reply
  /** How items are refused that only another account can read. @default they are not */
  readonly strictHistory: boolean | 'item' | 'content' | 'organization'
}

export function json(status: number, body: unknown, headers: OutgoingHttpHeaders = {}): Answer {
  return { status, headers: { 'content-type': 'application/json', ...headers }, body }
}

export function eventStream(stream: EventStream, headers: OutgoingHttpHeaders = {}): Answer {
  return { status: 200, headers: { 'content-type': 'text/event-stream; charset=utf-8', ...headers }, stream }
}

/** The 404 of FastAPI, which serves the ChatGPT backend, for an unknown path. */
export const notFound = json(404, { detail: 'Not Found' })
