import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { type FSWatcher, watch } from 'chokidar'

/** Editors and copying write in several steps; what follows within this time is one change; ms. */
const SETTLE_MS = 250
/** Where writing never ends for so long, it is not waited for; ms. */
const UNSETTLED_MS = 2_000
/**
 * A network folder, a folder that a virtual machine shares, and one that is not there yet tell of no change: they are
 * looked at in between; ms.
 */
const LOOK_MS = 2_000

export interface WatchTargets {
  readonly poolDir: string
  /** The clients' own copies of logins. */
  readonly twins: readonly string[]
}

/** Tells when credential files appear, change or vanish. What has changed is found by content, not by the event. */
export class Watcher {
  #watcher: FSWatcher | undefined
  #settling: NodeJS.Timeout | undefined
  /** When the first change came that has not been told yet. */
  #since: number | undefined
  #looking: NodeJS.Timeout | undefined
  #watched = ''
  #marks = ''

  constructor(private readonly onChange: () => void) {}

  /** Watches these places from now on, and no others. */
  async watch(targets: WatchTargets): Promise<void> {
    const key = JSON.stringify(targets)
    if (key === this.#watched) return
    this.#watched = key
    await this.close()
    this.#marks = await marksOf(targets)
    this.#watcher = watch([targets.poolDir, ...targets.twins], {
      depth: 0,
      ignoreInitial: true,
      // Lock files and temporary files come and go with every refresh.
      ignored: (path, stats) => stats?.isFile() === true && !path.endsWith('.json'),
    })
    this.#watcher.on('all', () => this.#settle()).on('error', () => {})
    // What changed before it was ready is no event to it.
    this.#watcher.on('ready', () => void this.#look(targets))
    this.#looking = setInterval(() => void this.#look(targets), LOOK_MS).unref()
  }

  async #look(targets: WatchTargets): Promise<void> {
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
    clearInterval(this.#looking)
    await this.#watcher?.close()
  }
}

/** Changes whenever one of the files does. */
async function marksOf({ poolDir, twins }: WatchTargets): Promise<string> {
  const names = (await readdir(poolDir).catch(() => [])).filter((name) => name.endsWith('.json'))
  const files = [...names.map((name) => join(poolDir, name)), ...twins]
  const marks = await Promise.all(files.map(markOf))
  return JSON.stringify([files, marks])
}

/** Of what a link points to. */
async function markOf(file: string): Promise<string> {
  const info = await stat(file).catch(() => undefined)
  return info ? [info.ino, info.size, info.mtimeMs, info.mode].join() : ''
}
