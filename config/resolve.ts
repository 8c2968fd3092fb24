import { dirname, resolve } from 'node:path'
import { checkCombinations, checkReferences, checkShape } from './check.js'
import {
  defaults,
  plainDefaults,
  type ResolvedConfig,
  type ResolvedRoute,
  type RetryPolicy,
  retryPolicy,
  type RouteEntry,
  type StrategyChoice,
  type UserConfig,
} from './config.js'
import { defined, isRecord } from './foreign.js'
import {
  checkFlags,
  type Environment,
  type Flags,
  type Layers,
  readEnvironment,
  type Setting,
  settingOf,
} from './layers.js'
import { ConfigError, displayName } from './problems.js'
import {
  type BuiltinProvider,
  builtinProviders,
  builtinRoutes,
  credentialsPattern,
  leavesRoom,
  type ProviderEntry,
} from './provider-entry.js'
import { covers, type ListenAddress, parseListen } from './rules.js'

export interface ConfigContext {
  /** The file it was read from, absolute; none for an object. */
  readonly file?: string | undefined
  /** The folder that paths in the configuration are relative to. @default the file's folder, else `cwd` */
  readonly baseDir?: string | undefined
  /** @default {} (the caller hands in `process.env`) */
  readonly env?: Environment | undefined
  readonly flags?: Flags | undefined
  /** @default `process.cwd()` */
  readonly cwd?: string | undefined
}

/** Checks a configuration and fills in every default. Throws a {@link ConfigError} with all its problems at once. */
export function resolveConfig(given: unknown, context: ConfigContext = {}): ResolvedConfig {
  const { cwd = process.cwd(), env = {}, flags = {} } = context
  const file = displayName(context.file, cwd)
  if (!isRecord(given)) {
    throw new ConfigError([{ file, key: '', message: 'must give an object', code: 'not_an_object' }])
  }
  const user = withBuiltinTypes(given)
  const { overlay, problems: inEnvironment } = readEnvironment(env)
  const baseDir = context.baseDir ?? (context.file ? dirname(context.file) : cwd)
  const layers: Layers = { flags, overlay, user, file, baseDir, cwd }
  const problems = [
    ...checkShape(user, file),
    ...checkReferences(user, file),
    ...inEnvironment,
    ...checkFlags(flags),
    ...checkCombinations(layers),
  ]
  if (problems.length > 0) throw new ConfigError(problems)
  return fillIn(user as UserConfig, layers, context.file)
}

function fillIn(user: UserConfig, layers: Layers, file: string | undefined): ResolvedConfig {
  const { overlay } = layers
  const providers = resolveProviders(user.providers, layers)
  const plain = plainFields(user)
  return {
    ...plain,
    file,
    listen: resolveListen(settingOf('listen', layers)),
    poolDir: absolute(settingOf('poolDir', layers)) as string,
    database: absolute(settingOf('database', layers)),
    accounts: user.accounts ?? {},
    providers,
    strategies: user.strategies ?? {},
    retry: resolveRetry(user.retry, overlay.attempts),
    routes: resolveRoutes(user, providers),
    access: resolveAccess(user.access),
    use: user.use ?? [],
    // A lowered `maxBodyBytes` lowers this one as well.
    maxReplayBytes: Math.min(plain.maxReplayBytes, plain.maxReplayTotalBytes, plain.maxBodyBytes),
    refresh: {
      ...defaults.refresh,
      ...defined(user.refresh),
      ...defined({ enabled: overlay.refreshEnabled }),
    },
    pins: { ...defaults.pins, ...defined(user.pins) },
    log: { ...defaults.log, ...defined(user.log), ...defined({ level: overlay.logLevel }) },
  }
}

function resolveListen({ value, base }: Setting): ListenAddress {
  const address = parseListen(String(value))!
  return address.socket === undefined ? address : { ...address, socket: resolve(base, address.socket) }
}

function plainFields(user: UserConfig): Pick<ResolvedConfig, keyof typeof plainDefaults> {
  const names = Object.keys(plainDefaults) as (keyof typeof plainDefaults)[]
  return { ...plainDefaults, ...defined(Object.fromEntries(names.map((name) => [name, user[name]]))) }
}

