import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { type FSWatcher, watch } from 'chokidar'

/** Editors and copying write in several steps; events that follow within this time are one change; ms. */
const SETTLE_MS = 250
/** A change is told after this at the latest, even while the writing goes on; ms. */
const UNSETTLED_MS = 2_000
/**
 * How often the files are compared with before. A network folder, a folder shared with a virtual machine, and one that
 * does not exist yet send no events; ms.
 */
const COMPARE_MS = 2_000

export interface WatchTargets {
  readonly poolDir: string
  /** The clients' own files of logins. */
  readonly clientFiles: readonly string[]
}

/** Tells when credential files appear, change or vanish. The caller finds out by content what has changed. */
export class Watcher {
  #watcher: FSWatcher | undefined
  #settling: NodeJS.Timeout | undefined
  /** When the first change came that has not been told yet. */
  #since: number | undefined
  #comparing: NodeJS.Timeout | undefined
  #watched = ''
  #marks = ''

  /** @param onUnwatched told once, when the files can only be compared every two seconds */
  constructor(
    private readonly onChange: () => void,
    private readonly onUnwatched: (reason: string) => void = () => {},
  ) {}

  /** Watches these files from now on, and no others. */
  async watch(targets: WatchTargets): Promise<void> {
    const key = JSON.stringify(targets)
    if (key === this.#watched) return
    this.#watched = key
    await this.close()
    this.#marks = await marksOf(targets)
    this.#watcher = watch([targets.poolDir, ...targets.clientFiles], {
      depth: 0,
      ignoreInitial: true,
      // Lock files and temporary files come and go with every refresh.
      ignored: (path, stats) => stats?.isFile() === true && !path.endsWith('.json'),
    })
    this.#watcher.on('all', () => this.#settle()).on('error', (error) => this.#giveUp(error as Error))
    // A change before the watcher is ready brings no event.
    this.#watcher.on('ready', () => void this.#compare(targets))
    this.#comparing = setInterval(() => void this.#compare(targets), COMPARE_MS).unref()
  }

  /** A watcher that has failed once may fail without a pause: from here on the files are compared only. */
  #giveUp(error: NodeJS.ErrnoException): void {
    const watcher = this.#watcher
    if (!watcher) return
    this.#watcher = undefined
    watcher.close().catch(() => {})
    this.onUnwatched(error.code ?? error.message)
  }

  /** Never rejects: a file that cannot be looked at counts as missing. */
  async #compare(targets: WatchTargets): Promise<void> {
    const marks = await marksOf(targets)
    if (marks === this.#marks) return
    this.#marks = marks
    this.#settle()
  }

  #settle(): void {
    this.#since ??= performance.now()
    if (performance.now() - this.#since > UNSETTLED_MS) return
    clearTimeout(this.#settling)
    this.#settling = setTimeout(() => {
      this.#since = undefined
      this.onChange()
    }, SETTLE_MS).unref()
  }

  async close(): Promise<void> {
    clearTimeout(this.#settling)
    clearInterval(this.#comparing)
    await this.#watcher?.close()
  }
}

/** A text that changes whenever one of the files does. */
async function marksOf({ poolDir, clientFiles }: WatchTargets): Promise<string> {
  const names = (await readdir(poolDir).catch(() => [])).filter((name) => name.endsWith('.json'))
  const files = [...names.map((name) => join(poolDir, name)), ...clientFiles]
  const marks = await Promise.all(files.map(markOf))
  return JSON.stringify([files, marks])
}

/** Of a link, the mark is that of its target. */
async function markOf(file: string): Promise<string> {
  const info = await stat(file).catch(() => undefined)
  return info ? [info.ino, info.size, info.mtimeMs, info.mode].join() : ''
}
