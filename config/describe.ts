import type { ResolvedConfig } from './config.js'
import { hidden, hideInAddress } from './secrets.js'

/** JSON-safe, for people: functions as `[function NAME]`, access keys and client secrets hidden. */
export function describeConfig(config: ResolvedConfig): Record<string, unknown> {
  const shown = describe(config) as Record<string, unknown>
  return { ...shown, access: describeAccess(config.access) }
}

function describeAccess(access: ResolvedConfig['access']): unknown {
  if (access === 'host-app' || !access.keys) return access
  return { ...access, keys: Object.fromEntries(Object.keys(access.keys).map((name) => [name, hidden])) }
}

function describe(value: unknown, key = ''): unknown {
  if (key === 'oauthClientSecret' || key === 'clientSecret') return hidden
  // A proxy's address may hold its password.
  if (typeof value === 'string') return URL.canParse(value) ? hideInAddress(value) : value
  if (typeof value === 'function') return value.name ? `[function ${value.name}]` : '[function]'
  if (Array.isArray(value)) return value.map((item) => describe(item))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, describe(field, name)]))
}
