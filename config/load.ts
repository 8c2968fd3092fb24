import { resolve } from 'node:path'
import type { ResolvedConfig } from './config.js'
import type { Environment } from './environment.js'
import type { OwnModules } from './evaluate.js'
import { findConfig, openConfig, type Found } from './find.js'
import type { Flags } from './layers.js'
import { ConfigError } from './problems.js'
import { resolveConfig } from './resolve.js'
import { fileError, sourceError, thrownError } from './source-error.js'

export interface LoadOptions {
  /** Relative to `cwd`. @default searched in `cwd`, and only there */
  readonly file?: string | undefined
  readonly cwd: string
  readonly env: Environment
  readonly flags?: Flags | undefined
  /** What a config file gets for `import … from 'codex-pool'`. */
  readonly ownModules: OwnModules
}

/** Finds or takes a configuration file; with none, the built-in defaults run. Throws a {@link ConfigError}. */
export async function loadConfig(options: LoadOptions): Promise<ResolvedConfig> {
  const { cwd, env, flags } = options
  const found = await read(options)
  if (!found) return resolveConfig({}, { cwd, env, flags })
  const { filepath: file, config, isEmpty } = found
  if (isEmpty) throw nothingIn(file, cwd)
  return resolveConfig(await called(config, file, cwd), { file, cwd, env, flags })
}

async function read({ file, cwd, ownModules }: LoadOptions): Promise<Found | undefined> {
  const named = file === undefined ? undefined : resolve(cwd, file)
  try {
    if (named === undefined) return await findConfig(cwd, ownModules)
    const found = await openConfig(named, cwd, ownModules)
    if (!found) throw nothingIn(named, cwd)
    return found
  } catch (error) {
    throw error instanceof ConfigError ? error : fileError(error, named ?? cwd, cwd)
  }
}

/** A config may be a function, to be run at every load. */
async function called(config: unknown, file: string, cwd: string): Promise<unknown> {
  if (typeof config !== 'function') return config
  try {
    return await config()
  } catch (error) {
    throw thrownError(error, file, cwd)
  }
}

function nothingIn(file: string, cwd: string): ConfigError {
  const message =
    'gives no configuration: a code file needs `export default defineConfig({ … })`, package.json the key "codex-pool"'
  return sourceError(file, cwd, { message, code: 'config_empty' })
}
