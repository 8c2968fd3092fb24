import { readFileSync } from 'node:fs'
import { isAbsolute, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ConfigError, type ProblemCode } from './problems.js'

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

/** Reads text; throws what js-yaml throws. */
type Parse = (file: string, text: string) => unknown

/** YAML. The parser's own message quotes the lines around the fault, and access keys stand there. */
export function parseYaml(file: string, text: string, cwd: string, parse: Parse): unknown {
  try {
    // js-yaml refuses a file in which everything is commented out.
    return text.replace(/^\s*#.*$/gm, '').trim() === '' ? undefined : parse(file, text)
  } catch (cause) {
    const message = `is not YAML: ${blankOut(yamlFault(cause)?.reason ?? 'cannot be read')}`
    throw sourceError(file, cwd, { message, code: 'config_syntax', place: yamlPlace(file, cause) })
  }
}

/** JSON. `yaml` says where the fault is when JSON.parse does not: JSON is YAML, too. */
export function parseJson(file: string, text: string, cwd: string, yaml: Parse): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    const said = cause instanceof Error ? cause.message : ''
    // Up to where it quotes the file.
    const message = `is not JSON: ${said.replace(/( in JSON at |, (\.\.\.)?"| is not valid).*$/s, '')}`
    const place = placeAt(file, text, said) ?? yamlPlaceIn(file, text, yaml)
    throw sourceError(file, cwd, { message, code: 'config_syntax', place })
  }
}

function placeAt(file: string, text: string, message: string): Place | undefined {
  const position = / at position (\d+)/.exec(message)?.[1]
  if (position === undefined) return undefined
  const before = text.slice(0, Number(position)).split('\n')
  return { file, line: before.length, column: (before.at(-1) ?? '').length + 1 }
}

function yamlPlaceIn(file: string, text: string, parse: Parse): Place | undefined {
  try {
    parse(file, text)
    return undefined
  } catch (error) {
    return yamlPlace(file, error)
  }
}

interface YamlFault {
  reason?: string
  /** From 0. */
  mark?: { line: number; column: number }
}

function yamlFault(error: unknown): YamlFault | undefined {
  return error instanceof Error && error.name === 'YAMLException' ? (error as YamlFault) : undefined
}

function yamlPlace(file: string, error: unknown): Place | undefined {
  const mark = yamlFault(error)?.mark
  return mark && { file, line: mark.line + 1, column: mark.column + 1 }
}

/** A place in a file; line and column from 1. */
export interface Place {
  readonly file: string
  readonly line: number
  readonly column: number
}

/** The line and two before and after it. Empty if the file cannot be read. */
export function codeFrame({ file, line, column }: Place): string {
  const first = Math.max(1, line - 2)
  return linesOf(file)
    .slice(first - 1, line + 2)
    .flatMap((text, index) => {
      const number = first + index
      const shown = `${number === line ? '>' : ' '} ${String(number).padStart(4)} | ${blankOut(text)}`
      return number === line ? [shown, `       | ${' '.repeat(column - 1)}^`] : [shown]
    })
    .join('\n')
}

function linesOf(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').split(/\r?\n/)
  } catch {
    // Moved away since. The place alone says enough.
    return []
  }
}

/** Access keys stand in these files: what is as long as one is not shown. */
export function blankOut(line: string): string {
  const stars = (text: string): string => '*'.repeat(text.length)
  return line
    .replace(/(['"`])([^'"`]{16,})/g, (_, quote: string, text: string) => quote + stars(text))
    .replace(/[\w.~+/=-]{16,}(?![\w.~+/=-]*[:(])/g, stars)
}

/** What errors call the place a configuration came from: the file as the user would type it. */
export function displayName(file: string | undefined, cwd: string): string {
  if (file === undefined) return 'config object'
  const typed = relative(cwd, file)
  return typed.startsWith('..') || isAbsolute(typed) ? file : typed
}
