import { resolve } from 'node:path'
import type { BuiltinProvider, ProviderEntry, ResolvedConfig, UserConfig } from './config.js'
import { builtinProviders, credentialsPattern } from './defaults.js'
import type { Layers } from './layers.js'
import { defined, isRecord } from './record.js'

/** The built-in providers and the user's own by name, without those that were taken away. */
export function resolveProviders(
  own: UserConfig['providers'] = {},
  layers: Layers,
): ResolvedConfig['providers'] {
  const entries = Object.entries<ProviderEntry | false>({ ...builtinProviders, ...own })
  return Object.fromEntries(
    entries.flatMap(([name, entry]) => (entry ? [[name, fillIn(name, entry, layers)]] : [])),
  )
}

/** Who changes a setting of a built-in provider need not say again of which type it is. */
export function withBuiltinTypes(user: Record<string, unknown>): Record<string, unknown> {
  if (!isRecord(user.providers)) return user
  const entries = Object.entries(user.providers).map(([name, entry]) => {
    const type = builtinProviders[name as BuiltinProvider]?.type
    return [name, type && isRecord(entry) && entry.type === undefined ? { type, ...entry } : entry]
  })
  return { ...user, providers: Object.fromEntries(entries) }
}

function fillIn(name: string, entry: ProviderEntry, layers: Layers): ProviderEntry {
  // Kept as it is: a copy of an instance would lose the methods of its class.
  if (entry.type === 'custom') return entry
  if (entry.type === 'bearer') {
    return withoutTrailingSlashes({
      credentials: credentialsPattern(name),
      ...defined(entry),
    } as ProviderEntry)
  }
  const set = { ...defined(entry), ...layers.overlay.providers[entry.type] }
  const filled = { ...builtinProviders[entry.type], ...set, ...codexHome(entry, layers) }
  return withoutTrailingSlashes(filled as ProviderEntry)
}

/** Relative to the file that names it, or in the environment to the working directory. */
function codexHome(entry: ProviderEntry, { overlay, baseDir, cwd }: Layers): { codexHome?: string } {
  if (entry.type !== 'codex') return {}
  const named = overlay.providers.codex.codexHome
  if (named) return { codexHome: resolve(cwd, named) }
  return entry.codexHome ? { codexHome: resolve(baseDir, entry.codexHome) } : {}
}

/** Paths are appended to these addresses, and `//oauth/token` is not found. */
function withoutTrailingSlashes(entry: ProviderEntry): ProviderEntry {
  const trim = (value: unknown): unknown =>
    typeof value === 'string' && URL.canParse(value) ? value.replace(/\/+$/, '') : value
  return Object.fromEntries(
    Object.entries(entry).map(([key, value]) => [key, trim(value)]),
  ) as unknown as ProviderEntry
}
