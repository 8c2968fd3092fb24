import { EventEmitter } from 'node:events'
import type { AccountState, Usage } from '../../config/provider.js'
import type { RefreshOutcome } from '../refresh/refresh.js'

/** The events of a gateway. None carries a secret. */
export interface GatewayEvents {
  /** A request is over. */
  request: [RequestEvent]
  /** One account was tried. */
  attempt: [AttemptEvent]
  /** A token refresh ended: `refreshed`, `adopted`, or what went wrong. */
  refresh: [{ account: string; outcome: string }]
  /** An account is not asked until `until`, in ms since 1970; with `model`, not for that model. */
  cooldown: [{ account: string; kind: string; reason: string; until: number; model?: string | undefined }]
  /** The state of an account has changed. */
  state: [{ account: string; from: AccountState; to: AccountState }]
  /** Why an account's quota cannot be polled; `undefined` once it can be again. */
  poll: [{ account: string; trouble: string | undefined }]
  /** @internal The gateway is about to stop: answers that have no end must end. */
  drain: []
  /** @internal The source of `refresh`. */
  refreshOutcome: [{ account: string; outcome: RefreshOutcome }]
}

export interface RequestEvent {
  readonly id: string
  readonly method: string
  readonly path: string
  readonly status: number
  /** `provider/id` of the account that served it, if one did. */
  readonly account?: string | undefined
  readonly attempts: number
  /** ms */
  readonly durationMs: number
  /** ms until the first byte of the answer. */
  readonly firstByteMs?: number | undefined
  /** As its `user-agent` begins. */
  readonly client?: string | undefined
  readonly model?: string | undefined
  readonly usage?: Usage | undefined
  /** Why the gateway gave an answer of its own, if that is a failure. */
  readonly reason?: string | undefined
}

export interface AttemptEvent {
  readonly id: string
  readonly account: string
  /** The upstream's status; absent if it never answered. */
  readonly status?: number | undefined
  /** The verdict, or the reason of a failure: `pass`, `exhausted`, `ECONNREFUSED api.example:443`, … */
  readonly outcome: string
  /** ms */
  readonly durationMs: number
}

/** The host app may listen too: a listener that throws or rejects stops neither the request nor the other listeners. */
export class Events extends EventEmitter<GatewayEvents> {
  constructor(private readonly onFailure: (event: string, error: unknown) => void = () => {}) {
    super()
    // Each reader of the log listens.
    this.setMaxListeners(0)
  }

  override emit<Name extends keyof GatewayEvents>(name: Name, ...told: GatewayEvents[Name]): boolean {
    const listeners = this.rawListeners(name as string)
    const failed = (error: unknown) => this.onFailure(name, error)
    for (const listener of listeners)
      try {
        const result: unknown = Reflect.apply(listener, this, told)
        if (result instanceof Promise) result.catch(failed)
      } catch (error) {
        failed(error)
      }
    return listeners.length > 0
  }
}
