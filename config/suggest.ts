/** `A, b, c. Did you mean "b"?` */
export function listChoices(written: string, choices: readonly string[]): string {
  const meant = closest(written, choices)
  const list = choices.join(', ') || 'none'
  return meant ? `${list}. Did you mean "${meant}"?` : list
}

/** The choice that a slip of the fingers away from `written`, if there is one. */
function closest(written: string, choices: readonly string[]): string | undefined {
  // One slip per three letters: with more, every short word is "meant" by every other.
  const limit = Math.max(1, Math.floor(written.length / 3))
  const ranked = choices
    .map((choice) => ({ choice, distance: distance(written.toLowerCase(), choice.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance)
  const best = ranked[0]
  return best && best.distance <= limit && best.distance < written.length ? best.choice : undefined
}

/** Letters to add, drop or change (Levenshtein). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (const [index, letter] of [...a].entries()) {
    const next = [index + 1]
    for (let column = 1; column <= b.length; column++) {
      const changed = (row[column - 1] ?? 0) + (letter === b[column - 1] ? 0 : 1)
      next.push(Math.min(changed, (row[column] ?? 0) + 1, (next[column - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}
