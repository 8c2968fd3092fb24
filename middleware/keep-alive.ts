import type { ServerResponse } from 'node:http'
import type { Provider } from '../config/provider.js'

/**
 * Keeps a client from giving up while an answer is held back: sends it the head of a stream and events that it ignores.
 * From then on a failure can only be told inside the stream.
 */
export class KeepAlive {
  /** Whether the head has been sent. */
  begun = false
  #timer: NodeJS.Timeout | undefined

  constructor(
    private readonly response: ServerResponse,
    private readonly settings: NonNullable<Provider['keepAlive']>,
    /** When the client began to wait for a byte; ms since 1970. */
    private readonly since: number,
  ) {
    response.once('close', () => this.stop())
  }

  /** Called when a stream of events is held back. */
  start(): void {
    if (this.response.destroyed) return
    this.#timer ??= setTimeout(this.#send, Math.max(0, this.since + this.settings.afterMs - Date.now()))
  }

  /** Called when the hold ends. If the head has been sent, events go on until there is an answer. */
  pause(): void {
    if (!this.begun) this.stop()
  }

  /** Called when the client gets its answer. */
  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  #send = (): void => {
    if (!this.begun) this.response.writeHead(200, { 'content-type': 'text/event-stream' })
    this.begun = true
    this.response.write(this.settings.event)
    this.#timer = setTimeout(this.#send, this.settings.afterMs)
  }
}
