const clock = new Intl.DateTimeFormat('en-US', {
  timeZone: 'America/Los_Angeles',
  hourCycle: 'h23',
  hour: 'numeric',
  minute: 'numeric',
  second: 'numeric',
})

const DAY_MS = 86_400_000
const HOUR_MS = 3_600_000

/**
 * The next midnight in California, when the Gemini API's limits per day end (ai.google.dev/gemini-api/docs/rate-limits).
 * Both in ms since 1970.
 */
export function nextPacificMidnight(now: number): number {
  const guess = now - sinceMidnight(now) + DAY_MS
  // Twice a year the day has 23 or 25 hours, and the guess is an hour off.
  const off = sinceMidnight(guess)
  return off > DAY_MS / 2 ? guess + DAY_MS - off : guess - Math.min(off, HOUR_MS)
}

/** What the clock on the wall in California shows; ms. */
function sinceMidnight(now: number): number {
  const parts = clock.formatToParts(now)
  const [hours = 0, minutes = 0, seconds = 0] = parts.flatMap(({ type, value }) =>
    type === 'literal' ? [] : Number(value),
  )
  return ((hours * 60 + minutes) * 60 + seconds) * 1000 + (now % 1000)
}
