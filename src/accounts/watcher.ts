import { watch, type FSWatcher } from 'chokidar'

/** Editors and copying write in several steps; what follows within this time is one change; ms. */
const SETTLE_MS = 250

export interface WatchTargets {
  readonly poolDir: string
  /** The clients' own copies of logins. */
  readonly twins: readonly string[]
}

/** Tells when credential files appear, change or vanish. What has changed is found by content, not by the event. */
export class Watcher {
  #watcher: FSWatcher | undefined
  #timer: NodeJS.Timeout | undefined
  #watched = ''

  constructor(private readonly onChange: () => void) {}

  /** Watches these places from now on, and no others. */
  async watch({ poolDir, twins }: WatchTargets): Promise<void> {
    const key = JSON.stringify([poolDir, twins])
    if (key === this.#watched) return
    this.#watched = key
    await this.#watcher?.close()
    this.#watcher = watch([poolDir, ...twins], {
      depth: 0,
      ignoreInitial: true,
      // Lock files and temporary files come and go with every refresh.
      ignored: (path, stats) => stats?.isFile() === true && !path.endsWith('.json'),
    })
    // A folder that cannot be watched is read at a reload; that is no reason to stop.
    this.#watcher.on('all', () => this.#settle()).on('error', () => {})
  }

  #settle(): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(this.onChange, SETTLE_MS).unref()
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer)
    await this.#watcher?.close()
  }
}
