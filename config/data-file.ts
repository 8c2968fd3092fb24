import { blankOut, type Place } from './code-frame.js'
import { sourceError } from './source-error.js'

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
