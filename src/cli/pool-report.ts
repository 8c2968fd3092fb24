import { existsSync } from 'node:fs'
import type { ResolvedConfig } from '../../config/config.js'
import type { Flags } from '../../config/index.js'
import { type PoolReport, poolReport } from '../admin/reports.js'
import type { Gateway } from '../gateway.js'
import { readConfig } from '../settings.js'
import { adminCall, onOneLine } from './admin-call.js'
import { type CommonOptions, sourceOf } from './pool-folder.js'

export interface Told<T> {
  readonly config: ResolvedConfig
  readonly report: T
  /** Whether a gateway has told it; else it is what the files tell. */
  readonly running: boolean
}

/** The pool, from the running gateway, or, if none answers, from the files alone. */
export async function readPool(options: CommonOptions): Promise<Told<PoolReport>> {
  return read(options, '/admin/accounts', poolReport)
}

/** What the running gateway answers at `path`, or, if none answers, what a gateway started now would. */
export async function read<T>(
  options: CommonOptions,
  path: string,
  ask: (gateway: Gateway) => T,
): Promise<Told<T>> {
  const config = await readConfig(sourceOf(options))
  const told = await adminCall<T>(config, 'GET', path)
  if (told !== undefined) return { config, report: told, running: true }
  return { config, report: onOneLine(await askFiles(options, config.database, ask)), running: false }
}

/** Makes no database, and does not open one that is in use. */
async function askFiles<T>(
  options: CommonOptions,
  database: string | false,
  ask: (gateway: Gateway) => T,
): Promise<T> {
  const withoutDatabase = () => inGateway(options, ask, { database: false })
  if (database === false || !existsSync(database)) return withoutDatabase()
  return inGateway(options, ask).catch((error: Error & { code?: string }) => {
    if (error.code !== 'database_locked') throw error
    return withoutDatabase()
  })
}

/** Asks a gateway in this process, which serves no requests and calls no upstream. */
export async function inGateway<T>(
  options: CommonOptions,
  ask: (gateway: Gateway) => T,
  flags: Flags = {},
): Promise<T> {
  const env = { ...process.env, PROXY_DISABLE_REFRESH: '1' }
  const source = sourceOf(options)
  const { cwd, home } = source
  // Loaded only here: a command that asks a running gateway would start a quarter of a second later.
  const { createGateway } = await import('../create-gateway.js')
  const gateway = await createGateway(options.config, {
    cwd,
    home,
    env,
    flags: { ...source.flags, ...flags },
  })
  try {
    return ask(gateway)
  } finally {
    await gateway.close()
  }
}
