import { statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import envPaths from 'env-paths'
import type { Environment } from '../../config/index.js'
import { holdsConfig } from '../../config/places.js'
import type { ResolvedConfig } from '../../config/config.js'

/** The folder with the configuration, the pool and the data of a command, and why it is this one. */
export interface Home {
  readonly folder: string
  readonly from: string
}

/**
 * The working folder if it has a configuration or a folder `pool`, else the user's. The pool of a user is the same
 * wherever a command is called: `login` in a git repository must not put a login there.
 */
export function homeOf(cwd: string, env: Environment): Home {
  if (holdsConfig(cwd) || isFolder(join(cwd, 'pool'))) return { folder: cwd, from: 'the working folder' }
  const named = env.CODEX_POOL_HOME?.trim()
  if (named) return { folder: resolve(cwd, named), from: 'CODEX_POOL_HOME' }
  return { folder: usersHome(), from: 'your home' }
}

/** Where the platform keeps a user's configuration. */
export const usersHome = (): string => envPaths('codex-pool', { suffix: '' }).config

export const isFolder = (path: string): boolean =>
  statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false

/** What has decided where the pool folder is. */
export function poolFrom(
  { file }: ResolvedConfig,
  flags: { readonly poolDir?: string | undefined },
  env: Environment,
  home: Home,
): string {
  if (flags.poolDir !== undefined) return '--pool-dir'
  if (env.POOL_DIR?.trim()) return 'POOL_DIR'
  return file ?? home.from
}
