import { setTimeout as pause } from 'node:timers/promises'

/** Asks again and again until the answer is not `undefined`. @throws what `tooLate` says when the time is over */
export async function until<T>(
  ask: () => T | undefined | Promise<T | undefined>,
  tooLate: () => string,
  timeoutMs = 20_000,
): Promise<T> {
  const deadline = Date.now() + timeoutMs
  for (;;) {
    const answer = await ask()
    if (answer !== undefined) return answer
    if (Date.now() > deadline) throw new Error(tooLate())
    await pause(100)
  }
}
