import type { Span } from './text-edit.js'
import type { Path, Setting } from './values.js'

/** Something that a file says, on lines of its own. */
export interface Statement extends Span {
  readonly path: Path
  /** Begins a table: what follows stands in it. */
  readonly header?: boolean
  /** Whether its last line ends with our mark. */
  readonly marked: boolean
}

export interface Reading {
  readonly values: unknown
  readonly statements: readonly Statement[]
  /** Lines that hold nothing but a comment, and stand in no statement. */
  readonly remarks: readonly Span[]
}

export interface Problem {
  /** Reads on after the file's name. Without any of its content. */
  readonly problem: string
}

/** A kind of file whose settings stand on lines of their own and whose comments begin with `#`. */
export interface Grammar {
  read(text: string): Reading | Problem
  /** The lines that set it. `last`: only the end of the file is a place for them. */
  write(setting: Setting): { readonly lines: readonly string[]; readonly last?: boolean }
  /** The first offset at which a line may be put. */
  top(text: string): number
}
