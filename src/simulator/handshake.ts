import type { ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { clientLeft } from './break-off.js'
import type { Exchange } from './exchange.js'

/** The request for a WebSocket: refused over HTTP, or the WebSocket that came of it. */
export class Handshake implements Exchange {
  readonly frames: unknown[] = []
  readonly closed: Promise<void>
  closeCode: number | undefined
  readonly #response: ServerResponse
  #state: 'asked' | 'open' | 'ended by us' | 'ended by the client' = 'asked'

  constructor(socket: Duplex, response: ServerResponse) {
    this.#response = response
    this.closed = new Promise((resolve) => socket.once('close', () => resolve()))
  }

  get status(): number | undefined {
    if (this.#state !== 'asked') return 101
    return this.#response.headersSent ? this.#response.statusCode : undefined
  }

  get clientLeft(): boolean {
    return this.#state === 'asked' ? clientLeft(this.#response) : this.#state === 'ended by the client'
  }

  opened(): void {
    this.#state = 'open'
  }

  /** The simulator is about to close the WebSocket or to cut it. */
  ending(): void {
    this.#state = 'ended by us'
  }

  ended(code: number): void {
    this.closeCode = code
    if (this.#state === 'open') this.#state = 'ended by the client'
  }
}
