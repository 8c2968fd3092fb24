import { ConfigError, redact } from '../../config/index.js'
import { harmless, Outlet } from '../telemetry/terminal.js'

const stdout = new Outlet(process.stdout)
const stderr = new Outlet(process.stderr)

// Without status 1 a script would take half an output for a whole one. EPIPE comes from `| head`, which has read enough.
process.on('exit', () => {
  if (stdout.failing !== undefined && stdout.failing !== 'EPIPE') process.exitCode ??= 1
})

/** Writes a command's output to stdout. A running gateway writes to the log instead. */
export function print(text: string): void {
  printAsIs(redact(text))
}

/** Tells something beside a command's output, which may be JSON for a program. */
export function warn(text: string): void {
  stderr.write(`warning: ${harmless(redact(text))}\n`)
}

/** For a text that is to show an access key or an address to log in at. */
export function printAsIs(text: string): void {
  stdout.write(`${harmless(text)}\n`)
}

/** An error that stops a command: words for the user, and a stable code for programs. */
export function refusal(code: string, message: string): Error {
  return Object.assign(new Error(message), { code })
}

/** Prints the error that stopped a command, and exits with the status for that kind of error. */
export function exitWith(error: Error & { code?: string }): never {
  if (error instanceof ConfigError) return stop(2, error.message)
  if (error.code === 'database_locked') return stop(3, error.message)
  if (error.code === 'EADDRINUSE')
    return stop(1, `${error.message}\nAnother program listens there; choose another address with --listen.`)
  // With a code, ours or the system's, the message says enough. Without one the stack is needed.
  return stop(1, error.code === undefined ? (error.stack ?? error.message) : error.message)
}

function stop(status: number, message: string): never {
  stderr.write(`codex-pool: ${harmless(redact(message))}\n`)
  process.exit(status)
}
