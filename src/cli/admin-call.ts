import { readFile } from 'node:fs/promises'
import type { ResolvedConfig } from '../../config/config.js'
import { adminTokenFile } from '../admin/token.js'

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
  const host = listen.host.includes(':') ? `[${listen.host}]` : listen.host
  const token =
    database === false ? undefined : await readFile(adminTokenFile(database), 'utf8').catch(() => undefined)
  const headers: Record<string, string> =
    token === undefined ? {} : { authorization: `Bearer ${token.trim()}` }
  let response
  try {
    const signal = AbortSignal.timeout(5_000)
    response = await fetch(`http://${host}:${listen.port}${path}`, { method, headers, signal })
  } catch {
    return undefined
  }
  const body = (await response.json()) as T & Refusal
  if (response.ok) return body
  throw Object.assign(new Error(body.error?.message ?? body.configProblem ?? `status ${response.status}`), {
    code: body.error?.code ?? 'refused',
  })
}

interface Refusal {
  readonly error?: { readonly message?: string; readonly code?: string }
  /** Of a reload that has kept the running configuration. */
  readonly configProblem?: string
}
