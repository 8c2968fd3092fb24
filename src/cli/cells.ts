import stringWidth from 'string-width'

/** Columns that a text takes in a terminal: an East Asian character takes two, a colour none. */
export const widthOf = (text: string): number => stringWidth(text)

export function padded(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - widthOf(text)))
}

export function paddedLeft(text: string, width: number): string {
  return ' '.repeat(Math.max(0, width - widthOf(text))) + text
}

/** A plain text of this width at most. */
export function cut(text: string, width: number): string {
  return widthOf(text) <= width ? text : `${head(text, width - 1)}…`
}

/** The same without its middle: names of accounts often differ at their end. */
export function cutMiddle(text: string, width: number): string {
  if (widthOf(text) <= width) return text
  const tail = Math.floor((width - 1) / 2)
  const end = [...text].reverse().join('')
  return `${head(text, width - 1 - tail)}…${[...head(end, tail)].reverse().join('')}`
}

function head(text: string, width: number): string {
  let kept = ''
  for (const character of text) {
    if (widthOf(kept + character) > width) break
    kept += character
  }
  return kept
}

/** A bar, with a mark at the cell of another value. Both are percent. */
export function bar(percent: number, width: number, mark?: number): string {
  const filled = Math.round((Math.min(100, percent) / 100) * width)
  const at = mark === undefined ? -1 : Math.min(width - 1, Math.floor((mark / 100) * width))
  return Array.from({ length: width }, (_, cell) => (cell === at ? '│' : cell < filled ? '█' : '░')).join('')
}

/** Columns of equal width, as wide as their widest cell. `toRight`: indexes of columns of numbers. */
export function columns(
  rows: readonly (readonly string[])[],
  toRight: ReadonlySet<number> = new Set(),
): string[] {
  const widths = rows.reduce<number[]>(
    (most, row) => row.map((cell, index) => Math.max(most[index] ?? 0, widthOf(cell))),
    [],
  )
  return rows.map((row) =>
    row
      .map((cell, index) => (toRight.has(index) ? paddedLeft : padded)(cell, widths[index]!))
      .join('  ')
      .trimEnd(),
  )
}
