import type { BuiltinStrategy } from '../../config/config.js'
import type { Candidate, Strategy } from '../../config/account.js'

/** The built-in strategies, new for each gateway: round-robin keeps its turn. `sticky` is not one, but a route's choice. */
export function builtinStrategies(): Record<Exclude<BuiltinStrategy, 'sticky'>, Strategy> {
  return { 'round-robin': roundRobin(), 'least-used': leastUsed() }
}

/** Fewest requests in flight, then least of its quota used, then least recently used. */
export function leastUsed(): Strategy {
  return function leastUsed(accounts) {
    const fewest = Math.min(...accounts.map(({ inFlight }) => inFlight))
    const idlest = accounts.filter(({ inFlight }) => inFlight === fewest)
    // If one quota is unknown, none is compared: taken for 0 it would draw every conversation, for 100 none.
    const known = idlest.every(({ usedPercent }) => usedPercent !== undefined)
    return idlest.sort((a, b) => (known ? byQuota(a, b) : 0) || byAge(a, b))[0]
  }
}

const byQuota = (a: Candidate, b: Candidate): number => (a.usedPercent ?? 0) - (b.usedPercent ?? 0)

const byAge = (a: Candidate, b: Candidate): number =>
  (a.lastUsedAt ?? 0) - (b.lastUsedAt ?? 0) || (a.id < b.id ? -1 : 1)

/** Each account in turn, in the order of their names; those that cannot serve now are skipped. */
export function roundRobin(): Strategy {
  let last = ''
  return function roundRobin(accounts) {
    const inOrder = [...accounts].sort((a, b) => (a.id < b.id ? -1 : 1))
    // Goes by the name: the list changes with every cooldown, and an index would skip or repeat accounts.
    const next = inOrder.find((account) => account.id > last) ?? inOrder[0]
    last = next?.id ?? last
    return next
  }
}
