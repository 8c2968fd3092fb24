import type { Grammar, Reading, Statement } from './grammar.js'
import { MARK } from './marked-lines.js'
import { linesOf, type Span } from './text-edit.js'
import type { Setting } from './values.js'

/** `.env`, as the dotenv package reads it, which Gemini CLI uses. */
export const dotenv: Grammar = { read, write, top: () => 0 }

// A name, `=` or `: `, and a value: quoted, over several lines if need be, or up to the comment.
const ASSIGNMENT =
  /^\s*(?<start>(?:export\s+)?(?<name>[\w.-]+)(?:\s*=[^\S\r\n]*|:[^\S\r\n]+)(?<value>'(?:\\'|[^'])*'|"(?:\\"|[^"])*"|`(?:\\`|[^`])*`|[^#\r\n]*))[^\S\r\n]*(?<rest>#.*)?$/dgm

function read(text: string): Reading {
  const values: Record<string, string> = {}
  const statements: Statement[] = []
  for (const match of text.matchAll(ASSIGNMENT)) {
    const { name = '', value = '', rest = '' } = match.groups ?? {}
    const [start, end] = match.indices?.groups?.start ?? [0, 0]
    values[name] = unquoted(value.trim())
    statements.push({ path: [name], ...linesOf(text, { start, end }), marked: rest.trimEnd() === MARK })
  }
  return { values, statements, remarks: remarksOf(text, statements) }
}

function remarksOf(text: string, statements: readonly Statement[]): Span[] {
  return [...text.matchAll(/^#/gm)]
    .map(({ index }) => linesOf(text, { start: index, end: index }))
    .filter(({ start }) => !statements.some((one) => one.start <= start && start < one.end))
}

function unquoted(value: string): string {
  const bare = value.replace(/^(['"`])([^]*)\1$/, '$2')
  return value.startsWith('"') ? bare.replaceAll('\\n', '\n').replaceAll('\\r', '\r') : bare
}

function write({ path, value }: Setting): { lines: string[] } {
  const text = String(value)
  if (/^[\w:/.~-]+$/.test(text)) return { lines: [`${path[0]}=${text}`] }
  const quote = ["'", '"', '`'].find((mark) => !text.includes(mark)) ?? "'"
  return { lines: [`${path[0]}=${quote}${text}${quote}`] }
}
