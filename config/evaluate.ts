import { readFile } from 'node:fs/promises'
import { createJiti } from 'jiti'

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
