import { type AST, getStaticTOMLValue, ParseError, parseTOML } from 'toml-eslint-parser'
import type { Grammar, Problem, Reading, Statement } from './grammar.js'
import { MARK } from './marked-lines.js'
import { linesOf, type Span } from './text-edit.js'
import type { Setting } from './values.js'

/**
 * TOML. The parser says where everything stands and what it means; the text is changed by whole lines. The libraries
 * that change TOML write the whole file anew, and with it line ends, spaces and the places of comments.
 */
export const toml: Grammar = { read, write, top }

function read(text: string): Reading | Problem {
  try {
    const document = parseTOML(text)
    const statements = document.body[0].body.flatMap((node) => statementsOf(text, node, document.comments))
    const remarks = document.comments
      .map((comment) => linesOf(text, span(comment.range)))
      .filter(
        ({ start }) =>
          text[start] === '#' && !statements.some((one) => one.start <= start && start < one.end),
      )
    return { values: getStaticTOMLValue(document), statements, remarks }
  } catch (error) {
    if (!(error instanceof ParseError)) throw error
    return { problem: `is not valid TOML (line ${error.lineNumber}: ${error.message})` }
  }
}

function statementsOf(text: string, node: AST.TOMLKeyValue | AST.TOMLTable, comments: Comments): Statement[] {
  const table = node.type === 'TOMLTable' ? node.resolvedKey.map(String) : []
  const entries = (node.type === 'TOMLTable' ? node.body : [node]).map(({ key, range }) => {
    const path = [...table, ...key.keys.map((part) => (part.type === 'TOMLBare' ? part.name : part.value))]
    return statement(text, path, span(range), comments)
  })
  if (node.type !== 'TOMLTable') return entries
  return [{ ...statement(text, table, span(node.key.range), comments), header: true }, ...entries]
}

type Comments = readonly { readonly range: readonly [number, number] }[]

function statement(text: string, path: string[], at: Span, comments: Comments): Statement {
  const lines = linesOf(text, at)
  const behind = comments.find(({ range: [start] }) => start >= at.end && start < lines.end)
  return { path, ...lines, marked: behind !== undefined && text.slice(...behind.range).trimEnd() === MARK }
}

const span = ([start, end]: readonly [number, number]): Span => ({ start, end })

function write({ path, value }: Setting): { lines: string[]; last?: boolean } {
  if (typeof value !== 'object' || value === null)
    return { lines: [`${path.join('.')} = ${JSON.stringify(value)}`] }
  const entries = Object.entries(value).map(([key, entry]) => `${key} = ${JSON.stringify(entry)}`)
  // Elsewhere it would take in the keys that follow.
  return { lines: [`[${path.join('.')}]`, ...entries], last: true }
}

/** Behind the `#:schema` line, which editors look for in the first one. */
function top(text: string): number {
  return /^(?:#:.*(?:\r?\n|$))*/.exec(text)![0].length
}