function absolute({ value, base }: Setting): string | false {
  return value === false ? false : resolve(base, String(value))
}

function resolveRetry(
  policies: UserConfig['retry'] = {},
  attempts: number | undefined,
): ResolvedConfig['retry'] {
  const fill = (policy: RetryPolicy): Required<RetryPolicy> => ({ ...retryPolicy, ...defined(policy) })
  const own = Object.entries(policies).map(([name, policy]) => [name, fill(policy)] as const)
  const fallback = { ...fill(policies[defaults.retry] ?? {}), ...defined({ attempts }) }
  return { ...Object.fromEntries(own), [defaults.retry]: fallback }
}

function resolveAccess(access: UserConfig['access'] = {}): ResolvedConfig['access'] {
  if (access === 'host-app') return access
  const { hosts = [], origins = [], proxies = [], keys } = access
  return { hosts: hosts.map((host) => host.toLowerCase()), origins, proxies, keys }
}

/** The built-in providers and the user's own by name, without those that were taken away. */
function resolveProviders(own: UserConfig['providers'] = {}, layers: Layers): ResolvedConfig['providers'] {
  const entries = Object.entries<ProviderEntry | false>({ ...builtinProviders, ...own })
  return Object.fromEntries(
    entries.flatMap(([name, entry]) => (entry ? [[name, fillInProvider(name, entry, layers)]] : [])),
  )
}

/** An entry under the name of a built-in provider may leave out its `type`. */
function withBuiltinTypes(user: Record<string, unknown>): Record<string, unknown> {
  if (!isRecord(user.providers)) return user
  const entries = Object.entries(user.providers).map(([name, entry]) => {
    const type = builtinProviders[name as BuiltinProvider]?.type
    return [name, type && isRecord(entry) && entry.type === undefined ? { type, ...entry } : entry]
  })
  return { ...user, providers: Object.fromEntries(entries) }
}

function fillInProvider(name: string, entry: ProviderEntry, layers: Layers): ProviderEntry {
  // Not copied: the copy of an instance would lose the methods of its class.
  if (entry.type === 'custom') return entry
  if (entry.type === 'bearer') {
    return withoutTrailingSlashes({
      ...defined(entry),
      credentials: credentialsPattern(name, entry),
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
  const addresses = Object.entries(entry).flatMap(([key, value]) =>
    typeof value === 'string' && URL.canParse(value)
      ? [[key, value.replace(/(?<!\/)\/+$/, '')] as const]
      : [],
  )
  return Object.assign({ ...entry }, Object.fromEntries(addresses))
}

/**
 * The user's routes, then the built-in ones whose provider is there and that they do not cover. A route for the same path
 * leaves the built-in one of another provider in place, if the two share the path.
 */
function resolveRoutes(user: UserConfig, providers: ResolvedConfig['providers']): ResolvedRoute[] {
  const own = user.routes ?? []
  const builtin: readonly RouteEntry[] = (user.builtinRoutes ?? defaults.builtinRoutes) ? builtinRoutes : []
  const covered = (route: RouteEntry) =>
    own.some((earlier) => covers(earlier.path, route.path) && !leavesRoom(earlier, route, providers))
  const left = builtin.filter((route) => Object.hasOwn(providers, route.provider) && !covered(route))
  return [...own, ...left].map(resolveRoute)
}

function resolveRoute({ path, provider, strategy, retry, websocket = true }: RouteEntry): ResolvedRoute {
  return {
    path,
    provider,
    ...resolveStrategy(strategy ?? defaults.strategy),
    retry: retry ?? defaults.retry,
    websocket,
  }
}

function resolveStrategy(choice: StrategyChoice): Pick<ResolvedRoute, 'strategy' | 'sticky'> {
  if (typeof choice !== 'string') return { strategy: choice.sticky, sticky: true }
  return choice === 'sticky'
    ? { strategy: defaults.placement, sticky: true }
    : { strategy: choice, sticky: false }
}
