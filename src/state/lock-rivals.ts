import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { isGone } from './lock-claim.js'

/** The claims of others on a lock, and for how long each has shown no sign of life while we watched. */
export class Rivals {
  #seen = new Map<string, { beat: number; since: number }>()
  /** Whether one of them has shown a sign of life since we first looked. */
  alive = false

  constructor(
    private readonly folder: string,
    private readonly staleMs: number,
  ) {}

  async look(ours?: string): Promise<{ living: number; dead: string[] }> {
    const dead: string[] = []
    let living = 0
    for (const name of await present(readdir(this.folder), [])) {
      const claim = join(this.folder, name)
      const beat = claim === ours ? undefined : await present(beatOf(claim), undefined)
      if (beat === undefined) continue
      if (isGone(name) || this.#isDead(claim, beat)) dead.push(claim)
      else living++
    }
    return { living, dead }
  }

  #isDead(claim: string, beat: number): boolean {
    const now = performance.now()
    const seen = this.#seen.get(claim)
    if (seen?.beat === beat) return now - seen.since >= this.staleMs
    if (seen) this.alive = true
    this.#seen.set(claim, { beat, since: now })
    return false
  }
}

const beatOf = async (claim: string): Promise<number> => (await stat(claim)).mtimeMs

/** What cannot be looked at may live: only what is not there counts as gone. */
async function present<T, U>(looking: Promise<T>, gone: U): Promise<T | U> {
  try {
    return await looking
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return gone
    throw error
  }
}
