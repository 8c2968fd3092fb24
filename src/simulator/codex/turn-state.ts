import { randomBytes } from 'node:crypto'
import type { SimRequest } from '../request.js'
import type { World } from '../upstream.js'

/** A header over HTTP, a field of `client_metadata` over a WebSocket. */
export const TURN_STATE = 'x-codex-turn-state'

/** The opaque `x-codex-turn-state` values given out, and to whom. */
export class TurnStates {
  readonly #owners = new Map<string, string>()
  readonly #world: World

  constructor(world: World) {
    this.#world = world
  }

  /** A value that has been given to nobody else. */
  issue(account: string): string {
    const value = `ts-${randomBytes(9).toString('base64url')}`
    this.#owners.set(value, account)
    return value
  }

  /** An echo of what another account was given means that a turn went to a second account with the first one's state. */
  check(request: SimRequest, echoed: unknown, account: string): void {
    if (typeof echoed !== 'string') return
    const owner = this.#owners.get(echoed)
    if (owner === account) return
    this.#world.violation(request, `${TURN_STATE} of ${owner ?? 'nobody'} sent for ${account}`)
  }
}
