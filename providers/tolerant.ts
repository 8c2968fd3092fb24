import { isRecord, kept, messageOf, numberFrom, quotaFrom, timeFrom } from '../config/index.js'
import type { Provider } from '../config/provider.js'

/** Functions that are called while an answer passes: their errors are reported and must not fail the request. */
const PASSIVE: ReadonlySet<string> = new Set([
  'usage',
  'aliases',
  'opening',
  'resourcesMade',
  'quota',
  'classifyEvent',
  'poolHeaders',
])
/** The only functions that may be async. */
const ASYNC: ReadonlySet<string> = new Set(['authorize', 'discover', 'refresh', 'pollQuota', 'redeem'])

/**
 * Wraps a provider so that its errors cost one request at most: its functions are called in the midst of streams, where
 * an uncaught error would end the process. `report` gets the errors that no request shows. Numbers and times in the
 * results are kept in bounds, since they may come straight from an upstream or a file.
 */
export function tolerant(name: string, provider: Provider, report: (message: string) => void): Provider {
  return guarded(provider, name, PASSIVE, report)
}

function guarded<T extends object>(
  target: T,
  name: string,
  passive: ReadonlySet<string> | 'all',
  report: (message: string) => void,
): T {
  const wrapped = new Map<PropertyKey, unknown>()
  const wrap = (key: string, value: unknown): unknown => {
    const what = `${name}.${key}`
    if (key === 'socket' && typeof value === 'object' && value !== null)
      return guarded(value, what, 'all', report)
    if (typeof value !== 'function') return value
    const reader = readers[key]
    const read = (result: unknown): unknown => (reader ? reader(result) : result)
    if (ASYNC.has(key))
      return (...args: unknown[]) => {
        const result: unknown = value.apply(target, args)
        return result instanceof Promise ? result.then(read) : read(result)
      }
    const call = (...args: unknown[]): unknown => read(insist(what, value.apply(target, args)))
    if (passive !== 'all' && !passive.has(key)) return call
    // `undefined` for an event would hold the answer back for ever.
    const fallback = key === 'classifyEvent' ? 'output' : undefined
    return reporting(call, fallback, (error) => report(`provider ${what} failed: ${messageOf(error)}`))
  }
  // A proxy around a frozen object must return the object's own functions, so the proxy stands around an empty one.
  return new Proxy({} as T, {
    get(_, key) {
      const value: unknown = Reflect.get(target, key)
      if (typeof key !== 'string' || (typeof value !== 'function' && key !== 'socket')) return value
      if (!wrapped.has(key)) wrapped.set(key, wrap(key, value))
      return wrapped.get(key)
    },
  })
}

/** Reports an error of `call` and returns `fallback` in its place. */
function reporting(
  call: (...args: unknown[]) => unknown,
  fallback: unknown,
  report: (error: unknown) => void,
): typeof call {
  return (...args) => {
    try {
      return call(...args) ?? undefined
    } catch (error) {
      report(error)
      return fallback
    }
  }
}

function insist(what: string, result: unknown): unknown {
  if (!(result instanceof Promise)) return result
  result.catch(() => {})
  throw new Error(`${what} must not be async`)
}

/** Bring the results of these functions into bounds; results of all others pass unchanged. */
const readers: Readonly<Record<string, (result: unknown) => unknown>> = {
  inspect: expiring,
  refresh: expiring,
  quota: quotaFrom,
  pollQuota: quotaFrom,
  redeem: quotaFrom,
  usage: (result) => (isRecord(result) ? mapped(result, tokensFrom) : undefined),
  opening: openingFrom,
  classify: verdictFrom,
  classifyEvent: verdictFrom,
}

function expiring(result: unknown): unknown {
  return isRecord(result) && 'expiresAt' in result
    ? { ...result, expiresAt: timeFrom(result.expiresAt) }
    : result
}

/** More tokens than any model has ever read or written. */
const MOST_TOKENS = 1e9
const tokensFrom = (count: unknown): number | undefined => numberFrom(count, 0, MOST_TOKENS)

function openingFrom(result: unknown): unknown {
  if (!isRecord(result)) return undefined
  const texts = (list: unknown) => (Array.isArray(list) ? list.filter((one) => typeof one === 'string') : [])
  return { names: texts(result.names), texts: texts(result.texts) }
}

/** Characters. It may hold an upstream's text, and accounts keep it. */
const LONGEST_REASON = 1_000

const YEAR_MS = 366 * 86_400_000

function verdictFrom(result: unknown): unknown {
  if (!isRecord(result)) return result
  const { resetsAt, retryAfterMs, reason } = result
  if (typeof reason === 'string' && reason.length > LONGEST_REASON)
    return verdictFrom({ ...result, reason: kept(reason, LONGEST_REASON) })
  if (resetsAt === undefined && retryAfterMs === undefined) return result
  return { ...result, resetsAt: timeFrom(resetsAt), retryAfterMs: numberFrom(retryAfterMs, 0, YEAR_MS) }
}

function mapped(fields: object, read: (value: unknown) => unknown): object {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, read(value)]))
}
