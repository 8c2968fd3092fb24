import { constants } from 'node:fs'
import { access, readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { cosmiconfig, defaultLoaders, type Loader, type PublicExplorer } from 'cosmiconfig'
import { createJiti } from 'jiti'
import type { ResolvedConfig } from './config.js'
import type { Environment, Flags } from './layers.js'
import { ConfigError } from './problems.js'
import { resolveConfig } from './resolve.js'
import { fileError, parseJson, parseYaml, sourceError, thrownError } from './source-error.js'

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

async function read({ file, cwd, ownModules }: LoadOptions): Promise<FoundConfig | undefined> {
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

const codeExtensions = ['ts', 'mts', 'cts', 'js', 'mjs', 'cjs']
const dataExtensions = ['json', 'yaml', 'yml']
const extensions = [...codeExtensions, ...dataExtensions]
const searchPlaces = [
  ...extensions.map((extension) => `codex-pool.config.${extension}`),
  '.codex-poolrc',
  ...extensions.map((extension) => `.codex-poolrc.${extension}`),
  'package.json',
]

export interface FoundConfig {
  /** Absolute. */
  readonly filepath: string
  readonly config: unknown
  readonly isEmpty?: boolean
}

/** Looks for a configuration in `cwd` alone; `undefined` if there is none. */
export async function findConfig(cwd: string, ownModules: OwnModules): Promise<FoundConfig | undefined> {
  for (const place of searchPlaces) {
    const file = join(cwd, place)
    // cosmiconfig passes over a file that it may not read: we would start without the access keys in it.
    await access(file, constants.R_OK).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR') throw fileError(error, file, cwd)
    })
  }
  return (await explorer(cwd, ownModules).search(cwd)) ?? undefined
}

/** Reads one file; `undefined` for a `package.json` without our key. */
export async function openConfig(
  file: string,
  cwd: string,
  ownModules: OwnModules,
): Promise<FoundConfig | undefined> {
  return (await explorer(cwd, ownModules).load(file)) ?? undefined
}

function explorer(cwd: string, ownModules: OwnModules): PublicExplorer {
  // `undefined` for an empty file too: to cosmiconfig `null` means that there is no file.
  const yaml = (file: string, text: string): unknown => defaultLoaders['.yaml'](file, text) ?? undefined
  const loadCode: Loader = async (file) => {
    try {
      return (await evaluate(file, ownModules)) ?? undefined
    } catch (error) {
      // Wrapped here: the search takes an ENOENT that the config threw for "no such config" and goes on.
      throw thrownError(error, file, cwd)
    }
  }
  const loadYaml: Loader = (file, text) => parseYaml(file, text, cwd, yaml)
  const loadJson: Loader = (file, text) => parseJson(file, text, cwd, yaml) ?? undefined
  const loadsCode = Object.fromEntries(codeExtensions.map((extension) => [`.${extension}`, loadCode]))
  return cosmiconfig('codex-pool', {
    cache: false,
    searchStrategy: 'none',
    // An empty file is a mistake, not a wish for the defaults.
    ignoreEmptySearchPlaces: false,
    searchPlaces,
    loaders: { ...loadsCode, '.json': loadJson, '.yaml': loadYaml, '.yml': loadYaml, noExt: loadYaml },
  })
}

/** Modules by the name under which a config file may import them. */
export type OwnModules = Record<string, Record<string, unknown>>

/**
 * Runs a config file and returns what it exports by default, or `undefined`. TypeScript works on every Node, enums and
 * relative imports included, and `codex-pool` is the running one even where none is installed.
 */
export async function evaluate(file: string, ownModules: OwnModules): Promise<unknown> {
  const jiti = createJiti(import.meta.url, {
    virtualModules: ownModules,
    // With either cache a reload sees the old file or the old helper beside it.
    moduleCache: false,
    // The disk cache would write the access keys of the file to the temporary folder.
    fsCache: false,
    // Node's own type stripping knows no enums and does not find `codex-pool`.
    tryNative: false,
    // It fails on `export default null`.
    interopDefault: false,
  })
  if (!/\.[cm]?js$/.test(file)) return defaultExport(await jiti.import<Record<string, unknown>>(file))
  // jiti would hand JavaScript to Node, which keeps what it has loaded once: a reload would see the old file.
  const options = { filename: file, async: true, forceTranspile: true } as const
  const module = await jiti.evalModule(await readFile(file, 'utf8'), options)
  return defaultExport(module as Record<string, unknown>)
}

function defaultExport(module: Record<string, unknown>): unknown {
  if (module['__esModule'] || 'default' in module) return module['default']
  return typeof module === 'object' && Object.keys(module).length === 0 ? undefined : module
}
