import type { Candidate, Strategy } from '../../config/strategy.js'

/** Fewest requests in flight, then least of its quota used, then least recently used. */
export function leastUsed(): Strategy {
  return function leastUsed(accounts) {
    const fewest = Math.min(...accounts.map(({ inFlight }) => inFlight))
    const idlest = accounts.filter(({ inFlight }) => inFlight === fewest)
    // Where one quota is unknown, quotas say nothing: taken for 0 it would draw every conversation, for 100 none.
    const known = idlest.every(({ usedPercent }) => usedPercent !== undefined)
    return idlest.sort((a, b) => (known ? byQuota(a, b) : 0) || byAge(a, b))[0]
  }
}

const byQuota = (a: Candidate, b: Candidate): number => (a.usedPercent ?? 0) - (b.usedPercent ?? 0)

const byAge = (a: Candidate, b: Candidate): number =>
  (a.lastUsedAt ?? 0) - (b.lastUsedAt ?? 0) || (a.id < b.id ? -1 : 1)
