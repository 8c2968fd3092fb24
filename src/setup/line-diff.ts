/** The lines that differ, `- ` before what goes and `+ ` before what comes, with their numbers. */
export function lineDiff(before: string, after: string): string[] {
  const [a, b] = [linesIn(before), linesIn(after)]
  const common = commonLengths(a, b)
  const out: string[] = []
  for (let i = 0, j = 0; i < a.length || j < b.length;) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      i++
      j++
    } else if (j === b.length || (i < a.length && common[i + 1]![j]! >= common[i]![j + 1]!))
      out.push(`- ${i + 1}: ${a[i++]}`)
    else out.push(`+ ${j + 1}: ${b[j++]}`)
  }
  return out
}

/** `[i][j]`: how many lines the rest of `a` from `i` and of `b` from `j` have in common, in order. */
function commonLengths(a: readonly string[], b: readonly string[]): Uint32Array[] {
  const lengths = Array.from({ length: a.length + 1 }, () => new Uint32Array(b.length + 1))
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      lengths[i]![j] =
        a[i] === b[j] ? lengths[i + 1]![j + 1]! + 1 : Math.max(lengths[i + 1]![j]!, lengths[i]![j + 1]!)
  return lengths
}

const linesIn = (text: string): string[] => text.split(/\r?\n/).slice(0, /^$|\n$/.test(text) ? -1 : undefined)
