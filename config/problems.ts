import { readFileSync } from 'node:fs'
import { isAbsolute, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { distance } from 'fastest-levenshtein'
import { messageOf } from './foreign.js'
import { redact } from './secrets.js'
import { blankOut, hidden, looksSecret, secretsIn } from './secrets.js'

/** Stable codes, for programs and for the manual. */
export type ProblemCode =
  | 'config_not_found'
  | 'config_unreadable'
  | 'config_syntax'
  | 'config_threw'
  | 'config_empty'
  | 'not_an_object'
  | 'unknown_key'
  | 'missing_key'
  | 'wrong_type'
  | 'bad_value'
  | 'out_of_range'
  | 'unknown_provider_type'
  | 'unknown_provider'
  | 'unknown_strategy'
  | 'unknown_retry'
  | 'shadows_builtin'
  | 'unreachable_route'
  | 'reserved_path'
  | 'bad_path'
  | 'bad_listen'
  | 'bad_address'
  | 'insecure_upstream'
  | 'credentials_in_address'
  | 'bad_host'
  | 'bad_origin'
  | 'bad_pattern'
  | 'bad_key'
  | 'duplicate_key'
  | 'access_required'
  | 'oauth_pair'

/** One thing that is wrong with a configuration. Holds no secret. */
export interface Problem {
  /** Where it was written: a file (`:line:column` if known), `environment`, `command line` or `config object`. */
  readonly file: string
  /** `routes[0].strategy`, a variable or a flag; empty if it is about the file as a whole. */
  readonly key: string
  /** The value as it may be shown: short, and `"***"` for a possible secret. */
  readonly value?: string | undefined
  /** The fault and the allowed values, as a sentence that begins with the value. */
  readonly message: string
  readonly code: ProblemCode
  /** The lines around a syntax error, string literals blanked out. */
  readonly frame?: string | undefined
}

/** A problem of one value, without the value's place in the configuration. */
export type ValueProblem = Pick<Problem, 'message' | 'code'>

/** Thrown when a configuration cannot be used. Carries every problem of it at once; its message is for people. */
export class ConfigError extends Error {
  readonly code = 'config_invalid'

  constructor(
    readonly problems: readonly Problem[],
    options?: ErrorOptions,
  ) {
    super(problems.map(describeProblem).join('\n'), options)
    this.name = 'ConfigError'
  }
}

function describeProblem({ file, key, value, message, code, frame }: Problem): string {
  const said = value === undefined ? message : `${value} ${message}`
  const line = key ? `${key}: ${said} (${file}) [${code}]` : `${file}: ${said} [${code}]`
  return frame ? `${line}\n${frame}` : line
}

/** `routes[0].strategy`, `strategies["my own"]`: the place of a value in the configuration. */
export function keyOf(path: readonly (string | number)[]): string {
  return path.map(segment).join('').replace(/^\./, '')
}

function segment(name: string | number): string {
  if (typeof name === 'number' || /^\d+$/.test(name)) return `[${name}]`
  // Access keys are hidden here, too: a user may write one as the name.
  if (looksSecret(name)) return `.${hidden}`
  return /^[\w-]+$/.test(name) ? `.${name}` : `[${JSON.stringify(name)}]`
}

/** `A, b, c. Did you mean "b"?` */
export function listChoices(written: string, choices: readonly string[]): string {
  const meant = closest(written, choices)
  const list = choices.join(', ') || 'none'
  return meant ? `${list}. Did you mean "${meant}"?` : list
}

/** The choice that differs from `written` by a typing error, if there is one. */
function closest(written: string, choices: readonly string[]): string | undefined {
  // One letter in three: with more, every short word is close to every other.
  const limit = Math.min(Math.max(1, Math.floor(written.length / 3)), written.length - 1)
  const [best] = choices
    .map((choice) => ({ choice, letters: distance(written.toLowerCase(), choice.toLowerCase()) }))
    .filter(({ letters }) => letters <= limit)
    .sort((a, b) => a.letters - b.letters)
  return best?.choice
}

interface FileProblem extends ValueProblem {
  readonly place?: Place | undefined
  readonly cause?: unknown
}

/** The error for a file that could not be read as a configuration. */
export function problemOfFile(
  file: string,
  cwd: string,
  { message, code, place, cause }: FileProblem,
): ConfigError {
  const at = place ? `${displayName(place.file, cwd)}:${place.line}:${place.column}` : displayName(file, cwd)
  return new ConfigError([{ file: at, key: '', message, code, frame: place && codeFrame(place) }], { cause })
}

/** The error for a config file that throws while it runs, or that cannot be run. */
export function thrownError(cause: unknown, file: string, cwd: string): ConfigError {
  const [firstLine = ''] = messageOf(cause).split('\n')
  const said = firstLine.replace(/^(ParseError|SyntaxError): /, '')
  const syntax = isParseError(cause)
  const place = placeOf(cause)
  const sources = new Set([file, place?.file ?? file])
  const secrets = [...sources].flatMap((source) => secretsIn(linesOf(source).join('\n')))
  return problemOfFile(file, cwd, {
    message: redact(syntax ? said : `threw: ${said}`, [secrets, environmentSecrets()]),
    code: syntax ? 'config_syntax' : 'config_threw',
    place,
    cause,
  })
}

/** A config takes its keys from there; an address or a path of this machine is none. */
function environmentSecrets(): Record<string, string | undefined> {
  const named = Object.entries(process.env).filter(
    ([name, value]) => /KEY|TOKEN|SECRET|PASSW|CREDENTIAL/.test(name) && !value?.startsWith('/'),
  )
  return Object.fromEntries(named)
}

/** The error for a file that cannot be opened. */
export function openError(cause: unknown, file: string, cwd: string): ConfigError {
  const { code, message } = cause as NodeJS.ErrnoException
  if (code === 'ENOENT')
    return problemOfFile(file, cwd, { message: 'is not there', code: 'config_not_found' })
  return problemOfFile(file, cwd, { message: `cannot be read: ${message}`, code: 'config_unreadable', cause })
}

/**
 * Where in the user's own files an error arose. jiti appends `FILE:LINE:COLUMN` to the message of a syntax error
 * (column from 0); an error that the config threw has it in its stack (column from 1), above the frames of jiti and ours.
 */
function placeOf(error: unknown): Place | undefined {
  if (!(error instanceof Error)) return undefined
  const lines = String(error.stack).split('\n')
  const entry = lines.findIndex((line) => /[\\/]jiti[\\/]|[\\/]config[\\/]load\./.test(line))
  const own = lines
    .slice(0, entry === -1 ? lines.length : entry)
    .filter((line) => !line.includes('node_modules'))
  const match = /(?:^|[\s(])((?:file:\/\/)?\/[^():\n]+\.[cm]?[jt]sx?):(\d+):(\d+)/m.exec(own.join('\n'))
  const [, file, line, column] = match ?? []
  if (!file) return undefined
  const path = file.startsWith('file:') ? fileURLToPath(file) : file
  return { file: path, line: Number(line), column: Number(column) + (isParseError(error) ? 1 : 0) }
}

function isParseError(error: unknown): boolean {
  return error instanceof Error && /ParseError|SyntaxError/.test(`${error.name}: ${error.message}`)
}

/** A place in a file; line and column from 1. */
export interface Place {
  readonly file: string
  readonly line: number
  readonly column: number
}

/** The line and two before and after it. Empty if the file cannot be read. */
function codeFrame({ file, line, column }: Place): string {
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
    // A file that was moved since: the error then shows the place without the lines.
    return []
  }
}

/** How errors name the place that a configuration came from: the file as the user would type it. */
export function displayName(file: string | undefined, cwd: string): string {
  if (file === undefined) return 'config object'
  const typed = relative(cwd, file)
  return typed.startsWith('..') || isAbsolute(typed) ? file : typed
}
