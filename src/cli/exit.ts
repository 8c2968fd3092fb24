import { ConfigError } from '../config-source.js'

/** Prints what stopped a command and ends with the status that says which kind it was. */
export function exitWith(error: Error & { code?: string }): never {
  if (error instanceof ConfigError) return stop(2, error.message)
  if (error.code === 'database_locked') return stop(3, error.message)
  if (error.code === 'EADDRINUSE')
    return stop(1, `${error.message}\nAnother program listens there; choose another address with --listen.`)
  // A code of ours or of the system means that the message says enough.
  return stop(1, error.code === undefined ? (error.stack ?? error.message) : error.message)
}

function stop(status: number, message: string): never {
  process.stderr.write(`codex-pool: ${message}\n`)
  process.exit(status)
}
