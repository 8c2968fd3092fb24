import type { Grammar, Problem, Reading, Statement } from './grammar.js'
import { type Edit, edited, lineEnd, lineNumber } from './text-edit.js'
import { at, holds, type Path, sameBeside, type Setting, under } from './values.js'

/**
 * Ends each line that we write. The file itself so tells what is ours, however the person or the client changes the
 * rest: Codex puts new keys between ours, where a begin and an end mark would enclose them.
 */
export const MARK = '# codex-pool'

const ASIDE = '# before codex-pool: '
// An editor that removes spaces at the ends of lines leaves no space behind an empty line's mark.
const asideMark = /^# before codex-pool:(?: |(?=\r?\n)|$)/
// `^` with the flag `m` would also match between CR and LF.
const lineStarts = /(?<![^\n])(?=[^])/g

export interface SetAside {
  readonly path: Path
  readonly value: unknown
  /** In the file as it was; counted from 1. */
  readonly line: number
}

export interface Put {
  readonly text: string
  /** What stood in the way, and is a comment now. */
  readonly aside: readonly SetAside[]
}

/**
 * Makes the file say what is wanted, in view of what it says, and nothing else new. What is there already stays as it
 * is. A text that holds our lines must be given without them.
 */
export function put(text: string, wish: (values: unknown) => Setting[], grammar: Grammar): Put | Problem {
  const [bom, bare] = splitBom(text)
  const before = grammar.read(bare)
  if ('problem' in before) return before
  const wanted = wish(before.values)
  const missing = wanted.filter((setting) => !holds(before.values, setting))
  const aside = before.statements.filter(({ path }) => missing.some((setting) => under(path, setting.path)))
  const after = written(edited(bare, asRemarks(bare, aside)), missing, grammar)
  const reading = grammar.read(after)
  if ('problem' in reading) return cannot(missing, reading.problem)
  const paths = wanted.map(({ path }) => path)
  if (
    !wanted.every((setting) => holds(reading.values, setting)) ||
    !sameBeside(before.values, reading.values, paths)
  )
    return cannot(missing, 'the result would mean something else')
  return { text: bom + after, aside: report(bare, before, missing, aside) }
}

/** The text without our lines, and with what was set aside for them. */
export function takeOut(text: string, own: readonly Path[], grammar: Grammar): { text: string } | Problem {
  const [bom, bare] = splitBom(text)
  const before = grammar.read(bare)
  if ('problem' in before) return before
  const removed = oursOf(before.statements, own).map(({ start, end }) => ({ start, end, text: '' }))
  const restored = (as: string): string => edited(bare, [...removed, ...fromRemarks(bare, before, as)])
  // What was set aside may have been set anew since; then it stays a comment, but no longer one of ours.
  for (const after of [restored(''), restored('# ')]) {
    const reading = grammar.read(after)
    if (!('problem' in reading) && sameBeside(before.values, reading.values, own))
      return { text: bom + after }
  }
  return { problem: 'cannot be taken apart: our lines have been changed too much' }
}

/**
 * What bears our mark and is a setting that we write: a person may end a line with the same words. A table of ours goes
 * with what was added to it, since Codex does not start with half a provider.
 */
function oursOf(statements: readonly Statement[], own: readonly Path[]): Statement[] {
  const ours = statements.filter(({ path, marked }) => marked && own.some((one) => under(path, one)))
  const tables = ours.filter(({ header }) => header)
  return statements.filter((one) => ours.includes(one) || tables.some(({ path }) => under(one.path, path)))
}

function asRemarks(text: string, statements: readonly Statement[]): Edit[] {
  return statements.map(({ start, end }) => ({
    start,
    end,
    text: text.slice(start, end).replace(lineStarts, ASIDE),
  }))
}

function fromRemarks(text: string, { remarks }: Reading, as: string): Edit[] {
  return remarks.map(({ start, end }) => ({
    start,
    end,
    text: text.slice(start, end).replace(asideMark, as),
  }))
}

function written(text: string, settings: readonly Setting[], grammar: Grammar): string {
  const end = lineEnd(text)
  const blocks = settings.filter(({ value }) => value !== undefined).map((setting) => grammar.write(setting))
  const lines = (last: boolean): string =>
    blocks
      .filter((block) => (block.last ?? false) === last)
      .flatMap((block) => block.lines.map((line) => `${line} ${MARK}${end}`))
      .join('')
  const joined = (head: string, more: string): string =>
    head + (more === '' || head === '' || head.endsWith('\n') ? '' : end) + more
  const top = grammar.top(text)
  return joined(joined(text.slice(0, top), lines(false)) + text.slice(top), lines(true))
}

function report(
  text: string,
  { values }: Reading,
  missing: readonly Setting[],
  aside: Statement[],
): SetAside[] {
  return missing.flatMap(({ path }) => {
    const first = aside.find((statement) => under(statement.path, path))
    return first ? [{ path, value: at(values, path), line: lineNumber(text, first.start) }] : []
  })
}

function cannot(missing: readonly Setting[], why: string): Problem {
  const names = missing.map(({ path }) => path.join('.')).join(', ')
  return { problem: `cannot take ${names} (${why}). Put the lines in by hand: codex-pool clients` }
}

const splitBom = (text: string): [string, string] =>
  text.startsWith('\uFEFF') ? ['\uFEFF', text.slice(1)] : ['', text]
