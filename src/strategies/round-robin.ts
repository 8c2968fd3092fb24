import type { Strategy } from '../../config/strategy.js'

/** Each account in turn, in the order of their names; those that cannot serve now are skipped. */
export function roundRobin(): Strategy {
  let last = ''
  return function roundRobin(accounts) {
    const inOrder = [...accounts].sort((a, b) => (a.id < b.id ? -1 : 1))
    // The name, not an index: the list changes with every cooldown, and an index would skip or repeat accounts.
    const next = inOrder.find((account) => account.id > last) ?? inOrder[0]
    last = next?.id ?? last
    return next
  }
}
