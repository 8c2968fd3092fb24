import { constants } from 'node:fs'
import { access, lstat, readFile, realpath } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { cosmiconfig, type Loader, type PublicExplorer } from 'cosmiconfig'
import { createJiti } from 'jiti'
import { CORE_SCHEMA, load as parseYaml, mergeTag, YAMLException } from 'js-yaml'
import type { ResolvedConfig } from './config.js'
import { messageOf } from './foreign.js'
import type { Environment, Flags } from './layers.js'
import { codeExtensions, searchPlaces } from './places.js'
import { ConfigError, openError, type Place, problemOfFile, thrownError } from './problems.js'
import { resolveConfig } from './resolve.js'
import { blankOut } from './secrets.js'

export interface LoadOptions {
  /** Relative to `cwd`. @default searched in `home`, and only there */
  readonly file?: string | undefined
  /** What relative paths in flags and environment start from. */
  readonly cwd: string
  /** Where a file is looked for, and what the defaults are relative to without one. @default `cwd` */
  readonly home?: string | undefined
  readonly env: Environment
  readonly flags?: Flags | undefined
  /** The modules that a config file may import from `codex-pool`. */
  readonly ownModules: OwnModules
}

/** Modules by the name under which a config file may import them. */
export type OwnModules = Record<string, Record<string, unknown>>

/** Loads the named configuration file, or the one found in `cwd`; without one, the defaults. Throws a {@link ConfigError}. */
export async function loadConfig({
  file,
  cwd,
  home = cwd,
  env,
  flags,
  ownModules,
}: LoadOptions): Promise<ResolvedConfig> {
  const named = file === undefined ? undefined : resolve(cwd, file)
  const found = await (named === undefined ? search(home, ownModules) : open(named, cwd, ownModules))
  if (!found && named === undefined) return resolveConfig({}, { cwd, baseDir: home, env, flags })
  if (!found || found.isEmpty) throw nothingIn(found?.filepath ?? named!, cwd)
  const { filepath, config } = found
  return resolveConfig(await called(config, filepath, cwd), { file: filepath, cwd, env, flags })
}

/** Calls a config that is a function. */
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
  return problemOfFile(file, cwd, { message, code: 'config_empty' })
}

type Found = Awaited<ReturnType<PublicExplorer['load']>>

/** Looks for a configuration in `cwd` alone. */
async function search(cwd: string, ownModules: OwnModules): Promise<Found> {
  try {
    for (const place of searchPlaces) await checkReadable(join(cwd, place), cwd)
    return await explorer(cwd, ownModules).search(cwd)
  } catch (error) {
    throw error instanceof ConfigError ? error : openError(error, cwd, cwd)
  }
}

/** Reads one file; `null` for a `package.json` without our key. */
async function open(file: string, cwd: string, ownModules: OwnModules): Promise<Found> {
  try {
    return await explorer(cwd, ownModules).load(file)
  } catch (error) {
    throw error instanceof ConfigError ? error : openError(error, file, cwd)
  }
}

/**
 * cosmiconfig passes over a file that may not be read, and over a link whose target is gone: the gateway would start
 * without the access keys in it.
 */
async function checkReadable(file: string, cwd: string): Promise<void> {
  try {
    await access(file, constants.R_OK)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'ENOENT' && code !== 'ENOTDIR') throw openError(error, file, cwd)
    const isLink = await lstat(file).then(
      (stats) => stats.isSymbolicLink(),
      () => false,
    )
    if (!isLink) return
    const message = 'is a link to a file that is not there'
    throw problemOfFile(file, cwd, { message, code: 'config_unreadable', cause: error })
  }
}

function explorer(cwd: string, ownModules: OwnModules): PublicExplorer {
  // `undefined` for a file without a value: cosmiconfig takes `null` for "there is no file".
  const loadCode: Loader = async (file) => {
    try {
      return (await evaluate(await realpath(file), ownModules)) ?? undefined
    } catch (error) {
      // Wrapped here: the search would take an ENOENT thrown by the config for "no such file" and go on.
      throw thrownError(error, file, cwd)
    }
  }
  const loadYaml: Loader = (file, text) => readYaml(file, withoutMark(text), cwd) ?? undefined
  const loadJson: Loader = (file, text) => readJson(file, withoutMark(text), cwd) ?? undefined
  const loadsCode = Object.fromEntries(codeExtensions.map((extension) => [`.${extension}`, loadCode]))
  return cosmiconfig('codex-pool', {
    cache: false,
    searchStrategy: 'none',
    // An empty file is an error: it must not run the defaults.
    ignoreEmptySearchPlaces: false,
    searchPlaces,
    loaders: { ...loadsCode, '.json': loadJson, '.yaml': loadYaml, '.yml': loadYaml, noExt: loadYaml },
  })
}

