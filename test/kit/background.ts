import type { TestContext } from 'node:test'

/**
 * Background work of gateways started from now on runs when the test says so, and not by itself.
 * @returns does one round of it: what is done every second
 */
export function holdBackground(t: TestContext): () => void {
  t.mock.timers.enable({ apis: ['setInterval'] })
  return () => t.mock.timers.tick(1000)
}
