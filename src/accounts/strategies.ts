import type { BuiltinStrategy } from '../../config/config.js'
import type { Candidate, Strategy } from '../../config/account.js'

/** The built-in strategies, made anew for each gateway, since round-robin keeps its turn. `sticky` is a setting of a route. */
export function builtinStrategies(): Record<Exclude<BuiltinStrategy, 'sticky'>, Strategy> {
  return { 'round-robin': roundRobin(), 'least-used': leastUsed() }
}

/** Picks the account with the fewest requests in flight, then the least quota used, then the least recently used. */
export function leastUsed(): Strategy {
  return function leastUsed(accounts) {
    const fewest = Math.min(...accounts.map(({ inFlight }) => inFlight))
    const idlest = accounts.filter(({ inFlight }) => inFlight === fewest)
    // Quotas are compared only if all are known: an unknown one read as 0 would draw every conversation, as 100 none.
    const known = idlest.every(({ usedPercent }) => usedPercent !== undefined)
    return idlest.sort((a, b) => (known ? byQuota(a, b) : 0) || byAge(a, b))[0]
  }
}

const byQuota = (a: Candidate, b: Candidate): number => (a.usedPercent ?? 0) - (b.usedPercent ?? 0)

const byAge = (a: Candidate, b: Candidate): number =>
  (a.lastUsedAt ?? 0) - (b.lastUsedAt ?? 0) || (a.id < b.id ? -1 : 1)

/** Picks each account in turn, in the order of their names. */
export function roundRobin(): Strategy {
  let last = ''
  return function roundRobin(accounts) {
    const inOrder = [...accounts].sort((a, b) => (a.id < b.id ? -1 : 1))
    // Keeps a name, not an index: the list changes with every cooldown, and an index would skip or repeat accounts.
    const next = inOrder.find((account) => account.id > last) ?? inOrder[0]
    last = next?.id ?? last
    return next
  }
}
