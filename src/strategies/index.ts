import type { BuiltinStrategy } from '../../config/config.js'
import type { Strategy } from '../../config/strategy.js'
import { leastUsed } from './least-used.js'
import { roundRobin } from './round-robin.js'

/** The built-in strategies, fresh: round-robin remembers whose turn it is. `sticky` is no strategy but a route's choice. */
export function builtinStrategies(): Record<Exclude<BuiltinStrategy, 'sticky'>, Strategy> {
  return { 'round-robin': roundRobin(), 'least-used': leastUsed() }
}
