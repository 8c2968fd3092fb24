import { parse as parseDotenv } from 'dotenv'
import { type AST, getStaticTOMLValue, ParseError, parseTOML } from 'toml-eslint-parser'
import type { Format, Statement } from './marked-lines.js'

/** TOML, changed line by line: a library that writes TOML loses the file's comments, blanks and line ends. */
export const toml: Format = {
  read(text) {
    try {
      const document = parseTOML(text)
      return { values: getStaticTOMLValue(document), statements: document.body[0].body.flatMap(statementsOf) }
    } catch (error) {
      if (!(error instanceof ParseError)) throw error
      return `is not valid TOML (line ${error.lineNumber}: ${error.message})`
    }
  },
  write({ path, value }) {
    if (typeof value !== 'object' || value === null) return [`${path.join('.')} = ${JSON.stringify(value)}`]
    const entries = Object.entries(value).map(([key, entry]) => `${key} = ${JSON.stringify(entry)}`)
    return [`[${path.join('.')}]`, ...entries]
  },
}

function statementsOf(node: AST.TOMLKeyValue | AST.TOMLTable): Statement[] {
  const span = ([start, end]: readonly [number, number]) => ({ start, end })
  const table = node.type === 'TOMLTable' ? node.resolvedKey.map(String) : []
  const entries = (node.type === 'TOMLTable' ? node.body : [node]).map(({ key, range }) => ({
    path: [...table, ...key.keys.map((part) => (part.type === 'TOMLBare' ? part.name : part.value))],
    ...span(range),
  }))
  if (node.type !== 'TOMLTable') return entries
  return [{ path: table, isTable: true, ...span(node.key.range) }, ...entries]
}

/** A name, `=` or `: `, and a value: quoted (over several lines, too), or up to the comment. The same as in dotenv. */
const ASSIGNMENT =
  /^[^\S\r\n]*(?:export\s+)?(?<name>[\w.-]+)(?:\s*=[^\S\r\n]*|:[^\S\r\n]+)(?:'(?:\\'|[^'])*'|"(?:\\"|[^"])*"|`(?:\\`|[^`])*`|[^#\r\n]*)(?=[^\S\r\n]*(?:#.*)?$)/gm

/** `.env` as Gemini CLI reads it, with the dotenv package. The positions come from a pattern: dotenv tells none. */
export const dotenv: Format = {
  read: (text) => ({
    values: parseDotenv(text),
    statements: [...text.matchAll(ASSIGNMENT)].map(({ 0: all, index, groups }) => ({
      path: [groups!.name!],
      start: index,
      end: index + all.length,
    })),
  }),
  write({ path, value }) {
    const text = String(value)
    if (/^[\w:/.~-]+$/.test(text)) return [`${path[0]}=${text}`]
    const quote = ["'", '"', '`'].find((mark) => !text.includes(mark)) ?? "'"
    return [`${path[0]}=${quote}${text}${quote}`]
  },
}