/** Without the byte-order mark that editors on Windows write: parsers take it for a character of the text. */
const withoutMark = (text: string): string => text.replace(/^\uFEFF/, '')

/**
 * Runs a config file and returns what it exports by default, or `undefined`. TypeScript works on every Node, enums and
 * relative imports included, and `codex-pool` is the running one even where none is installed.
 */
async function evaluate(file: string, ownModules: OwnModules): Promise<unknown> {
  const jiti = createJiti(import.meta.url, {
    virtualModules: ownModules,
    // With a cache, a reload would see the old file, or an old file that it imports.
    moduleCache: false,
    // The disk cache would write the access keys of the file to the temporary folder.
    fsCache: false,
    // Node's own type stripping knows no enums and does not find `codex-pool`.
    tryNative: false,
    // This option fails on `export default null`.
    interopDefault: false,
  })
  if (!/\.[cm]?js$/.test(file)) return defaultExport(await jiti.import<Record<string, unknown>>(file))
  // jiti would hand JavaScript to Node, which keeps what it has loaded once: a reload would see the old file.
  const options = { filename: file, async: true, forceTranspile: true } as const
  const module = await jiti.evalModule(withoutMark(await readFile(file, 'utf8')), options)
  return defaultExport(module as Record<string, unknown>)
}

function defaultExport(module: Record<string, unknown>): unknown {
  if (module['__esModule'] || 'default' in module) return module['default']
  return typeof module === 'object' && Object.keys(module).length === 0 ? undefined : module
}

/** YAML 1.2, and merge keys (`<<`) as in 1.1, which many files use. */
const yamlSchema = CORE_SCHEMA.withTags(mergeTag)

/** Of the parser's message only the reason is shown: the rest quotes lines of the file, which may hold access keys. */
function readYaml(file: string, text: string, cwd: string): unknown {
  try {
    // js-yaml refuses a file that holds nothing but comments.
    return text.replace(/^[ \t]*#.*$/gm, '').trim() === ''
      ? undefined
      : parseYaml(text, { schema: yamlSchema })
  } catch (cause) {
    const reason = cause instanceof YAMLException ? cause.reason : 'cannot be read'
    const message = `is not YAML: ${blankOut(reason)}`
    throw problemOfFile(file, cwd, { message, code: 'config_syntax', place: yamlPlace(file, cause) })
  }
}

function readJson(file: string, text: string, cwd: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    // Many tools read this file, and a broken one holds no configuration for us unless our key is in it.
    if (basename(file) === 'package.json' && !/"codex-pool"\s*:\s*\{/.test(text)) return {}
    // Cut before the part that quotes the file.
    const said = messageOf(cause).replace(/( in JSON at |, (\.\.\.)?"| is not valid).*$/s, '')
    const place = placeIn(messageOf(cause), file, text) ?? yamlPlaceIn(file, text)
    throw problemOfFile(file, cwd, { message: `is not JSON: ${said}`, code: 'config_syntax', place })
  }
}

/** Where `JSON.parse` stopped, if its message tells. */
function placeIn(message: string, file: string, text: string): Place | undefined {
  const position = / at position (\d+)/.exec(message)?.[1]
  if (position === undefined) return undefined
  const before = text.slice(0, Number(position)).split('\n')
  return { file, line: before.length, column: (before.at(-1) ?? '').length + 1 }
}

/** For JSON, which is YAML too, where `JSON.parse` does not tell the place. */
function yamlPlaceIn(file: string, text: string): Place | undefined {
  try {
    parseYaml(text)
    return undefined
  } catch (error) {
    return yamlPlace(file, error)
  }
}

function yamlPlace(file: string, error: unknown): Place | undefined {
  const mark = error instanceof YAMLException ? error.mark : undefined
  return mark && { file, line: mark.line + 1, column: mark.column + 1 }
}
