import { ConfigError, redact, redactAll } from '../../config/index.js'
import { harmless, Outlet } from '../telemetry/terminal.js'
import { palette, wantsColour } from './palette.js'

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

/** The colours of stdout. */
export const colours = palette(wantsColour(process.env, process.stdout.isTTY))

/** For a text whose colours are of {@link colours}: a text of others can hold no escape, since it has passed `onOneLine`. */
export function printStyled(text: string): void {
  stdout.write(`${harmlessButColours(redact(text))}\n`)
}

/** An escape that begins or ends a colour. */
const COLOUR = new RegExp(`(${String.fromCharCode(27)}\\[\\d*m)`)

const harmlessButColours = (text: string): string =>
  text
    .split(COLOUR)
    .map((part, index) => (index % 2 === 1 ? part : harmless(part)))
    .join('')

/** For a program that reads the output. */
export function printJson(value: object): void {
  print(JSON.stringify(redactAll(value), null, 2))
}

/** A screen of its own, on which lines are drawn over the last ones: clearing it first would flicker. */
export function redraw(): {
  show(lines: readonly string[]): void
  leave(): void
  readonly left: AbortSignal
} {
  const leaving = new AbortController()
  const stop = () => leaving.abort()
  process.once('SIGINT', stop).once('SIGTERM', stop)
  stdout.write('\x1b[?1049h\x1b[?25l')
  process.once('exit', () => stdout.write('\x1b[?25h\x1b[?1049l'))
  return {
    show(lines) {
      const room = lines.slice(0, (process.stdout.rows ?? 24) - 1)
      const drawn = room.map((line) => `${harmlessButColours(redact(line))}\x1b[K\n`)
      stdout.write(`\x1b[H${drawn.join('')}\x1b[J`)
    },
    leave: () => process.exit(0),
    left: leaving.signal,
  }
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
