import { ConfigError, loadConfig, resolveConfig, type Environment, type Flags } from '../config/index.js'
import type { ResolvedConfig, UserConfig } from '../config/config.js'

/** Where a configuration comes from, so that it can be read again. */
export interface ConfigSource {
  /** A file's path, an object, or `undefined` to look for a file in `cwd`. */
  readonly config?: string | UserConfig | undefined
  readonly cwd: string
  readonly env: Environment
  readonly flags: Flags
}

/** @throws {ConfigError} with every problem at once */
export async function readConfig({ config, cwd, env, flags }: ConfigSource): Promise<ResolvedConfig> {
  if (typeof config === 'object') return resolveConfig(config, { cwd, env, flags })
  // Handed over as it runs, so that a config file's `import … from 'codex-pool'` needs no node_modules beside it.
  const own = await import('./index.js')
  return loadConfig({ file: config, cwd, env, flags, ownModules: { 'codex-pool': own } })
}

export { ConfigError }
