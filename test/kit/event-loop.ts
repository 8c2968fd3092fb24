import assert from 'node:assert/strict'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as delay } from 'node:timers/promises'

/** The longest time, in ms, for which no other work of this process had its turn. */
async function longestStop(work: () => Promise<unknown>): Promise<number> {
  const stops = monitorEventLoopDelay({ resolution: 1 })
  stops.enable()
  await delay(5)
  stops.reset()
  // The first moment after a reset is not measured.
  await delay(5)
  await work()
  await delay(5)
  stops.disable()
  return stops.max / 1e6
}

/**
 * Fails if `work` stops this process for a time like the one that `blocking` takes in one piece. A machine that is busy
 * with other things stops it too, so the shortest of several runs counts.
 */
export async function staysFree(work: () => Promise<unknown>, blocking: () => unknown): Promise<void> {
  const start = performance.now()
  blocking()
  const whole = performance.now() - start
  const stops: number[] = []
  for (let run = 0; run < 8; run++) {
    stops.push(await longestStop(work))
    if (stops.at(-1)! < whole / 2) return
  }
  assert.fail(
    `the process stood still for ${stops.map(Math.round)} ms; in one piece it is ${Math.round(whole)} ms`,
  )
}
