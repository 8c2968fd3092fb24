import { ConfigError, redact } from '../../config/index.js'
import { harmless, Outlet } from '../telemetry/terminal.js'

const stdout = new Outlet(process.stdout)
const stderr = new Outlet(process.stderr)

// A script must not take half an output for a whole one; `| head` has what it wants.
process.on('exit', () => {
  if (stdout.failing !== undefined && stdout.failing !== 'EPIPE') process.exitCode ??= 1
})

/** A command's output. The gateway writes to the log while it works. */
export function print(text: string): void {
  printAsIs(redact(text))
}

/** For a text that is to show an access key or an address to log in at. */
export function printAsIs(text: string): void {
  stdout.write(`${harmless(text)}\n`)
}

/** An error that stops a command: words for the user, and a stable code for programs. */
export function refusal(code: string, message: string): Error {
  return Object.assign(new Error(message), { code })
}

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
  stderr.write(`codex-pool: ${harmless(redact(message))}\n`)
  process.exit(status)
}
