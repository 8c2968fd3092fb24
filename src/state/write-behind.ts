export interface WriteBehind {
  /** Sees to it that what is pending is written, a second from now at the latest. */
  schedule(): void
  /** Writes what is pending now. Never rejects: see `failing`. */
  flush(): Promise<void>
  /** The last flush; nothing is written after it. */
  close(): Promise<void>
  /** Why the last write failed; `undefined` once one has succeeded. */
  readonly failing: string | undefined
}

const DELAY_MS = 1000
/** A full disk is not asked every second. */
const RETRY_MS = 5000

/**
 * Calls `write` off the request path, one call at a time.
 * @param write writes what is pending; if it rejects it must have kept it, and is called again
 */
export function writeBehind(write: () => Promise<void>): WriteBehind {
  let timer: NodeJS.Timeout | undefined
  let last = Promise.resolve()
  let failing: string | undefined
  let closed = false

  function schedule(): void {
    if (closed || timer) return
    timer = setTimeout(flush, failing === undefined ? DELAY_MS : RETRY_MS).unref()
  }

  function flush(): Promise<void> {
    clearTimeout(timer)
    timer = undefined
    if (!closed) last = last.then(attempt)
    return last
  }

  async function attempt(): Promise<void> {
    try {
      await write()
      failing = undefined
    } catch (error) {
      failing = error instanceof Error ? error.message : String(error)
      schedule()
    }
  }

  return {
    schedule,
    flush,
    close() {
      const done = flush()
      closed = true
      return done.then(() => clearTimeout(timer))
    },
    get failing() {
      return failing
    },
  }
}
