import { readFileSync } from 'node:fs'

/** A place in a file; line and column from 1. */
export interface Place {
  readonly file: string
  readonly line: number
  readonly column: number
}

/** The line and two before and after it. Empty if the file cannot be read. */
export function codeFrame({ file, line, column }: Place): string {
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
    // Moved away since. The place alone says enough.
    return []
  }
}

/** Access keys stand in these files: what is as long as one is not shown. */
export function blankOut(line: string): string {
  const stars = (text: string): string => '*'.repeat(text.length)
  return line
    .replace(/(['"`])([^'"`]{16,})/g, (_, quote: string, text: string) => quote + stars(text))
    .replace(/[\w.~+/=-]{16,}(?![\w.~+/=-]*[:(])/g, stars)
}
