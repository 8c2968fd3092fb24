import type { Front } from './fronts.js'
import { cellOf, scopes, type Cell, type Row } from './row.js'

/** The matrix as the manual shows it: fault, providers, one of two accounts at fault, all at fault. */
export function matrixTable(rows: readonly Row[], fronts: readonly Front[]): string[][] {
  return rows.flatMap((row) => {
    const lines = new Map<string, { names: string[]; cells: string[] }>()
    for (const front of fronts) {
      const cells = scopes.map((scope) => shown(cellOf(row, front, scope)))
      const line = lines.get(cells.join()) ?? { names: [], cells }
      line.names.push(front.name)
      lines.set(cells.join(), line)
    }
    return [...lines.values()].map(({ names, cells }) => [
      row.fault,
      names.length === fronts.length ? 'all' : names.join(', '),
      ...cells,
    ])
  })
}

function shown({ seen, asked, state }: Cell): string {
  return `${seen}; ${asked.replaceAll(' ', ' → ')}; ${state}`
}
