import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'
import type { ResolvedConfig } from '../../config/config.js'
import { type ListenAddress, localAddress, reasonOf } from '../../config/index.js'
import { fetchThrough } from '../network.js'
import { proofOf, readAdminToken } from '../admin/access.js'
import type { ReloadReport } from '../admin/reports.js'
import type { HealthReport } from '../telemetry/health.js'
import { harmlessLine } from '../telemetry/terminal.js'
import { refusal } from './output.js'
import { lastTold, listenOf } from './running.js'

const TIMEOUT_MS = 5_000

/**
 * Calls an admin endpoint of the gateway that runs with this configuration: the one that has its database open, else one
 * that listens where the configuration says. `undefined` if no gateway answers.
 * @throws when the gateway refuses, with the gateway's message
 */
export async function adminCall<T>(
  config: ResolvedConfig,
  method: string,
  path: string,
): Promise<T | undefined> {
  const gateway = await reach(config)
  if (gateway === undefined) return undefined
  const { url, call, headers } = gateway
  const response = await call(url + path, {
    method,
    headers,
    signal: AbortSignal.timeout(TIMEOUT_MS),
  }).catch((error: unknown) => {
    throw new Error(reasonOf(error, new URL(url)))
  })
  const body = onOneLine(JSON.parse(await response.text()) as T & Refusal)
  if (response.ok) return body
  throw refusal(
    body.error?.code ?? 'refused',
    body.error?.message ?? body.configProblem ?? `status ${response.status}`,
  )
}

/** The same for an answer that goes on. Its texts are not made harmless yet: see {@link onOneLine}. */
export async function adminStream(config: ResolvedConfig, path: string): Promise<Readable | undefined> {
  const gateway = await reach(config)
  const response = await gateway?.call(gateway.url + path, { headers: gateway.headers })
  return response?.ok && response.body ? Readable.fromWeb(response.body as ReadableStream) : undefined
}

/** The gateway that runs with this configuration, and the headers that it wants. */
async function reach({ listen, database }: ResolvedConfig) {
  const token = await readAdminToken(database)
  const told = await lastTold(database)
  const own = told && listenOf(told)
  const places = own === undefined ? [listen] : [own, listen]
  const found = await Promise.all(places.map((place) => findGateway(place, token)))
  // An address that a gateway has told may be another program's since; where it listens by the configuration is asked anyway.
  const gateway = found.find((one) => one?.isProven) ?? found.at(-1)
  if (gateway === undefined) return undefined
  const headers: Record<string, string> = gateway.isProven ? { authorization: `Bearer ${token}` } : {}
  return { url: gateway.url, call: gateway.call, headers }
}

/** Makes every text of a report harmless to a terminal: texts of upstreams and file names may hold control characters. */
export function onOneLine<T>(report: T): T {
  return JSON.parse(JSON.stringify(report), (_name, value: unknown) =>
    typeof value === 'string' ? harmlessLine(value) : value,
  ) as T
}

/** The message for a command when `adminCall` gives `undefined`. */
export function noGatewayAt({ listen }: ResolvedConfig): string {
  return `No gateway answers on ${placeOf(listen)}`
}

const placeOf = ({ host, port, socket }: ResolvedConfig['listen']): string => socket ?? `${host}:${port}`

/**
 * Finds out whether a gateway answers, and whether it knows the token: it signs a nonce with it. Another program may
 * listen on the port, and must not see the token.
 */
async function findGateway(listen: ListenAddress, token = ''): Promise<Found | undefined> {
  const url = localAddress(listen)
  const call = listen.socket === undefined ? fetch : fetchThrough(listen.socket)
  const port = listen.socket === undefined ? listen.port : undefined
  const nonce = randomBytes(24).toString('base64url')
  try {
    const response = await call(`${url}/healthz`, {
      headers: { 'x-codex-pool-nonce': nonce },
      redirect: 'error',
      signal: AbortSignal.timeout(TIMEOUT_MS),
    })
    const report = (await response.json()) as Partial<HealthReport>
    if (report.uptimeSeconds === undefined || report.accounts === undefined) return undefined
    const expected = proofOf(token, nonce, port)
    const isProven = token !== '' && response.headers.get('x-codex-pool-proof') === expected
    return { url, call, isProven }
  } catch {
    return undefined
  }
}

interface Found {
  readonly url: string
  readonly call: typeof fetch
  readonly isProven: boolean
}

interface Refusal {
  readonly error?: { readonly message?: string; readonly code?: string }
  /** Of a reload that has kept the running configuration. */
  readonly configProblem?: string
}

/** Makes the running gateway read the pool again. Returns the result in words; a failure does not undo the files. */
export async function tellGateway(config: ResolvedConfig): Promise<string> {
  try {
    const told = await adminCall<ReloadReport>(config, 'POST', '/admin/reload')
    if (!told) return `${noGatewayAt(config)}; the next one to start reads the pool anew.`
    if (told.poolDir === config.poolDir) return 'The running gateway knows.'
    return `The running gateway serves another pool: ${told.poolDir}. Name it with --pool-dir, or run this in its folder.`
  } catch (error) {
    return `The running gateway could not be told (${(error as Error).message}): restart it.`
  }
}
