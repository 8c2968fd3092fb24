import type { OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type { SimRequest } from './request.js'

/**
 * What goes wrong with one request, or with one frame of a WebSocket.
 * - `'reset'`: the connection is destroyed before anything is done or sent.
 * - `'hang'`: nothing is done and nothing is ever sent.
 * - `'lost'`: the work is done (quota counted, refresh token spent), then the connection is destroyed without a head.
 * - `'mute'`: the work is done, and nothing is ever sent.
 * - a {@link WireFault}: the answer, or another one, arrives damaged.
 * - a function: does with the response what it likes. For requests only.
 */
export type Fault = 'reset' | 'hang' | 'lost' | 'mute' | WireFault | FaultFunction

/** What can go wrong with a frame. */
export type FrameFault = Exclude<Fault, FaultFunction>

export type FaultFunction = (request: SimRequest, response: ServerResponse) => void | Promise<void>

/** Fields combine: a status of your own that is cut in the middle, a slow stream that is compressed. */
export interface WireFault {
  /** Answers with this instead of doing the work; on a frame with `after`, once so much of the work has been sent. */
  status?: number
  /** Headers added to the answer's. */
  headers?: OutgoingHttpHeaders
  /** Body of the answer that `status` makes: an object is sent as JSON, a string as it is. @default '' */
  body?: unknown
  /** Changes the events of a stream. */
  events?: (events: readonly object[]) => readonly object[]
  /**
   * What happens after `after` events (or, where there is no stream, with half of the body sent): the connection is
   * destroyed, the answer ends as if it were complete (a WebSocket is closed), or nothing more comes.
   */
  ending?: 'cut' | 'end' | 'stall'
  /** How `ending: 'end'` closes a WebSocket. @default 1000 without a reason */
  close?: { code: number; reason?: string }
  /** Events that still arrive before `ending`; 0 leaves the head alone. @default 0 */
  after?: number
  /** Pause before each event; ms. @default 0 */
  pauseMs?: number
  /** Compresses the answer, whatever the client accepts. @default false */
  gzip?: boolean
}
