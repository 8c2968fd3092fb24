import { constants } from 'node:fs'
import { access } from 'node:fs/promises'
import { join } from 'node:path'
import { cosmiconfig, defaultLoaders, type Loader, type PublicExplorer } from 'cosmiconfig'
import { parseJson, parseYaml } from './data-file.js'
import { evaluate, type OwnModules } from './evaluate.js'
import { fileError, thrownError } from './source-error.js'

const codeExtensions = ['ts', 'mts', 'cts', 'js', 'mjs', 'cjs']
const dataExtensions = ['json', 'yaml', 'yml']
const extensions = [...codeExtensions, ...dataExtensions]
const searchPlaces = [
  ...extensions.map((extension) => `codex-pool.config.${extension}`),
  '.codex-poolrc',
  ...extensions.map((extension) => `.codex-poolrc.${extension}`),
  'package.json',
]

export interface Found {
  /** Absolute. */
  readonly filepath: string
  readonly config: unknown
  readonly isEmpty?: boolean
}

/** Looks for a configuration in `cwd` alone; `undefined` if there is none. */
export async function findConfig(cwd: string, ownModules: OwnModules): Promise<Found | undefined> {
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
): Promise<Found | undefined> {
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
