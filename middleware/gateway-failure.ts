import type { Failure } from '../config/provider.js'

/** The gateway answers in place of an upstream. Thrown, or handed to `next`, by any middleware of the chain. */
export class GatewayFailure extends Error implements Failure {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly retryAfterMs?: number | undefined,
  ) {
    super(message)
    this.name = 'GatewayFailure'
  }
}
