import { lstatSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

export const codeExtensions = ['ts', 'mts', 'cts', 'js', 'mjs', 'cjs']
const dataExtensions = ['json', 'yaml', 'yml']
const extensions = [...codeExtensions, ...dataExtensions]

/** The names of a configuration file, in the order in which they are looked for. */
export const searchPlaces = [
  ...extensions.map((extension) => `codex-pool.config.${extension}`),
  '.codex-poolrc',
  ...extensions.map((extension) => `.codex-poolrc.${extension}`),
  'package.json',
]

/** Whether a search in this folder would find a file. Only a `package.json` is read. */
export function holdsConfig(folder: string): boolean {
  return searchPlaces.some((place) =>
    place === 'package.json' ? hasOurKey(join(folder, place)) : isThere(join(folder, place)),
  )
}

// A link whose target is gone counts: the search tells of it.
const isThere = (file: string): boolean => lstatSync(file, { throwIfNoEntry: false }) !== undefined

function hasOurKey(file: string): boolean {
  try {
    return 'codex-pool' in (JSON.parse(readFileSync(file, 'utf8')) as object)
  } catch {
    return false
  }
}
