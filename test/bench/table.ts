export interface Row {
  readonly name: string
  readonly firstByteMs: number
  readonly totalMs: number
  /** `NaN` where no process stands in the middle. */
  readonly cpuMs: number
}

const HEAD = ['', 'first byte ms', 'total ms', 'CPU ms', 'CPU: plain proxy = 1', 'added first byte ms']

/** Medians, and what they are against the first two rows: without a proxy, and with the plainest one. */
export function table([direct, plain, ...rest]: Row[]): string {
  const rows = [direct!, plain!, ...rest].map(({ name, firstByteMs, totalMs, cpuMs }) => [
    name,
    shown(firstByteMs),
    shown(totalMs),
    shown(cpuMs),
    shown(cpuMs / plain!.cpuMs),
    name === direct!.name ? '' : shown(firstByteMs - direct!.firstByteMs),
  ])
  const lines = [HEAD, ...rows]
  const widths = HEAD.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)))
  return lines
    .map((line) =>
      line.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!))),
    )
    .map((cells) => cells.join('  '))
    .join('\n')
}

const shown = (value: number): string => (Number.isNaN(value) ? '' : value.toFixed(2))
