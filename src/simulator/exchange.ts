import type { ServerResponse } from 'node:http'
import { clientLeft } from './break-off.js'

/** What becomes of a request after it has arrived. */
export interface Exchange {
  /** The status that was sent, 101 for an open WebSocket; `undefined` before that, or if none ever was. */
  readonly status: number | undefined
  /** Whether the client went away before the answer was complete, or was the first to end a WebSocket. */
  readonly clientLeft: boolean
  /** Settles when the answer is complete or the connection is gone. */
  readonly closed: Promise<void>
  /** What came over a WebSocket, in order: parsed where it is JSON, else the text. Empty without one. */
  readonly frames: readonly unknown[]
  /** The code with which the client closed a WebSocket; 1006 if it sent none, `undefined` before. */
  readonly closeCode: number | undefined
}

/** A request that is answered over HTTP. */
export function httpExchange(response: ServerResponse): Exchange {
  return {
    closed: response.closed
      ? Promise.resolve()
      : new Promise((resolve) => response.once('close', () => resolve())),
    frames: [],
    closeCode: undefined,
    get status() {
      return response.headersSent ? response.statusCode : undefined
    },
    get clientLeft() {
      return clientLeft(response)
    },
  }
}
