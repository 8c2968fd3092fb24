import { dirname, resolve } from 'node:path'
import { checkCombinations } from './combinations.js'
import type { ResolvedConfig, RetryPolicy, UserConfig } from './config.js'
import { defaults, retryPolicy } from './defaults.js'
import { readEnvironment, type Environment } from './environment.js'
import { checkFlags, settle, type Flags, type Layers, type Setting } from './layers.js'
import { parseListen, type ListenAddress } from './listen.js'
import { ConfigError } from './problems.js'
import { resolveProviders, withBuiltinTypes } from './provider-entries.js'
import { defined, isRecord } from './record.js'
import { checkReferences } from './references.js'
import { resolveRoutes } from './route-entries.js'
import { displayName } from './source.js'
import { checkShape } from './validate.js'

export interface ConfigContext {
  /** The file it was read from, absolute; none for an object. */
  readonly file?: string | undefined
  /** What paths in the configuration are relative to. @default the file's folder, else `cwd` */
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
  const limits = { ...defaults, ...defined(user) }
  return {
    file,
    listen: parseListen(String(settle('listen', layers).value)) as ListenAddress,
    poolDir: absolute(settle('poolDir', layers)) as string,
    database: absolute(settle('database', layers)),
    providers,
    strategies: user.strategies ?? {},
    retry: resolveRetry(user.retry, overlay.attempts),
    routes: resolveRoutes(user, providers),
    access: resolveAccess(user.access),
    use: user.use ?? [],
    // Who only lowers the largest body means this one as well.
    maxReplayBytes: Math.min(limits.maxReplayBytes, limits.maxReplayTotalBytes, limits.maxBodyBytes),
    maxReplayTotalBytes: limits.maxReplayTotalBytes,
    maxBodyBytes: limits.maxBodyBytes,
    refresh: {
      ...defaults.refresh,
      ...defined(user.refresh),
      ...defined({ enabled: overlay.refreshEnabled }),
    },
    watch: limits.watch,
    quotaPollMs: limits.quotaPollMs,
    pins: { ...defaults.pins, ...defined(user.pins) },
    log: { ...defaults.log, ...defined(user.log), ...defined({ level: overlay.logLevel }) },
  }
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
  const { hosts = [], origins = [], keys } = access
  return { hosts: hosts.map((host) => host.toLowerCase()), origins, keys }
}
