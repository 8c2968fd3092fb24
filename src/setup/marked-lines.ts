import { isDeepStrictEqual } from 'node:util'
import { type Change, refused } from './personal-file.js'

/** Where a setting stands in a file: `['model_providers', 'codex-pool']`. */
export type Path = readonly string[]

export interface Setting {
  readonly path: Path
  /** `undefined`: it must not be set. An object becomes a table. */
  readonly value: unknown
}

/** A key with its value, or the head of a table; from one offset of the text up to another one. */
export interface Statement {
  readonly path: Path
  readonly start: number
  readonly end: number
  readonly isTable?: boolean
}
type Content = { readonly values: unknown; readonly statements: readonly Statement[] }

/** A kind of file whose settings stand on lines of their own and whose comments begin with `#`. */
export interface Format {
  /** The content, with the statements in order; or what is wrong with the text, which is not quoted. */
  read(text: string): Content | string
  /** The lines that set it. */
  readonly write: (setting: Setting) => string[]
}

export interface MarkedFile {
  readonly file: string
  readonly before: string
  readonly format: Format
  /** Every setting that a set-up may write. */
  readonly own: readonly Path[]
}

export interface MarkedChange extends Change {
  /** The settings that became comments. */
  readonly notes: readonly string[]
  /** The values of the file without our lines. */
  readonly values: unknown
}

/** Ends each line of ours. Marks around all of them would not do: Codex writes new keys between our lines. */
const MARK = '# codex-pool'
/** Begins each line that was set aside. An editor may have removed the blank at the end of an empty one. */
const ASIDE = '# before codex-pool: '
const ASIDE_MARK = /(?<![^\n])# before codex-pool:(?: |(?=\r?\n)|$)/g

/**
 * Makes the file say what is wanted, whether it has been set up before or not. A statement that says otherwise becomes
 * a comment, one that says it already stays, and so does every other byte.
 */
export function setUp(marked: MarkedFile, wish: (values: unknown) => Setting[]): MarkedChange {
  const { file, before, format } = marked
  const text = withoutOurs(marked)
  const { values, statements } = read(marked, text)
  const wanted = wish(values)
  const missing = wanted.filter((one) => !says(values, one))
  const aside = statements.filter(({ path }) => missing.some((setting) => isUnder(path, setting.path)))
  const commented = edited(text, aside, (lines) => lines.replace(/(?<![^\n])(?=[^])/g, ASIDE))
  const after = withSettings(commented, missing, format)
  const result = format.read(after)
  const paths = wanted.map(({ path }) => path)
  if (!agree(result, values, paths) || !wanted.every((one) => says(result.values, one))) {
    const names = missing.map(({ path }) => path.join('.')).join(', ')
    throw refused(file, `cannot take ${names}: write the lines by hand (codex-pool clients)`)
  }
  const notes = missing.flatMap(({ path }) => {
    const first = aside.find((statement) => isUnder(statement.path, path))
    if (!first) return []
    const line = text.slice(0, first.start).split('\n').length
    return [`line ${line}, ${path.join('.')}: set aside as a comment, since it said something else`]
  })
  // A file that holds our lines already has its copy from before them.
  return { file, before, after, copy: text === before && after !== before ? 'make' : 'keep', notes, values }
}

/** Takes our lines out and brings back what was set aside: byte for byte, if nothing else has changed since. */
export function takeBack(marked: MarkedFile, copy: string | undefined): Change {
  const { file, before } = marked
  const after = withoutOurs(marked)
  // A client that removes a table also removes the comments above it: then the copy is all that is left of them.
  return { file, before, after, copy: before !== after && after === copy ? 'drop' : 'keep' }
}

