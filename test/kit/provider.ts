import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type {
  CallContext,
  ClientRequest,
  Credential,
  PoolAccount,
  ProviderAccount,
  UpstreamAnswer,
} from '../../config/provider.js'

export interface RequestParts {
  method?: string
  url?: string
  route?: string
  headers?: IncomingHttpHeaders
  client?: string
  body?: unknown
  /** Called when the body is read. */
  onRead?: () => void
}

/** A client's request as a provider sees it. */
export function request(parts: RequestParts = {}): ClientRequest {
  const url = parts.url ?? '/'
  return {
    method: parts.method ?? 'POST',
    url,
    path: url.split('?', 1)[0]!,
    prefix: parts.route ?? '',
    headers: parts.headers ?? {},
    client: parts.client ?? 'local',
    json() {
      parts.onRead?.()
      return parts.body
    },
  }
}

/** An upstream's answer as a provider sees it. An object stands for its JSON. */
export function answer(
  status: number,
  body: string | object = '',
  headers: IncomingHttpHeaders = {},
): UpstreamAnswer {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  return {
    status,
    headers,
    body: text,
    json() {
      try {
        return JSON.parse(text)
      } catch {
        return undefined
      }
    },
  }
}

export function account(credential: Credential, facts: Record<string, string> = {}): ProviderAccount {
  return { id: 'alice', credential, inspection: {}, facts }
}

export function poolAccount(parts: Partial<PoolAccount> = {}): PoolAccount {
  return {
    id: 'alice',
    inspection: {},
    order: 1,
    state: 'ready',
    facts: {},
    quota: { windows: [] },
    ...parts,
  }
}

export function calls(): CallContext {
  return { fetch: globalThis.fetch, signal: AbortSignal.timeout(10_000) }
}

/** A JWT without a signature. */
export function jwt(claims: object): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  return `${part({ alg: 'none' })}.${part(claims)}.x`
}

export interface Received {
  readonly method: string
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly text: string
}

export interface Upstream {
  readonly url: string
  readonly received: readonly Received[]
}

/** An upstream that answers as told, for as long as `run` lasts. A reply is a status and a body. */
export async function withUpstream(
  reply: (
    received: Received,
    count: number,
  ) => readonly [number, unknown] | ((response: ServerResponse) => void),
  run: (upstream: Upstream) => Promise<void>,
): Promise<void> {
  const received: Received[] = []
  const server = createServer(async (incoming, response) => {
    let text = ''
    for await (const chunk of incoming) text += String(chunk)
    const { method = '', url: path = '', headers } = incoming
    received.push({ method, path, headers, text })
    const told = reply(received.at(-1)!, received.length)
    if (typeof told === 'function') return told(response)
    response.writeHead(told[0], { 'content-type': 'application/json' })
    response.end(typeof told[1] === 'string' ? told[1] : JSON.stringify(told[1]))
  })
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  const { port } = server.address() as AddressInfo
  try {
    await run({ url: `http://127.0.0.1:${port}`, received })
  } finally {
    server.closeAllConnections()
    await new Promise((closed) => server.close(closed))
  }
}
