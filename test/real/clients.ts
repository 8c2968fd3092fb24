import { existsSync, readFileSync } from 'node:fs'
import { delimiter, join, resolve } from 'node:path'

const VARIABLE = 'CODEX_POOL_REAL_CLIENTS'

/** The package of each program. Their versions stand in test/real/clients/package.json. */
const PACKAGES = {
  codex: '@openai/codex',
  'codex-0.100': 'codex-0.100',
  'codex-0.118': 'codex-0.118',
  'codex-0.147': 'codex-0.147',
  gemini: '@google/gemini-cli',
  'gemini-0.45': 'gemini-0.45',
  opencode: 'opencode-ai',
  qwen: '@qwen-code/qwen-code',
  // Some clients need a later Node than the one that runs the tests.
  node: 'node',
} as const

export type Client = keyof typeof PACKAGES

/**
 * The program of an installed client.
 * @throws if it is not installed: a run that skips what it cannot find would look like one that passed
 */
export function client(name: Client): string {
  const folder = join(packages(), PACKAGES[name])
  const file = join(folder, 'package.json')
  if (!existsSync(file)) throw new Error(`${VARIABLE} names a folder without ${PACKAGES[name]}. ${HOW}`)
  const { bin } = JSON.parse(readFileSync(file, 'utf8')) as { bin: string | Record<string, string> }
  return join(folder, typeof bin === 'string' ? bin : (Object.values(bin)[0] ?? ''))
}

/** The `node_modules` of the clients. */
export function packages(): string {
  const folder = process.env[VARIABLE]
  if (!folder) throw new Error(`${VARIABLE} is not set. ${HOW}`)
  return resolve(folder, 'node_modules')
}

const HOW =
  'The real clients are installed in a folder of their own, which the variable names: ' +
  'cp test/real/clients/package.json FOLDER && npm install --prefix FOLDER'

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
