import type { Backup, Change } from './change.js'
import type { Grammar } from './grammar.js'
import { put, type SetAside, takeOut } from './marked-lines.js'
import { refused } from './setup-error.js'
import { lineEnd } from './text-edit.js'
import type { Path, Setting } from './values.js'

/** A file in which our lines are marked. */
export interface MarkedFile {
  readonly file: string
  /** `undefined`: there is none. */
  readonly before: string | undefined
  readonly grammar: Grammar
  /** Every setting that we ever write. */
  readonly own: readonly Path[]
}

export interface MarkedChange extends Change {
  readonly aside: readonly SetAside[]
  /** What the file says now, our lines left out. */
  readonly values: unknown
}

/**
 * What the set-up makes of it, whether it has been set up before or not.
 * @throws {SetupError} if it cannot take it
 */
export function setUp(marked: MarkedFile, wish: (values: unknown) => Setting[]): MarkedChange {
  const { file, grammar, before } = marked
  const bare = withoutOurs(marked)
  let values: unknown
  const done = put(bare, (present) => wish((values = present)), grammar)
  if ('problem' in done) throw refused(file, done.problem)
  const after = done.text === (before ?? '') ? before : done.text
  // A file that holds our lines already has its copy from before them.
  const backup = bare === (before ?? '') && after !== before ? 'make' : 'leave'
  return { file, before, after, backup, aside: done.aside, values }
}

/**
 * What taking our lines out makes of it: if the person has changed nothing since, what it was, byte for byte.
 * @throws {SetupError} if it cannot be read any more
 */
export function tearDown(marked: MarkedFile, copy: Backup): Change {
  const { file, before } = marked
  const bare = withoutOurs(marked)
  if (before === undefined || bare === before) return { file, before, after: before, backup: 'leave' }
  const after = settled(bare, copy)
  // A client that removes a table also removes the comments above it, and so what was set aside there: then the copy is
  // all that is left of it.
  return { file, before, after, backup: after === copy?.text || copy?.text === undefined ? 'drop' : 'leave' }
}

function settled(bare: string, copy: Backup): string | undefined {
  if (copy === undefined) return bare
  if (copy.text === undefined) return bare === '' ? undefined : bare
  // A table at the end needed a line end in front of it, which the file may not have had.
  return bare === copy.text + lineEnd(copy.text) ? copy.text : bare
}

function withoutOurs({ file, before = '', own, grammar }: MarkedFile): string {
  const bare = takeOut(before, own, grammar)
  if ('problem' in bare) throw refused(file, bare.problem)
  return bare.text
}
