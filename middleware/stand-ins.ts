import { EventEmitter } from 'node:events'
import type { ClientRequest, IncomingHttpHeaders } from 'node:http'
import type { Agent } from 'node:http'
import type { Socket } from 'node:net'
import type { Writable } from 'node:stream'
import type { Body } from './exchange.js'

/** What one attempt sends. */
export interface AttemptPlan {
  readonly method: string
  readonly target: URL
  /** Lower-case names, complete. */
  readonly headers: IncomingHttpHeaders
  readonly body: Body
  readonly agent: Agent | false
}

/**
 * Stands in for the client's request in one attempt. http-proxy-middleware never sees the real one: a discarded
 * attempt would take the client's connection down with it.
 */
export class AttemptRequest {
  readonly httpVersion = '1.1'
  readonly httpVersionMajor = 1
  readonly httpVersionMinor = 1
  readonly method: string
  readonly url: string
  readonly headers: IncomingHttpHeaders
  /** Set once a socket is found. */
  upstream: ClientRequest | undefined

  constructor(
    readonly plan: AttemptPlan,
    readonly socket: Socket,
  ) {
    this.method = plan.method
    this.url = plan.target.pathname + plan.target.search
    this.headers = plan.headers
  }

  /** The client's errors end the attempt through {@link AttemptResponse.destroy}. */
  on(): this {
    return this
  }

  once(): this {
    return this
  }

  pipe<W extends Writable>(upstream: W): W {
    const { body } = this.plan
    if (body.kind === 'streaming') {
      for (const chunk of body.begun) upstream.write(chunk)
      if (body.rest.errored) return upstream.destroy(body.rest.errored)
      body.rest.once('error', (error) => upstream.destroy(error))
      return body.rest.pipe(upstream)
    }
    upstream.end(body.kind === 'buffered' ? body.bytes : undefined)
    return upstream
  }
}

/** Stands in for the client's response in one attempt; the real one is written once an answer is chosen. */
export class AttemptResponse extends EventEmitter {
  headersSent = false
  finished = false
  writableFinished = false
  writableEnded = false
  destroyed = false

  /** Called by the proxy when the upstream breaks off, and by us to give the attempt up: ends the upstream request. */
  destroy(): this {
    if (this.destroyed) return this
    this.destroyed = true
    this.emit('close')
    return this
  }

  /** The answer went through to its end: lets the proxy's promise settle, and ends nothing. */
  done(): void {
    if (this.destroyed) return
    this.destroyed = true
    this.writableFinished = true
    this.finished = true
    this.emit('close')
  }
}