function withoutOurs(marked: MarkedFile): string {
  const { file, before, format, own } = marked
  const { values, statements } = read(marked, before)
  const ours = statements.filter((one) => one.isMarked && own.some((path) => isUnder(one.path, path)))
  const removed = statements.filter(
    // Keys that the user added to our table go with it: Codex does not start with half a provider.
    (one) => ours.includes(one) || ours.some(({ isTable, path }) => isTable && isUnder(one.path, path)),
  )
  const bare = edited(before, removed, () => '')
  // A line end that only separated our last line from a file without one at its end.
  const cut = removed.some(({ end }) => end === before.length) && !before.endsWith('\n')
  const text = cut ? bare.replace(/\r?\n$/, '') : bare
  // A setting that was set aside may have been set anew since; then the old line stays a comment without our mark.
  for (const prefix of ['', '# ']) {
    const restored = asideRestored(text, format, prefix)
    if (agree(format.read(restored), values, own)) return restored
  }
  throw refused(file, 'cannot be taken back: our lines have been changed too much')
}

/** The mark may also stand in a text of the user's own that runs over several lines. */
function asideRestored(text: string, format: Format, prefix: string): string {
  const content = format.read(text)
  const statements = typeof content === 'object' ? content.statements : []
  return text.replace(ASIDE_MARK, (mark, offset: number) =>
    statements.some(({ start, end }) => start < offset && offset < end) ? mark : prefix,
  )
}

function withSettings(text: string, settings: readonly Setting[], format: Format): string {
  const wanted = settings.filter(({ value }) => value !== undefined)
  const [tables, keys] = [
    wanted.filter(({ value }) => isTable(value)),
    wanted.filter(({ value }) => !isTable(value)),
  ]
  // At the end a table takes in no key of the user's, and at the top no table takes in ours.
  const ended = withLines(text, text.length, tables.flatMap(format.write))
  // Editors look for a `#:schema` line in the first one.
  return withLines(ended, /^(?:#:.*(?:\r?\n|$))*/.exec(ended)![0].length, keys.flatMap(format.write))
}

function withLines(text: string, offset: number, lines: readonly string[]): string {
  if (lines.length === 0) return text
  const eol = /\r?\n/.exec(text)?.[0] ?? '\n'
  const block = lines.map((line) => `${line} ${MARK}`).join(eol)
  const head = text.slice(0, offset)
  // A file without a line end at its end keeps it so.
  return /(?:^|\n)$/.test(head) ? head + block + eol + text.slice(offset) : head + eol + block
}

/** From the last to the first, so that offsets stay true. */
function edited(text: string, statements: readonly Statement[], edit: (lines: string) => string): string {
  return statements.reduceRight(
    (done, { start, end }) => done.slice(0, start) + edit(text.slice(start, end)) + done.slice(end),
    text,
  )
}

/** The statements with the whole lines that they stand on. */
function read({ file, format }: MarkedFile, text: string) {
  const content = format.read(text)
  if (typeof content === 'string') throw refused(file, content)
  const statements = content.statements.map((one) => {
    const start = text.lastIndexOf('\n', one.start - 1) + 1
    const end = text.indexOf('\n', one.end) + 1 || text.length
    return { ...one, start, end, isMarked: /^[\s\]]*# codex-pool\s*$/.test(text.slice(one.end, end)) }
  })
  return { values: content.values, statements }
}

const isUnder = (path: Path, parent: Path): boolean => parent.every((key, i) => path[i] === key)

export function at(values: unknown, path: Path): unknown {
  return path.reduce<unknown>((value, key) => (isTable(value) ? value[key] : undefined), values)
}

const says = (values: unknown, { path, value }: Setting): boolean =>
  isDeepStrictEqual(at(values, path), value)

/** Whether a content says the same as `values` about all but these settings. */
function agree(content: Content | string, values: unknown, but: readonly Path[]): content is Content {
  if (typeof content === 'string') return false
  return isDeepStrictEqual(but.reduce(without, content.values), but.reduce(without, values))
}

/** A table that is empty without the setting goes as well: it may have come into being with it. */
function without(values: unknown, [key, ...rest]: Path): unknown {
  if (!isTable(values) || key === undefined || !(key in values)) return values
  const { [key]: value, ...others } = values
  const left = rest.length === 0 ? {} : without(value, rest)
  return isTable(left) && Object.keys(left).length === 0 ? others : { ...others, [key]: left }
}

const isTable = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null
