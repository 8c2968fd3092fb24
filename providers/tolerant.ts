import { messageOf } from '../config/index.js'
import type { Provider } from '../config/provider.js'

/** Called on the side, while an answer passes: what they cannot tell is not known, and no reason to fail a request. */
const ASIDE: ReadonlySet<string> = new Set(['usage', 'aliases', 'quota', 'classifyEvent', 'poolHeaders'])
/** The only ones that may be async. */
const ASYNC: ReadonlySet<string> = new Set(['authorize', 'discover', 'refresh', 'pollQuota', 'redeem'])

/**
 * A provider whose mistakes cost one request at most, never the process: its functions are called in the midst of
 * streams, where nobody could catch what they throw. `report` is told of what would else be lost.
 */
export function tolerant(name: string, provider: Provider, report: (message: string) => void): Provider {
  return guarded(provider, name, ASIDE, report)
}

function guarded<T extends object>(
  target: T,
  name: string,
  aside: ReadonlySet<string> | 'all',
  report: (message: string) => void,
): T {
  const wrapped = new Map<PropertyKey, unknown>()
  const wrap = (key: string, value: unknown): unknown => {
    const what = `${name}.${key}`
    if (key === 'socket' && typeof value === 'object' && value !== null)
      return guarded(value, what, 'all', report)
    if (typeof value !== 'function') return value
    if (ASYNC.has(key)) return value.bind(target) as unknown
    const call = (...args: unknown[]): unknown => insist(what, value.apply(target, args))
    if (aside !== 'all' && !aside.has(key)) return call
    return (...args: unknown[]) => {
      try {
        return call(...args) ?? undefined
      } catch (error) {
        report(`provider ${what} failed: ${messageOf(error)}`)
        // An event that nobody can judge must not hold the answer back.
        return key === 'classifyEvent' ? 'output' : undefined
      }
    }
  }
  // Not around the target itself, which may be frozen: a proxy must give what a frozen object holds.
  return new Proxy({} as T, {
    get(_, key) {
      const value: unknown = Reflect.get(target, key)
      if (typeof key !== 'string' || (typeof value !== 'function' && key !== 'socket')) return value
      if (!wrapped.has(key)) wrapped.set(key, wrap(key, value))
      return wrapped.get(key)
    },
  })
}

function insist(what: string, result: unknown): unknown {
  if (!(result instanceof Promise)) return result
  result.catch(() => {})
  throw new Error(`${what} must not be async`)
}
