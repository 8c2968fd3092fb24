import type { OutgoingHttpHeaders } from 'node:http'

/** What an upstream means to answer. `deliver` puts it on the wire, with or without a fault. */
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
  /** One of them as it stands on the wire. */
  readonly frame: (event: object) => string
}

export function json(status: number, body: unknown, headers: OutgoingHttpHeaders = {}): Answer {
  return { status, headers: { 'content-type': 'application/json', ...headers }, body }
}

export function eventStream(stream: EventStream, headers: OutgoingHttpHeaders = {}): Answer {
  return { status: 200, headers: { 'content-type': 'text/event-stream; charset=utf-8', ...headers }, stream }
}

/** What FastAPI, which serves the ChatGPT backend, says about a path that it does not have. */
export const notFound = json(404, { detail: 'Not Found' })
