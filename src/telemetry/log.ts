import { Writable } from 'node:stream'
import winston from 'winston'
import type { ResolvedConfig } from '../../config/config.js'
import { redact } from '../../config/index.js'
import type { Accounts } from '../accounts/accounts.js'
import { orderNotices } from '../accounts/selection.js'
import { harmlessLine, Outlet } from './terminal.js'

/** The log of a gateway: one line per event, to stderr. */
export interface Log {
  error(message: string): void
  warn(message: string): void
  info(message: string): void
  debug(message: string): void
  isDebugEnabled(): boolean
  /** Why its lines are lost now. */
  failing(): string | undefined
}

const line = winston.format.printf(
  ({ timestamp, level, message }) =>
    `${timestamp} ${level.padEnd(5)} ${harmlessLine(redact(String(message)))}`,
)

export function openLog({ level }: ResolvedConfig['log']): Log {
  // stdout is for the line that says where the gateway listens, and for the commands' output.
  const stderr = new Outlet(process.stderr, (lost) =>
    logger.warn(`the log was silent: ${lost} lines are lost`),
  )
  const stream = new Writable({
    decodeStrings: false,
    write(text: string, _encoding, done) {
      stderr.write(text)
      done()
    },
  })
  const logger = winston.createLogger({
    level: level === 'silent' ? 'error' : level,
    silent: level === 'silent',
    format: winston.format.combine(winston.format.timestamp(), line),
    transports: [new winston.transports.Stream({ stream })],
  })
  return Object.assign(logger, { failing: () => stderr.failing })
}

/** Logs what has changed in the pool between two scans. */
export class PoolLog {
  #lines: ReadonlySet<string> | undefined
  #keys: ReadonlySet<string> = new Set()

  constructor(
    private readonly accounts: Accounts,
    private readonly log: Log,
  ) {}

  /** Called after each scan. The first call only records the state to compare with. */
  scanned(): void {
    const { infos, warnings } = poolLines(this.accounts)
    const keys = new Set(this.accounts.all().map(({ key }) => key))
    const before = this.#lines
    if (before) {
      for (const key of this.#keys) if (!keys.has(key)) this.log.info(`account ${key} has left the pool`)
      for (const line of infos) if (!before.has(line)) this.log.info(line)
      for (const line of warnings) if (!before.has(line)) this.log.warn(line)
    }
    this.#lines = new Set([...infos, ...warnings])
    this.#keys = keys
  }
}

/** The pool in sentences: its accounts, which of them are held back, and what is wrong with files. */
export function poolLines(accounts: Accounts): { infos: string[]; warnings: string[] } {
  const all = accounts.all()
  const members = all.map(
    ({ id, provider, inspection: { kind, plan } }) =>
      `account ${id}: ${[provider, kind, plan].filter(Boolean).join(', ')}`,
  )
  return {
    infos: [...members, ...orderNotices(all)],
    warnings: [...accounts.skipped, ...accounts.warnings].map(({ file, reason }) => `${file}: ${reason}`),
  }
}
