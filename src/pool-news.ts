import type { Accounts } from './accounts/registry.js'
import { standbyNotices } from './accounts/standby.js'
import type { Log } from './log.js'

/** Tells the log what has changed in the pool since it was last looked at. */
export class PoolNews {
  #known: ReadonlySet<string> | undefined
  #ids: ReadonlySet<string> = new Set()

  constructor(
    private readonly accounts: Accounts,
    private readonly log: Log,
  ) {}

  /** The first time nothing is news. */
  tell(): void {
    const { infos, warnings } = poolLines(this.accounts)
    const ids = new Set(this.accounts.all().map(({ key }) => key))
    const known = this.#known
    if (known) {
      for (const key of this.#ids) if (!ids.has(key)) this.log.info(`account ${key} has left the pool`)
      for (const line of infos) if (!known.has(line)) this.log.info(line)
      for (const line of warnings) if (!known.has(line)) this.log.warn(line)
    }
    this.#known = new Set([...infos, ...warnings])
    this.#ids = ids
  }
}

/** The pool in sentences: who is in it, what applies to them, and what is wrong with files. */
export function poolLines(accounts: Accounts): { infos: string[]; warnings: string[] } {
  const all = accounts.all()
  const members = all.map(
    ({ id, provider, inspection: { kind, plan } }) =>
      `account ${id}: ${[provider, kind, plan].filter(Boolean).join(', ')}`,
  )
  return {
    infos: [...members, ...standbyNotices(all)],
    warnings: [...accounts.skipped, ...accounts.warnings].map(({ file, reason }) => `${file}: ${reason}`),
  }
}
