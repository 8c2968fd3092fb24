import winston from 'winston'
import type { ResolvedConfig } from '../../config/config.js'
import { redact } from '../../config/index.js'

/** What the gateway writes while it works: one line per event, to stderr. */
export interface Log {
  error(message: string): void
  warn(message: string): void
  info(message: string): void
  debug(message: string): void
  isDebugEnabled(): boolean
}

const line = winston.format.printf(
  ({ timestamp, level, message }) => `${timestamp} ${level.padEnd(5)} ${redact(String(message))}`,
)

export function openLog({ level }: ResolvedConfig['log']): Log {
  return winston.createLogger({
    level: level === 'silent' ? 'error' : level,
    silent: level === 'silent',
    format: winston.format.combine(winston.format.timestamp(), line),
    // stdout is for the line that says where the gateway listens, and for the commands' output.
    transports: [new winston.transports.Console({ stderrLevels: ['error', 'warn', 'info', 'debug'] })],
  })
}
