import type { SimRequest } from './request.js'

/** What has arrived, and who waits for what has not. */
export class Journal {
  readonly requests: SimRequest[] = []
  readonly #limit: number
  readonly #waiting = new Set<(request: SimRequest) => void>()

  constructor(limit: number) {
    this.#limit = limit
  }

  add(request: SimRequest): void {
    this.requests.push(request)
    if (this.requests.length > this.#limit) this.requests.shift()
    for (const tell of this.#waiting) tell(request)
  }

  /** The first request that matches and has not arrived yet. */
  next(matches: (request: SimRequest) => boolean, signal?: AbortSignal): Promise<SimRequest> {
    return new Promise((resolve, reject) => {
      const settle = (act: () => void) => {
        this.#waiting.delete(tell)
        signal?.removeEventListener('abort', abort)
        act()
      }
      const tell = (request: SimRequest) => {
        if (matches(request)) settle(() => resolve(request))
      }
      const abort = () => settle(() => reject(signal?.reason))
      signal?.addEventListener('abort', abort)
      this.#waiting.add(tell)
      if (signal?.aborted) abort()
    })
  }
}
