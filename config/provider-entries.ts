import type { ProviderEntry, ResolvedConfig, UserConfig } from './config.js'
import { builtinProviders, credentialsPattern } from './defaults.js'
import type { Overlay } from './environment.js'
import { defined } from './record.js'

/** The built-in providers and the user's own by name, without those that were taken away. */
export function resolveProviders(
  own: UserConfig['providers'] = {},
  overlay: Overlay,
): ResolvedConfig['providers'] {
  const entries = Object.entries<ProviderEntry | false>({ ...builtinProviders, ...own })
  return Object.fromEntries(
    entries.flatMap(([name, entry]) => (entry ? [[name, fillIn(name, entry, overlay)]] : [])),
  )
}

function fillIn(name: string, entry: ProviderEntry, overlay: Overlay): ProviderEntry {
  // Kept as it is: a copy of an instance would lose the methods of its class.
  if (entry.type === 'custom') return entry
  if (entry.type === 'bearer') {
    return withoutTrailingSlashes({
      credentials: credentialsPattern(name),
      ...defined(entry),
    } as ProviderEntry)
  }
  const filled = { ...builtinProviders[entry.type], ...defined(entry), ...overlay.providers[entry.type] }
  return withoutTrailingSlashes(filled as ProviderEntry)
}

/** Paths are appended to these addresses, and `//oauth/token` is not found. */
function withoutTrailingSlashes(entry: ProviderEntry): ProviderEntry {
  const trim = (value: unknown): unknown =>
    typeof value === 'string' && URL.canParse(value) ? value.replace(/\/+$/, '') : value
  return Object.fromEntries(
    Object.entries(entry).map(([key, value]) => [key, trim(value)]),
  ) as unknown as ProviderEntry
}
