import { existsSync } from 'node:fs'
import { delimiter, join, resolve } from 'node:path'

const VARIABLE = 'CODEX_POOL_REAL_CLIENTS'

/**
 * The program of an installed client.
 * @throws if none is installed: a run that skips what it cannot find would look like one that passed
 */
export function client(name: 'codex' | 'gemini'): string {
  const folder = process.env[VARIABLE]
  if (!folder) throw new Error(`${VARIABLE} is not set. ${HOW}`)
  const program = resolve(folder, 'node_modules/.bin', name)
  if (!existsSync(program)) throw new Error(`${VARIABLE} names a folder without ${name}. ${HOW}`)
  return program
}

const HOW =
  'The real clients are installed in a folder of their own, ' +
  '`npm install --prefix FOLDER @openai/codex@0.169.0 @google/gemini-cli@0.61.0`, which the variable names.'

/**
 * A program of the system.
 * @throws if it is not on the PATH
 */
export function program(name: string): string {
  const found = (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, name))
  const path = found.find((candidate) => existsSync(candidate))
  if (path === undefined) throw new Error(`${name} is not installed; the terminal tests need it`)
  return path
}
