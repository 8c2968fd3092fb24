import { homedir } from 'node:os'
import { join } from 'node:path'
import type { ResolvedConfig } from '../../../config/config.js'
import { isLoopback, localAddress } from '../../../config/index.js'
import type { Account } from '../../accounts/account.js'
import type { SkippedFile } from '../../accounts/accounts.js'
import type { PoolReport } from '../../admin/reports.js'
import { readPersonal } from '../../setup/personal-file.js'
import { adminCall } from '../admin-call.js'
import { type Home, homeOf } from '../home.js'
import { ownName } from '../own-name.js'
import { type CommonOptions, readPoolFolder } from '../pool-folder.js'
import { lastTold, listenOf } from '../running.js'

/** What the checks look at; read once. */
export interface Scene {
  readonly config: ResolvedConfig
  readonly accounts: readonly Account[]
  readonly skipped: readonly SkippedFile[]
  readonly fileNames: readonly string[]
  readonly home: Home
  readonly cwd: string
  readonly env: NodeJS.ProcessEnv
  readonly now: number
  readonly nodeVersion: string
  /** How this program is called. */
  readonly name: string
  /** The address of the pool for a client of this machine. */
  readonly url: string
  /** What the own gateway tells; `undefined` if none runs. */
  readonly running: PoolReport | undefined
  /** The version of the running gateway, if it has told one. */
  readonly runningVersion: string | undefined
  /** What answers where this configuration listens. */
  readonly listener: Listener
  readonly codexHome: string
  readonly geminiFolder: string
}

export type Listener = 'gateway' | 'other' | 'nothing'

export async function lookAround(options: CommonOptions): Promise<Scene> {
  const { env } = process
  const cwd = process.cwd()
  const pool = await readPoolFolder(options)
  const { config } = pool
  const told = await lastTold(config.database)
  const running =
    told && (await adminCall<PoolReport>(config, 'GET', '/admin/accounts').catch(() => undefined))
  const place = (running && told && listenOf(told)) || config.listen
  return {
    ...pool,
    home: homeOf(cwd, env),
    cwd,
    env,
    now: Date.now(),
    nodeVersion: process.versions.node,
    name: ownName(),
    url: localAddress(place),
    running,
    runningVersion: running && told?.version,
    listener: config.listen.socket === undefined ? await listenerAt(localAddress(config.listen)) : 'nothing',
    codexHome: env.CODEX_HOME || join(homedir(), '.codex'),
    geminiFolder: join(env.GEMINI_CLI_HOME || homedir(), '.gemini'),
  }
}

/** What answers at an address of this machine. */
export async function listenerAt(url: string): Promise<Listener> {
  try {
    const response = await fetch(`${url}/healthz`, { signal: AbortSignal.timeout(2_000), redirect: 'error' })
    const report: unknown = await response.json()
    return typeof report === 'object' && report !== null && 'uptimeSeconds' in report ? 'gateway' : 'other'
  } catch (error) {
    const { code } = ((error as Error).cause ?? {}) as NodeJS.ErrnoException
    return code === 'ECONNREFUSED' ? 'nothing' : 'other'
  }
}

/** Whether two addresses of this machine are one: `localhost` is 127.0.0.1. */
export function isSamePlace(a: string, b: string): boolean {
  if (!URL.canParse(a) || !URL.canParse(b)) return false
  const [one, other] = [new URL(a), new URL(b)]
  const isOneHost =
    one.hostname === other.hostname || (isLoopback(one.hostname) && isLoopback(other.hostname))
  return isOneHost && one.port === other.port
}

/** The text of a file, empty if there is none. */
export const textOf = async (file: string): Promise<string> =>
  readPersonal(file).then(
    ({ text }) => text,
    () => '',
  )
