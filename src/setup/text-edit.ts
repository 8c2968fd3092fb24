/** Offsets into a text; the end is the first that does not belong. */
export interface Span {
  readonly start: number
  readonly end: number
}

export interface Edit extends Span {
  readonly text: string
}

/** Edits must not overlap. */
export function edited(text: string, edits: readonly Edit[]): string {
  return [...edits]
    .sort((a, b) => b.start - a.start)
    .reduce((done, { start, end, text: put }) => done.slice(0, start) + put + done.slice(end), text)
}

/** The whole lines that something stands on, with the last one's end. */
export function linesOf(text: string, { start, end }: Span): Span {
  const next = text.indexOf('\n', end)
  return { start: text.lastIndexOf('\n', start - 1) + 1, end: next === -1 ? text.length : next + 1 }
}

/** The first line end of the text, which a new line takes over. */
export const lineEnd = (text: string): string => /\r?\n/.exec(text)?.[0] ?? '\n'

/** Counted from 1. */
export const lineNumber = (text: string, offset: number): number => text.slice(0, offset).split('\n').length
