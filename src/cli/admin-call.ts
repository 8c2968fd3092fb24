import { readFile } from 'node:fs/promises'
import type { ResolvedConfig } from '../../config/config.js'
import { localAddress } from '../../config/index.js'
import { adminTokenFile } from '../admin/access.js'
import type { ReloadReport } from '../admin/reports.js'
import type { HealthReport } from '../telemetry/health.js'

const TIMEOUT_MS = 5_000

/**
 * Calls an admin endpoint of the gateway that runs with this configuration. `undefined` if none answers.
 * @throws when the gateway refuses; the message is its own
 */
export async function adminCall<T>(
  config: ResolvedConfig,
  method: string,
  path: string,
): Promise<T | undefined> {
  const { listen, database } = config
  const token =
    database === false ? undefined : await readFile(adminTokenFile(database), 'utf8').catch(() => undefined)
  const headers: Record<string, string> =
    token === undefined ? {} : { authorization: `Bearer ${token.trim()}` }
  const url = localAddress(listen)
  // Whatever else may listen there must not be shown the token.
  if (!(await isGateway(url))) return undefined
  const response = await fetch(url + path, { method, headers, signal: AbortSignal.timeout(TIMEOUT_MS) })
  const body = (await response.json()) as T & Refusal
  if (response.ok) return body
  throw Object.assign(new Error(body.error?.message ?? body.configProblem ?? `status ${response.status}`), {
    code: body.error?.code ?? 'refused',
  })
}

/** What to say when it gives `undefined`. */
export function noGatewayAt({ listen }: ResolvedConfig): string {
  return `No gateway answers on ${listen.host}:${listen.port}`
}

async function isGateway(url: string): Promise<boolean> {
  try {
    const response = await fetch(`${url}/healthz`, { signal: AbortSignal.timeout(TIMEOUT_MS) })
    const report = (await response.json()) as Partial<HealthReport>
    return Array.isArray(report.problems) && report.uptimeSeconds !== undefined
  } catch {
    return false
  }
}

interface Refusal {
  readonly error?: { readonly message?: string; readonly code?: string }
  /** Of a reload that has kept the running configuration. */
  readonly configProblem?: string
}

/** Has the running gateway read the pool again, and says what came of it. The files are in place either way. */
export async function tellGateway(config: ResolvedConfig): Promise<string> {
  try {
    const told = await adminCall<ReloadReport>(config, 'POST', '/admin/reload')
    if (!told) return `${noGatewayAt(config)}; the next one to start reads the pool anew.`
    if (told.poolDir === config.poolDir) return 'The running gateway knows.'
    return `The gateway on ${config.listen.host}:${config.listen.port} serves another pool: ${told.poolDir}. Name it with --pool-dir, or run this in its folder.`
  } catch (error) {
    return `The running gateway could not be told (${(error as Error).message}): restart it.`
  }
}
