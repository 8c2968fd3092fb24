import { accessSync, constants, existsSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/**
 * How this program is called from the shell of the person: advice with a name that is not on the PATH cannot be followed.
 * npm puts its own folders on the PATH of what it starts; the shell does not have them.
 */
export function ownName(env: NodeJS.ProcessEnv = process.env, cwd: string = process.cwd()): string {
  const folders = (env.PATH ?? '')
    .split(delimiter)
    .filter((folder) => !/node_modules[\\/]\.bin$/.test(folder))
  if (folders.some((folder) => isProgram(join(folder, 'codex-pool')))) return 'codex-pool'
  const entry = fileURLToPath(new URL('bin.js', import.meta.url))
  const isHere = entry === join(cwd, 'dist', 'src', 'cli', 'bin.js')
  if (isHere || isInstalledAbove(cwd)) return 'npx codex-pool'
  return `node ${entry}`
}

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

function isInstalledAbove(folder: string): boolean {
  if (existsSync(join(folder, 'node_modules', '.bin', 'codex-pool'))) return true
  return folder !== dirname(folder) && isInstalledAbove(dirname(folder))
}
