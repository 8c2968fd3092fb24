import { randomBytes } from 'node:crypto'
import type { SimRequest } from '../request.js'
import type { World } from '../upstream.js'

/** The `traceId` values given out, and to whom. */
export class TraceIds {
  readonly #owners = new Map<string, string>()
  readonly #world: World

  constructor(world: World) {
    this.#world = world
  }

  issue(account: string): string {
    const value = randomBytes(8).toString('hex')
    this.#owners.set(value, account)
    return value
  }

  /** Metrics that name another account's stream went to the wrong account. */
  check(request: SimRequest, named: string | undefined, account: string): void {
    if (named === undefined) return
    const owner = this.#owners.get(named)
    if (owner === account) return
    this.#world.violation(request, `traceId of ${owner ?? 'nobody'} sent for ${account}`)
  }
}
