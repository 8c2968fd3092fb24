import { fileURLToPath } from 'node:url'
import { codeFrame, type Place } from './code-frame.js'
import { ConfigError, type ProblemCode } from './problems.js'
import { displayName } from './source.js'

interface Fault {
  readonly message: string
  readonly code: ProblemCode
  readonly place?: Place | undefined
  readonly cause?: unknown
}

/** The error for a file that could not be read as a configuration. */
export function sourceError(file: string, cwd: string, { message, code, place, cause }: Fault): ConfigError {
  const at = place ? `${displayName(place.file, cwd)}:${place.line}:${place.column}` : displayName(file, cwd)
  const error = new ConfigError([{ file: at, key: '', message, code, frame: place && codeFrame(place) }])
  error.cause = cause
  return error
}

/** For what a config file threw while it ran, or what keeps it from running. */
export function thrownError(cause: unknown, file: string, cwd: string): ConfigError {
  const [firstLine = ''] = (cause instanceof Error ? cause.message : String(cause)).split('\n')
  const message = firstLine.replace(/^(ParseError|SyntaxError): /, '')
  const syntax = isParseError(cause)
  return sourceError(file, cwd, {
    message: syntax ? message : `threw: ${message}`,
    code: syntax ? 'config_syntax' : 'config_threw',
    place: placeOf(cause),
    cause,
  })
}

/** For a file that cannot be opened. */
export function fileError(cause: unknown, file: string, cwd: string): ConfigError {
  const { code, message } = cause as NodeJS.ErrnoException
  if (code === 'ENOENT') return sourceError(file, cwd, { message: 'is not there', code: 'config_not_found' })
  return sourceError(file, cwd, { message: `cannot be read: ${message}`, code: 'config_unreadable', cause })
}

/**
 * Where in the user's own files an error arose. jiti appends `FILE:LINE:COLUMN` to the message of a syntax error
 * (column from 0); what a config threw has it in its stack (column from 1), above the frames of jiti and ours.
 */
export function placeOf(error: unknown): Place | undefined {
  if (!(error instanceof Error)) return undefined
  const lines = String(error.stack).split('\n')
  const entry = lines.findIndex((line) => /[\\/]jiti[\\/]|[\\/]config[\\/](evaluate|load)\./.test(line))
  const own = lines
    .slice(0, entry === -1 ? lines.length : entry)
    .filter((line) => !line.includes('node_modules'))
  const match = /(?:^|[\s(])((?:file:\/\/)?\/[^():\n]+\.[cm]?[jt]sx?):(\d+):(\d+)/m.exec(own.join('\n'))
  const [, file, line, column] = match ?? []
  if (!file) return undefined
  const path = file.startsWith('file:') ? fileURLToPath(file) : file
  return { file: path, line: Number(line), column: Number(column) + (isParseError(error) ? 1 : 0) }
}

export function isParseError(error: unknown): boolean {
  return error instanceof Error && /ParseError|SyntaxError/.test(`${error.name}: ${error.message}`)
}
